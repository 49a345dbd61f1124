"""What the controllers need to know."""

from dataclasses import dataclass, field

from pynetes.cloud.inventory import Machines
from pynetes.cloud.provider import Provider
from pynetes.component.clock import Clock, SystemClock


@dataclass(frozen=True, kw_only=True)
class Config:
    """One cluster at one cloud; periods are seconds."""

    provider: Provider
    #: Shared, so that all controllers together ask once.
    machines: Machines
    cluster_cidrs: tuple[str, ...] = ()
    #: Whether the cloud's route table carries pods' networks.
    configure_routes: bool = True
    node_monitor_period: float = 5.0
    node_status_update_frequency: float = 300.0
    route_reconciliation_period: float = 10.0
    orphan_period: float = 600.0
    service_workers: int = 5
    clock: Clock = field(default_factory=SystemClock)
