"""Where every certificate, key and kubeconfig lies, and what stands in it: kubeadm's names, as one table.

A process that is handed a directory made here finds what it would find under /etc/kubernetes, so any component of
upstream can be started from it.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: Bound to cluster-admin by a ClusterRoleBinding of the same name, so that such a certificate can be disempowered.
ADMINS = "kubeadm:cluster-admins"
#: Passes every authorizer; only super-admin.conf carries it.
MASTERS = "system:masters"


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """Under which names and addresses the control plane and the nodes are dialled."""

    node_name: str
    #: Addresses of the API server and etcd on this machine, the advertised one first.
    addresses: tuple[str, ...] = ("127.0.0.1",)
    #: First address of each service range: what kubernetes.default.svc resolves to.
    service_ips: tuple[str, ...] = ("10.96.0.1",)
    dns_domain: str = "cluster.local"
    #: Further names or addresses of the API server (a load balancer, a public name).
    extra: tuple[str, ...] = ()
    #: What kubeconfigs point to.
    server: str = "https://127.0.0.1:6443"
    cluster: str = "pynetes"


class Names(NamedTuple):
    """Subject alternative names, each once, in the order given."""

    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def names(*items: str) -> Names:
    """Sort names from addresses and drop repeats."""
    dns: dict[str, None] = {}
    addresses: dict[str, None] = {}
    for item in items:
        try:
            addresses[str(ipaddress.ip_address(item))] = None
        except ValueError:
            dns[item] = None
    return Names(tuple(dns), tuple(addresses))


class Authority(NamedTuple):
    """A certificate authority: file stem below pki/, and its common name."""

    stem: str
    common_name: str


class Leaf(NamedTuple):
    """A certificate that an authority signs. stem is below pki/ (or a node's directory)."""

    stem: str
    authority: Authority
    common_name: str
    organizations: tuple[str, ...] = ()
    server: bool = False
    client: bool = False
    names: Names = Names()


class KubeconfigFile(NamedTuple):
    """A kubeconfig with an embedded client certificate of the cluster authority."""

    file: str
    user: str
    organizations: tuple[str, ...] = ()


CLUSTER_CA = Authority("ca", "kubernetes")
FRONT_PROXY_CA = Authority("front-proxy-ca", "front-proxy-ca")
ETCD_CA = Authority("etcd/ca", "etcd-ca")
AUTHORITIES = (CLUSTER_CA, FRONT_PROXY_CA, ETCD_CA)

KUBECONFIGS = (
    KubeconfigFile("admin.conf", "kubernetes-admin", (ADMINS,)),
    KubeconfigFile("super-admin.conf", "kubernetes-super-admin", (MASTERS,)),
    KubeconfigFile("controller-manager.conf", "system:kube-controller-manager"),
    KubeconfigFile("scheduler.conf", "system:kube-scheduler"),
    KubeconfigFile("kube-proxy.conf", "system:kube-proxy"),
    KubeconfigFile("cloud-controller-manager.conf", "system:cloud-controller-manager"),
)


def api_server_names(hosts: Hosts) -> Names:
    """Everything a client may dial the API server by, from inside a pod and from outside."""
    service = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{hosts.dns_domain}",
    )
    return names(
        hosts.node_name, "localhost", *service, *hosts.service_ips, *hosts.addresses, "127.0.0.1", "::1", *hosts.extra
    )


def etcd_names(hosts: Hosts) -> Names:
    """What members and the API server dial etcd by."""
    return names(hosts.node_name, "localhost", *hosts.addresses, "127.0.0.1", "::1")


def leaves(hosts: Hosts) -> Iterator[Leaf]:
    """Every certificate of the control plane."""
    yield Leaf("apiserver", CLUSTER_CA, "kube-apiserver", server=True, names=api_server_names(hosts))
    yield Leaf("apiserver-kubelet-client", CLUSTER_CA, "kube-apiserver-kubelet-client", (ADMINS,), client=True)
    yield Leaf("front-proxy-client", FRONT_PROXY_CA, "front-proxy-client", client=True)
    yield Leaf("apiserver-etcd-client", ETCD_CA, "kube-apiserver-etcd-client", client=True)
    # Not for clients: whoever steals it is no client of etcd. Only etcd's HTTP gateway would dial with it, and is off.
    yield Leaf("etcd/server", ETCD_CA, hosts.node_name, server=True, names=etcd_names(hosts))
    # Members dial each other with theirs.
    yield Leaf("etcd/peer", ETCD_CA, hosts.node_name, server=True, client=True, names=etcd_names(hosts))
    yield Leaf("etcd/healthcheck-client", ETCD_CA, "kube-etcd-healthcheck-client", client=True)


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Layout:
    """The directory of a cluster: pki/ and the kubeconfigs beside it, nodes/NAME/ for each further kubelet."""

    root: Path

    @property
    def pki(self) -> Path:
        """Where certificates are."""
        return self.root / "pki"

    @property
    def service_account(self) -> Pair:
        """sa.pub and sa.key: verify and sign ServiceAccount tokens."""
        return Pair(self.pki / "sa.pub", self.pki / "sa.key")

    def pair(self, stem: str) -> Pair:
        """pair("etcd/server") → pki/etcd/server.crt and .key."""
        return _pair(self.pki, stem)

    def kubeconfig(self, file: str) -> Path:
        """kubeconfig("admin.conf")."""
        return self.root / file

    def node(self, name: str) -> "Layout":
        """The directory of one kubelet: kubelet.conf, and in pki/ the certificates that it asked for."""
        return Layout(self.root / "nodes" / name)


def _pair(folder: Path, stem: str) -> Pair:
    return Pair(folder / f"{stem}.crt", folder / f"{stem}.key")
