"""The 29 interaction paths and the mTLS between API server and etcd, declared once.

Everything that speaks of a path (its row in `pynetes paths`, its check, the live map) takes it from here.
"""

from typing import NamedTuple


class Path(NamedTuple):
    """Who dials whom, how, and what each side trusts. number 0 is the mTLS between API server and etcd."""

    number: int
    source: str
    target: str
    protocol: str
    port: int
    #: Who the dialling side is, and what makes the other side believe it.
    identity: str

    @property
    def title(self) -> str:
        """ "kubectl → API server"."""
        return f"{self.source} → {self.target}"

    @property
    def label(self) -> str:
        """What a person writes to name it: its number, or mtls."""
        return str(self.number) if self.number else "mtls"


CONTROLLERS = "certificate CN=system:kube-controller-manager"
SCHEDULER = "certificate CN=system:kube-scheduler"
NODE = "certificate CN=system:node:NAME, O=system:nodes"
PROXY = "certificate CN=system:kube-proxy"
ACCOUNT = "ServiceAccount token"

PATHS = (
    Path(1, "kubectl", "API server", "HTTPS, WebSocket, SPDY/3.1", 6443, "certificate CN=kubernetes-admin"),
    Path(2, "dashboard", "API server", "HTTPS", 6443, "the browser user's token"),
    Path(3, "CI/CD tools", "API server", "HTTPS, server-side apply", 6443, ACCOUNT),
    Path(4, "API server", "etcd", "gRPC, transactions", 2379, "mTLS by etcd's own CA"),
    Path(5, "etcd", "API server", "gRPC, one watch stream", 2379, "mTLS by etcd's own CA"),
    Path(6, "API server", "controller manager", "HTTPS, watch", 6443, CONTROLLERS),
    Path(7, "controller manager", "API server", "HTTPS, writes", 6443, CONTROLLERS),
    Path(8, "API server", "scheduler", "HTTPS, watch", 6443, SCHEDULER),
    Path(9, "scheduler", "API server", "HTTPS, bindings, events", 6443, SCHEDULER),
    Path(
        10,
        "API server",
        "kubelet",
        "HTTPS, watch; 10250 for streams",
        10250,
        "certificate CN=kube-apiserver-kubelet-client",
    ),
    Path(11, "kubelet", "API server", "HTTPS, status, Lease, tokens", 6443, NODE),
    Path(12, "API server", "kube-proxy", "HTTPS, watch", 6443, PROXY),
    Path(13, "kube-proxy", "API server", "HTTPS, list and watch", 6443, PROXY),
    Path(14, "kubelet", "container runtime", "CRI v1, gRPC on a Unix socket", 0, "file permissions"),
    Path(15, "kubelet", "CSI driver", "CSI v1, gRPC on a Unix socket", 0, "file permissions"),
    Path(16, "kubelet", "device plugin", "device plugin v1beta1, gRPC", 0, "file permissions"),
    Path(17, "kube-proxy", "kernel", "one nftables or iptables transaction", 0, "root"),
    Path(18, "controllers", "API server", "work queues, reconciliation", 6443, CONTROLLERS),
    Path(19, "cloud controller", "cloud provider", "the provider's HTTPS API", 443, "cloud credentials"),
    Path(20, "pod", "Service, then pod", "TCP, UDP", 0, "network policy"),
    Path(21, "pod", "DNS server", "DNS over UDP and TCP", 53, "network policy"),
    Path(22, "pod", "API server", "HTTPS through kubernetes.default.svc", 443, ACCOUNT),
    Path(23, "metrics server", "kubelet", "HTTPS /metrics/resource", 10250, ACCOUNT),
    Path(24, "DNS server", "API server", "HTTPS, watch", 6443, ACCOUNT),
    Path(25, "ingress controller", "API server", "HTTPS, watch, status", 6443, ACCOUNT),
    Path(26, "cloud controller", "cloud load balancers, volumes", "the provider's HTTPS API", 443, "cloud credentials"),
    Path(27, "node", "cloud metadata", "HTTP, IMDSv2", 80, "link-local only"),
    Path(28, "Prometheus", "API server", "HTTPS /metrics, kubernetes_sd", 6443, ACCOUNT),
    Path(29, "Prometheus", "kubelet", "HTTPS /metrics/cadvisor and more", 10250, ACCOUNT),
)
MTLS = Path(0, "API server", "etcd", "TLS, both sides verified", 2379, "certificates of etcd's own CA")


def find(label: str) -> Path | None:
    """The path a person names by its number, or by mtls."""
    return next((path for path in (*PATHS, MTLS) if path.label == label.lower()), None)
