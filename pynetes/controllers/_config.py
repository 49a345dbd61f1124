"""What the controllers let the operator choose; the flags are in cmd/controller_manager.py."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from pynetes.pki.issue import Issued, Key


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of all controllers; each reads its own."""

    #: Whether nodes get a pod CIDR, and from which networks (one per IP family).
    allocate_node_cidrs: bool = False
    cluster_cidrs: tuple[str, ...] = ()
    node_cidr_mask_ipv4: int = 24
    node_cidr_mask_ipv6: int = 64
    #: The PEM that kube-root-ca.crt carries to pods, as it is now; None publishes none.
    root_ca: Callable[[], str] | None = None
    #: The authority that signs kubelets' certificates, as it is now; None signs none.
    signing: Callable[[], Issued] | None = None
    #: Signs tokens that lie in Secrets; None signs none.
    token_key: Callable[[], Key] | None = None
    #: Which names and addresses the kubelet of each node may have in its serving certificate; None approves none.
    kubelet_names: Callable[[], Mapping[str, Collection[str]]] | None = None
    #: The longest life of a signed certificate.
    signing_duration: timedelta = timedelta(days=365)
    #: How long a node may be silent before its conditions become Unknown. Upstream's 50 s.
    node_monitor_grace_period: timedelta = timedelta(seconds=50)
    #: Terminated pods kept before the oldest are removed; 0 or less keeps all.
    #: external where a cloud controller manager runs, "" without a cloud.
    cloud_provider: str = ""
    terminated_pod_threshold: int = 12500
