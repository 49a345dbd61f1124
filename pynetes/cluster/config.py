"""What a cluster is: its name, its nodes, its networks, and where everything of it lies.

The configuration is saved as cluster.json when `up` begins, so that every later command needs the name only. All paths
derive from it; the names below pki/ are kubeadm's (pynetes/pki/layout.py).
"""

import dataclasses
import hashlib
import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import orjson

from pynetes.cluster.addons import catalog
from pynetes.cluster.containerd import Containerd
from pynetes.cluster.errors import ClusterError

STATE = Path("/var/lib/pynetes")
RUN = Path("/run/pynetes")
CACHE = Path("/var/cache/pynetes")
#: Names end up in paths that `reset` removes, in cgroups, interfaces and DNS names.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?")
MOST_NODES = 50
#: What stands in for a cloud: nothing, or the one that one machine can play.
CLOUDS = ("none", "local")
PARTIAL = ".cluster.json.partial"
#: Every node gets a network of this length for its pods.
NODE_BITS = 24


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster on this machine."""

    name: str = "pynetes"
    #: How many nodes; the first is the machine itself, the others live in network namespaces.
    nodes: int = 1
    #: Everything that survives a reboot; "" means /var/lib/pynetes/NAME.
    data_dir: str = ""
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    domain: str = "cluster.local"
    secure_port: int = 6443
    etcd_port: int = 2379
    proxy_mode: str = "nftables"
    #: Names of the add-ons it has (addons/catalog.py).
    addons: tuple[str, ...] = catalog.DEFAULT
    #: One of CLOUDS.
    cloud: str = "none"
    #: Whether an `up` got to its end. What never has is removed when the next `up` fails.
    complete: bool = False

    def __post_init__(self) -> None:
        """Raise ClusterError for what no cluster can be, before anything is made or removed by it."""
        if not NAME.fullmatch(self.name):
            raise ClusterError(
                f"{self.name!r} cannot name a cluster", "use at most 20 lower-case letters, digits and dashes"
            )
        if not 1 <= self.nodes <= MOST_NODES:
            raise ClusterError(
                f"--nodes {self.nodes}: a machine can play 1 to {MOST_NODES} nodes", "choose a number between them"
            )
        for port in (self.secure_port, self.etcd_port):
            # The two behind etcd's are its as well.
            if not 0 < port < 65534:
                raise ClusterError(f"{port} is no port", "choose one between 1 and 65533")
        self._check_networks()
        self._check_addons()
        if self.cloud not in CLOUDS:
            raise ClusterError(f"--cloud {self.cloud}: there is no such cloud", f"one of {', '.join(CLOUDS)}")

    def _check_addons(self) -> None:
        for name in self.addons:
            if name not in catalog.BY_NAME:
                raise ClusterError(f"there is no add-on {name!r}", f"one of {', '.join(catalog.BY_NAME)}")
        for addon in catalog.ADDONS:
            if addon.required and addon.name not in self.addons:
                raise ClusterError(f"no cluster works without the add-on {addon.name}", "leave it in")
        # In the order in which they are applied, whatever the order of the flags, and however JSON brought them.
        ordered = tuple(addon.name for addon in catalog.ADDONS if addon.name in self.addons)
        object.__setattr__(self, "addons", ordered)

    def _check_networks(self) -> None:
        pods, services = _network("--pod-cidr", self.pod_cidr), _network("--service-cidr", self.service_cidr)
        if pods.prefixlen > NODE_BITS or self.nodes > 1 << (NODE_BITS - pods.prefixlen):
            raise ClusterError(
                f"--pod-cidr {pods} has no /{NODE_BITS} for each of {self.nodes} node(s)", "choose a wider network"
            )
        if services.prefixlen > 28:
            raise ClusterError(f"--service-cidr {services} has too few addresses", "choose at least a /28")
        if pods.overlaps(services):
            raise ClusterError(f"--pod-cidr {pods} and --service-cidr {services} overlap", "choose others")

    @property
    def etcd_metrics_port(self) -> int:
        """Where etcd shows its metrics, on loopback."""
        return self.etcd_port + 2

    @property
    def state(self) -> Path:
        """What survives a reboot."""
        return Path(self.data_dir) if self.data_dir else STATE / self.name

    @property
    def run(self) -> Path:
        """Sockets and process ids; gone after a reboot."""
        return RUN / self.name

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """One file per component."""
        return self.state / "logs"

    @property
    def images(self) -> Path:
        """Image archives that were packed here, by content; shared by all clusters of the machine."""
        return CACHE / "images"

    @property
    def tracing(self) -> Path:
        """A TracingConfiguration, if somebody has put one there: the components follow it from the next `up` on."""
        return self.state / "tracing.yaml"

    @property
    def admin_conf(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "admin.conf"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor listens."""
        return self.run / "supervisor.sock"

    @property
    def paths_dir(self) -> Path:
        """Where every component shows what it exchanged with others."""
        return self.run / "paths"

    @property
    def first_service_address(self) -> str:
        """What kubernetes.default.svc resolves to."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def dns_service(self) -> str:
        """The DNS Service's address: the tenth of the service network, as kubeadm has it."""
        return str(ipaddress.ip_network(self.service_cidr)[10])

    def kubeconfig(self, name: str) -> Path:
        """The kubeconfig of a component: controller-manager.conf, scheduler.conf, …"""
        return self.state / f"{name}.conf"

    def node_names(self) -> list[str]:
        """The machine's host name for the first node, NAME-node-2 and on for the rest."""
        first = socket.gethostname().lower()
        return [first, *(f"{self.name}-node-{number}" for number in range(2, self.nodes + 1))]

    def node_state(self, node: str) -> Path:
        """What a node keeps: its containerd's root, its kubelet's root, its CNI configuration."""
        return self.state / "nodes" / node

    def node_run(self, node: str) -> Path:
        """A node's sockets. Unix socket paths end at 107 bytes, so long names are replaced by a hash."""
        return self.run / (node if len(node) < 60 else hashlib.sha256(node.encode()).hexdigest()[:12])

    def containerd(self, node: str) -> Containerd:
        """A node's own containerd."""
        home = self.node_state(node)
        return Containerd(root=home / "containerd", state=self.node_run(node), cni_conf_dir=home / "cni" / "net.d")

    def leases(self, node: str) -> Path:
        """Where CNI's host-local keeps which address of the node's pod network is whose."""
        return self.node_state(node) / "cni" / "leases"

    def save(self) -> None:
        """Write cluster.json."""
        self.state.mkdir(parents=True, exist_ok=True)
        partial = self.state / PARTIAL
        partial.write_bytes(orjson.dumps(dataclasses.asdict(self), option=orjson.OPT_INDENT_2))
        # In one step: half a file would make every later command fail.
        partial.replace(self.state / "cluster.json")

    @property
    def flags(self) -> str:
        """What names this cluster on a command line; "" for the default one."""
        name = "" if self.name == "pynetes" else f" --cluster {self.name}"
        return name + (f" --data-dir {self.data_dir}" if self.data_dir else "")


def _network(flag: str, text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ClusterError(f"{flag} {text}: {error}", "write it as 10.244.0.0/16") from None


def load(name: str, data_dir: str = "") -> Cluster | None:
    """The cluster of that name as its `up` saved it, None if there is none. Raises ClusterError."""
    asked = Cluster(name=name, data_dir=data_dir)
    path = asked.state / "cluster.json"
    if not path.exists():
        return None
    try:
        found = Cluster(**orjson.loads(path.read_bytes()))
    except (ValueError, TypeError, ClusterError, IsADirectoryError) as error:
        raise ClusterError(
            f"{path} cannot be read: {error}", f"run `pynetes reset{asked.flags}` and then `pynetes up{asked.flags}`"
        ) from None
    if found.name != name:
        raise ClusterError(f"{asked.state} holds the cluster {found.name!r}", f"say --cluster {found.name}")
    return found


def require(name: str, data_dir: str = "") -> Cluster:
    """As load, but an error with the remedy when there is no such cluster."""
    cluster = load(name, data_dir)
    if cluster is None:
        asked = Cluster(name=name, data_dir=data_dir)
        others = sorted(path.parent.name for path in STATE.glob("*/cluster.json"))
        there = f"; there is {', '.join(others)} (--cluster NAME)" if others else ""
        raise ClusterError(f"there is no cluster named {name!r}", f"start it with `pynetes up{asked.flags}`{there}")
    return cluster
