"""The add-ons that `up` applies: YAML files of this folder, with the cluster's own values put in.

What there is stands in catalog.py. $image, $grpc_image, $storage_image, $nginx_image, $prometheus_image, $dns_service,
$domain, $service_cidr, $cluster, $state, $etcd_metrics_port, $paths_dir, $nodes_dir and $volumes_dir are replaced ($$
is a dollar sign); everything else is what `kubectl apply` would send.
"""

import string
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

import yaml

from pynetes.cluster.addons.catalog import ADDONS, Addon
from pynetes.cluster.config import Cluster
from pynetes.cluster.images import recipes
from pynetes.machinery.meta import Object

#: Annotation of add-ons' pods: the archives that their images came from.
PACKED = "pynetes.io/packed-images"


def chosen(cluster: Cluster) -> list[Addon]:
    """Those that the cluster has."""
    return [addon for addon in ADDONS if addon.name in cluster.addons or _comes_with_cloud(addon, cluster)]


def _comes_with_cloud(addon: Addon, cluster: Cluster) -> bool:
    return addon.cloud == cluster.cloud and (not addon.needs or addon.needs in cluster.addons)


def others(cluster: Cluster) -> list[Addon]:
    """Those that it has not, or not any more."""
    kept = {addon.name for addon in chosen(cluster)}
    return [addon for addon in ADDONS if addon.name not in kept]


def packages(cluster: Cluster) -> dict[str, str]:
    """What its add-ons need on the machine: program or file → Debian package."""
    return {what: package for addon in chosen(cluster) for what, package in addon.packages.items()}


def objects(cluster: Cluster, wanted: Iterable[Addon], archives: Mapping[str, Path] | None = None) -> list[Object]:
    """All objects of these add-ons, in their files' order.

    archives are the packed images: pods that run another form of one, under the same name, are replaced."""
    values = {
        "image": recipes.PYNETES,
        "grpc_image": recipes.PYNETES_GRPC,
        "storage_image": recipes.PYNETES_STORAGE,
        "nodes_dir": str(cluster.state / "nodes"),
        "volumes_dir": str(cluster.state / "volumes"),
        "nginx_image": recipes.PYNETES_NGINX,
        "prometheus_image": recipes.PROMETHEUS,
        "dns_service": cluster.dns_service,
        "domain": cluster.domain,
        "service_cidr": cluster.service_cidr,
        "cluster": cluster.name,
        "paths_dir": str(cluster.paths_dir),
        "state": str(cluster.state),
        "etcd_metrics_port": str(cluster.etcd_metrics_port),
    }
    found: list[Object] = []
    for addon in wanted:
        text = (resources.files("pynetes.cluster.addons") / f"{addon.name}.yaml").read_text()
        found += [document for document in yaml.safe_load_all(string.Template(text).substitute(values)) if document]
    for obj in found:
        _note_images(obj, archives or {})
    return found


def _note_images(obj: Object, archives: Mapping[str, Path]) -> None:
    """Write what its images are made from into a pod template, so that a rollout follows when that changes."""
    template = obj.get("spec", {}).get("template") or {}
    containers = template.get("spec", {}).get("containers") or ()
    stamps = sorted({archives[one["image"]].stem for one in containers if one.get("image") in archives})
    if stamps:
        template.setdefault("metadata", {}).setdefault("annotations", {})[PACKED] = " ".join(stamps)
