"""`pynetes controller-manager`: every controller of the cluster, active in one instance at a time."""

import logging
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import orjson

from pynetes import controllers
from pynetes.client import guard, kubeconfig
from pynetes.client.controller import Controller
from pynetes.client.kubeconfig import KubeconfigError
from pynetes.client.leaderelection import LeaderElector, identity
from pynetes.client.manager import Manager
from pynetes.client.rest import Client
from pynetes.client.serviceaccounts import ServiceAccountTransport
from pynetes.client.transport import NetworkTransport
from pynetes.component import config as flags
from pynetes.component import logs, serving, spans, tasks
from pynetes.component.clock import SystemClock
from pynetes.component.config import option
from pynetes.component.files import Reread
from pynetes.component.health import Checks
from pynetes.machinery.meta import Key
from pynetes.pki import issue
from pynetes.rpc.otlp import exporting

COMPONENT = "kube-controller-manager"
DESCRIPTION = (
    "The controller manager runs the controllers, which bring the cluster to the state that its objects ask for."
)

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it, under upstream's names."""

    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    controllers: tuple[str, ...] = option(
        "--controllers", ("*",), "Which controllers run: * for all, NAME to add one, -NAME to leave one out."
    )
    leader_elect: bool = option("--leader-elect", True, "Work only while holding the Lease of this name.")
    bind_address: str = option("--bind-address", "127.0.0.1", "Address of the health and metrics server.")
    secure_port: int = option("--secure-port", 10257, "Its port, with HTTPS; 0 for any free one.")
    client_ca_file: str = option("--client-ca-file", "", "CA of client certificates that may read the metrics.")
    authentication_kubeconfig: str = option(
        "--authentication-kubeconfig", "", "Accepted for upstream's manifests; the own identity asks the API server."
    )
    authorization_kubeconfig: str = option(
        "--authorization-kubeconfig", "", "Accepted for upstream's manifests; the own identity asks the API server."
    )
    cluster_cidr: tuple[str, ...] = option("--cluster-cidr", (), "Pods' networks, one per IP family.")
    allocate_node_cidrs: bool = option("--allocate-node-cidrs", False, "Give each node a part of --cluster-cidr.")
    node_cidr_mask_size: int = option("--node-cidr-mask-size", 24, "Prefix length of a node's IPv4 pod network.")
    node_cidr_mask_size_ipv6: int = option("--node-cidr-mask-size-ipv6", 64, "The same for IPv6.")
    root_ca_file: str = option("--root-ca-file", "", "The CA that pods get to verify the API server with.")
    service_account_private_key_file: str = option(
        "--service-account-private-key-file",
        "",
        "Signs the tokens of Secrets that ask for one; the API server signs others.",
    )
    cluster_signing_cert_file: str = option("--cluster-signing-cert-file", "", "The CA that signs kubelets' requests.")
    cluster_signing_key_file: str = option("--cluster-signing-key-file", "", "Its key.")
    kubelet_serving_nodes: str = option(
        "--kubelet-serving-nodes",
        "",
        "JSON file {node: [name or address, ...]}: whose kubelets' serving certificates are approved, for these names.",
    )
    use_service_account_credentials: bool = option(
        "--use-service-account-credentials", False, "Run each controller as a ServiceAccount of its own."
    )
    node_monitor_grace_period: str = option(
        "--node-monitor-grace-period", "50s", "How long a node may be silent before it counts as unreachable."
    )
    terminated_pod_gc_threshold: int = option(
        "--terminated-pod-gc-threshold", 12500, "How many terminated pods stay before the oldest are removed."
    )
    cloud_provider: str = option(
        "--cloud-provider", "", "external: a cloud controller manager runs; empty: there is no cloud."
    )
    tracing_config_file: str = option(
        "--tracing-config-file", "", "A TracingConfiguration: where spans are sent over OTLP, and how many are begun."
    )
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


class BadConfig(Exception):
    """A flag's value cannot be used; the text names both."""


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = flags.parse(Config, argv, prog="pynetes controller-manager", description=DESCRIPTION)
    logs.setup(COMPONENT, verbosity=given.verbosity)
    try:
        chosen = select(given.controllers, controllers.load(settings(given)))
        credentials = kubeconfig.find(given.kubeconfig)
    except (BadConfig, KubeconfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tasks.run(lambda: run(given, chosen, credentials))


def settings(given: Config) -> controllers.Config:
    """What the controllers need to know. Raises BadConfig."""
    return controllers.Config(
        allocate_node_cidrs=given.allocate_node_cidrs,
        cluster_cidrs=given.cluster_cidr,
        node_cidr_mask_ipv4=given.node_cidr_mask_size,
        node_cidr_mask_ipv6=given.node_cidr_mask_size_ipv6,
        root_ca=_reread("--root-ca-file", lambda ca: ca.decode(), given.root_ca_file),
        signing=_reread(
            "--cluster-signing-cert-file",
            issue.load,
            given.cluster_signing_cert_file,
            given.cluster_signing_key_file,
        ),
        token_key=_reread("--service-account-private-key-file", issue.load_key, given.service_account_private_key_file),
        kubelet_names=_reread("--kubelet-serving-nodes", orjson.loads, given.kubelet_serving_nodes),
        node_monitor_grace_period=_duration("--node-monitor-grace-period", given.node_monitor_grace_period),
        cloud_provider=given.cloud_provider,
        terminated_pod_threshold=given.terminated_pod_gc_threshold,
    )


def _reread(flag: str, read: Callable[..., T], *paths: str) -> Callable[[], T] | None:
    """What `read` makes of the files' contents, as they are whenever it is asked; None where a path is not given."""
    if not all(paths):
        return None
    found = tuple(map(Path, paths))
    try:
        value = Reread(found, lambda: read(*(path.read_bytes() for path in found)))
    except OSError as error:
        raise BadConfig(f"{flag}: cannot read {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise BadConfig(f"{flag}: {', '.join(paths)}: {error}") from None
    return value.current


def _duration(flag: str, text: str) -> timedelta:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    for unit, factor in units.items():
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return timedelta(seconds=float(number) * factor)
    raise BadConfig(f"{flag}: {text!r} is no duration such as 50s or 2m")


def select(wanted: Collection[str], known: Sequence[Controller]) -> list[Controller]:
    """The controllers that --controllers names."""
    names = {each.name for each in known}
    for name in wanted:
        if name != "*" and name.removeprefix("-") not in names:
            _LOG.warning(logs.fact("no such controller here", name=name))
    everything = "*" in wanted
    return [each for each in known if f"-{each.name}" not in wanted and (everything or each.name in wanted)]


async def run(given: Config, chosen: Sequence[Controller], credentials: kubeconfig.Credentials) -> None:
    """Serve health and metrics, and run the controllers while this instance leads."""
    clock = SystemClock()
    checks = Checks()
    async with AsyncExitStack() as stack:
        client = Client(NetworkTransport(credentials), component=COMPONENT)
        stack.push_async_callback(client.close)
        client_of = None
        if given.use_service_account_credentials:
            bare = NetworkTransport(credentials.without_identity())
            stack.push_async_callback(bare.close)
            client_of = _accounts(bare, client, clock)
        manager = Manager(client, chosen, clock=clock, client_of=client_of)
        app = serving.application(checks)
        app.middlewares.append(guard.middleware(client, clock))
        context = guard.self_signed_context(("localhost", given.bind_address), given.client_ca_file)
        await stack.enter_async_context(serving.serve_paths(given.paths_socket, COMPONENT))
        tracing = spans.load(given.tracing_config_file)
        await stack.enter_async_context(exporting(tracing, COMPONENT, paths_socket=given.paths_socket))
        await stack.enter_async_context(
            serving.serve(app, host=given.bind_address, port=given.secure_port, context=context)
        )
        if given.leader_elect:
            await LeaderElector(client, COMPONENT, clock=clock, holder=identity(given.secure_port)).run(manager.run)
        else:
            await manager.run()


def _accounts(bare: NetworkTransport, issuer: Client, clock: SystemClock) -> Callable[[Controller], Client]:
    made: dict[str, Client] = {}

    def client_of(controller: Controller) -> Client:
        if controller.itself:
            return issuer
        name = controller.service_account or controller.name
        if name not in made:
            transport = ServiceAccountTransport(bare, issuer, Key("kube-system", name), clock=clock)
            made[name] = Client(transport, component=COMPONENT)
        return made[name]

    return client_of
