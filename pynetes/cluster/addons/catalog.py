"""The add-ons there are: one record each, whose objects stand in NAME.yaml of this folder.

Only names and facts, so that the cluster's configuration can check a flag against it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pynetes


class Addon(NamedTuple):
    """What runs in kube-system beside the control plane."""

    name: str
    about: str
    #: Whether a cluster has it unless told otherwise.
    default: bool = False
    #: Whether a cluster can do without it.
    required: bool = False
    #: Names in images/recipes.py of the images that its pods need beside the essential ones.
    images: tuple[str, ...] = ()
    #: What must be on the machine (a program or a file) → the Debian package that has it.
    packages: Mapping[str, str] = {}
    #: Deployments of kube-system that `up` waits for, once they were asked for by name.
    waits_for: tuple[str, ...] = ()
    #: Whether it is brought while `up` already waits for the cluster to answer: what no cluster's first pod needs.
    late: bool = False
    #: The cloud it belongs to: a cluster has it when it has that cloud, and nobody asks for it by name.
    cloud: str = ""
    #: An add-on without which a cluster does without this one, too.
    needs: str = ""


#: Applied in this order.
ADDONS: tuple[Addon, ...] = (
    Addon("dns", "the cluster's DNS server", default=True, required=True, waits_for=("coredns",)),
    Addon("metrics-server", "what nodes and pods use, for `kubectl top` and autoscaling", default=True),
    Addon(
        "ingress",
        "traffic from outside: Ingresses and the Gateway API, served by nginx on ports 80 and 443",
        images=(f"pynetes.io/pynetes-nginx:{pynetes.__version__}",),
        packages={
            "nginx": "nginx-light",
            "/usr/lib/nginx/modules/ngx_http_lua_module.so": "libnginx-mod-http-lua",
            "/usr/share/doc/lua-cjson": "lua-cjson",
        },
        waits_for=("ingress-nginx-controller",),
    ),
    Addon("network-policy", "the rights that enforcing network policies takes", default=True, required=True),
    Addon(
        "storage",
        "volumes on the machine's disk: the CSI driver `local` and the StorageClass of that name",
        images=(f"pynetes.io/pynetes-storage:{pynetes.__version__}",),
        packages={"mkfs.ext4": "e2fsprogs"},
        default=True,
        late=True,
    ),
    Addon(
        "devices",
        "devices of the machine for pods: /dev/fuse by a device plugin, loop devices by claims",
        images=(f"pynetes.io/pynetes-grpc:{pynetes.__version__}",),
    ),
    Addon("dashboard", "the cluster in a browser, with the viewer's own rights", waits_for=("dashboard",)),
    Addon(
        "prometheus",
        "metrics of every component and container, with history and queries",
        images=("pynetes.io/prometheus:debian",),
        packages={"prometheus": "prometheus"},
        waits_for=("prometheus",),
    ),
    Addon(
        "cloud-controller-manager",
        "the rights of the cloud controller manager",
        packages={"haproxy": "haproxy", "losetup": "mount", "sysctl": "procps"},
        cloud="local",
    ),
    Addon(
        "cloud-disks",
        "the cloud's disks: the CSI driver's part on each node and the StorageClass `cloud`",
        images=(f"pynetes.io/pynetes-storage:{pynetes.__version__}",),
        packages={"mkfs.ext4": "e2fsprogs"},
        late=True,
        cloud="local",
        needs="storage",
    ),
)
BY_NAME = {addon.name: addon for addon in ADDONS}
DEFAULT = tuple(addon.name for addon in ADDONS if addon.default)
OPTIONAL = tuple(addon.name for addon in ADDONS if not addon.default and not addon.cloud)
