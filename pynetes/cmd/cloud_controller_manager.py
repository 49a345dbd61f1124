"""`pynetes cloud-controller-manager`: the controllers that need a cloud, over any provider."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from pynetes.client import kubeconfig
from pynetes.client.controller import Controller
from pynetes.client.kubeconfig import KubeconfigError
from pynetes.client.leaderelection import DEFAULT, LeaderElector, Timing, identity
from pynetes.client.manager import Manager
from pynetes.client.rest import Client
from pynetes.client.transport import NetworkTransport
from pynetes.cloud import controllers, providers
from pynetes.cloud.inventory import Machines
from pynetes.cloud.provider import Provider
from pynetes.cloud.providers import BadCloud, Settings
from pynetes.component import config as flags
from pynetes.component import logs, serving, tasks, tls
from pynetes.component.clock import SystemClock
from pynetes.component.config import option
from pynetes.component.health import Checks

COMPONENT = "cloud-controller-manager"
DESCRIPTION = (
    "The cloud controller manager tells nodes what their cloud knows of them, removes those whose instances are gone, "
    "and gives Services of type LoadBalancer their balancers."
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it, under upstream's names."""

    cloud_provider: str = option("--cloud-provider", "", f"The cloud: one of {', '.join(providers.known())}.")
    cloud_config: str = option("--cloud-config", "", "Path of the provider's configuration.")
    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    cluster_name: str = option("--cluster-name", "kubernetes", "What the cluster's resources are tagged with.")
    controllers: tuple[str, ...] = option(
        "--controllers", ("*",), "Which controllers run: * for all, NAME to add one, -NAME to leave one out."
    )
    cluster_cidr: tuple[str, ...] = option("--cluster-cidr", (), "Pods' networks, one per IP family.")
    allocate_node_cidrs: bool = option(
        "--allocate-node-cidrs", False, "Nodes' networks are of --cluster-cidr; needed for routes."
    )
    configure_cloud_routes: bool = option("--configure-cloud-routes", True, "Keep the cloud's route table.")
    route_reconciliation_period: float = option(
        "--route-reconciliation-period", 10.0, "Seconds between looks at a route table that was just changed."
    )
    node_monitor_period: float = option("--node-monitor-period", 5.0, "Seconds between looks at a node not Ready.")
    node_status_update_frequency: float = option(
        "--node-status-update-frequency", 300.0, "Seconds between comparisons of a node's addresses."
    )
    concurrent_service_syncs: int = option("--concurrent-service-syncs", 5, "How many Services are worked on at once.")
    leader_elect: bool = option("--leader-elect", True, "Work only while holding the Lease of this name.")
    leader_elect_lease_duration: int = option(
        "--leader-elect-lease-duration", DEFAULT.lease, "Seconds after which others take an unrenewed Lease over."
    )
    leader_elect_renew_deadline: float = option(
        "--leader-elect-renew-deadline", DEFAULT.renew, "Seconds for which the leader tries to renew, then it ends."
    )
    leader_elect_retry_period: float = option(
        "--leader-elect-retry-period", DEFAULT.retry, "Seconds between attempts to take or renew the Lease."
    )
    bind_address: str = option("--bind-address", "0.0.0.0", "Address of the health and metrics server.")
    secure_port: int = option("--secure-port", 10258, "Its port, with HTTPS; 0 for any free one.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = flags.parse(Config, argv, prog="pynetes cloud-controller-manager", description=DESCRIPTION)
    logs.setup(COMPONENT, verbosity=given.verbosity)
    if not given.cloud_provider:
        raise BadCloud("--cloud-provider is missing", f"it is one of {', '.join(providers.known())}")
    try:
        text = Path(given.cloud_config).read_text() if given.cloud_config else ""
    except OSError as error:
        raise BadCloud(f"--cloud-config: cannot read {given.cloud_config}: {error.strerror}") from None
    try:
        credentials = kubeconfig.find(given.kubeconfig)
    except KubeconfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tasks.run(lambda: run(given, text, credentials))


async def run(given: Config, cloud_config: str, credentials: kubeconfig.Credentials) -> None:
    """Serve health and metrics, and run the controllers while this instance leads."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        provider = await providers.connect(
            given.cloud_provider, Settings(config=cloud_config, cluster=given.cluster_name, clock=clock)
        )
        stack.push_async_callback(provider.close)
        client = Client(NetworkTransport(credentials), component=COMPONENT)
        stack.push_async_callback(client.close)
        manager = Manager(client, chosen(given, provider), clock=clock)
        context = tls.self_signed_context(("localhost", given.bind_address))
        await stack.enter_async_context(serving.serve_paths(given.paths_socket, COMPONENT))
        await stack.enter_async_context(
            serving.serve(
                serving.application(Checks()), host=given.bind_address, port=given.secure_port, context=context
            )
        )
        if given.leader_elect:
            holder, timing = identity(given.secure_port), timing_of(given)
            await LeaderElector(client, COMPONENT, clock=clock, holder=holder, timing=timing).run(manager.run)
        else:
            await manager.run()


def timing_of(given: Config) -> Timing:
    """The Lease's times. Raises BadCloud when two could lead at once by them."""
    timing = Timing(
        given.leader_elect_lease_duration, given.leader_elect_renew_deadline, given.leader_elect_retry_period
    )
    if not timing.lease > timing.renew > timing.retry > 0:
        remedy = "--leader-elect-lease-duration > --leader-elect-renew-deadline > --leader-elect-retry-period > 0"
        raise BadCloud("with these times two instances could lead at once", remedy)
    return timing


def chosen(given: Config, provider: Provider) -> list[Controller]:
    """The controllers that --controllers names and the provider can serve."""
    clock = SystemClock()
    config = controllers.Config(
        provider=provider,
        machines=Machines(provider, clock),
        cluster_cidrs=given.cluster_cidr,
        configure_routes=given.configure_cloud_routes and given.allocate_node_cidrs,
        node_monitor_period=given.node_monitor_period,
        node_status_update_frequency=given.node_status_update_frequency,
        route_reconciliation_period=given.route_reconciliation_period,
        service_workers=given.concurrent_service_syncs,
        clock=clock,
    )
    every = "*" in given.controllers
    return [
        each
        for each in controllers.load(config)
        if f"-{each.name}" not in given.controllers and (every or each.name in given.controllers)
    ]
