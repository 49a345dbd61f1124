"""The facts of this machine that a cluster is built on."""

import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from pynetes.cluster.config import Cluster
from pynetes.cluster.images.archive import architecture


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What `processes` needs to know."""

    #: The address the API server and the first node are reached by.
    address: str
    #: Every node's own address.
    addresses: Mapping[str, str]
    etcd: str
    #: Go's name for the architecture.
    go_architecture: str


def facts(cluster: Cluster, node_addresses: Mapping[str, str]) -> Machine:
    """Look the facts up; node_addresses are those of the nodes in namespaces."""
    address = primary_address()
    first = cluster.node_names()[0]
    return Machine(
        address=address,
        addresses={first: address, **node_addresses},
        etcd=shutil.which("etcd") or "etcd",
        go_architecture=architecture(),
    )


def primary_address() -> str:
    """The address this machine would use to reach others: that of the default route, else of any interface.

    Connecting a datagram socket sends nothing; it asks the routing table.
    """
    for target in ("192.0.2.1", "10.255.255.255"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
            except OSError:
                continue
            address = str(probe.getsockname()[0])
            if not address.startswith("127."):
                return address
    return "127.0.0.1"
