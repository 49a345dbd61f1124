"""kube-proxy as a component: configuration, the choice of a mode, informers, health and metrics."""

import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pynetes.apis.core import services
from pynetes.apis.discovery import endpointslices
from pynetes.client import guard
from pynetes.client.events import Recorder
from pynetes.client.informer import Handler, Informer
from pynetes.client.rest import Client
from pynetes.component import logs, serving, spans, tasks
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.machinery.meta import Object, key_of
from pynetes.proxy import backend, kernel, model
from pynetes.proxy.healthcheck import HealthChecks
from pynetes.proxy.nftables import Settings
from pynetes.proxy.sync import Proxier
from pynetes.proxy.tracker import Tracker
from pynetes.rpc.otlp import exporting

_LOG = logging.getLogger(__name__)
#: A change that has not reached the kernel for this long makes the proxy unhealthy, as upstream has it.
STALE_SECONDS = 60.0
CLEANUP_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it, under upstream's names."""

    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    hostname_override: str = option("--hostname-override", "", "The node's name, if it is not the host's.")
    proxy_mode: str = option(
        "--proxy-mode", "nftables", "nftables or iptables; iptables is the fallback where nftables does not work."
    )
    cluster_cidr: tuple[str, ...] = option(
        "--cluster-cidr", (), "Pods' networks; what comes from elsewhere to a cluster IP is masqueraded."
    )
    masquerade_all: bool = option("--masquerade-all", False, "Masquerade all traffic to cluster IPs.")
    iptables_masquerade_bit: int = option("--iptables-masquerade-bit", 14, "The bit that marks what to masquerade.")
    nodeport_addresses: tuple[str, ...] = option(
        "--nodeport-addresses", (), "Networks of the node's addresses that serve node ports; all if none is given."
    )
    bind_address: str = option("--bind-address", "0.0.0.0", "Decides the primary address family only.")
    healthz_bind_address: str = option("--healthz-bind-address", "0.0.0.0:10256", "Address and port of /healthz.")
    metrics_bind_address: str = option("--metrics-bind-address", "127.0.0.1:10249", "Address and port of /metrics.")
    secure_metrics_bind_address: str = option(
        "--secure-metrics-bind-address",
        "",
        "Address and port that show /metrics to other machines too: HTTPS, for whom the API server says may get it.",
    )
    client_ca_file: str = option(
        "--client-ca-file", "", "Verifies clients' certificates at --secure-metrics-bind-address; else tokens only."
    )
    min_sync_seconds: float = option(
        "--min-sync-seconds", 0.01, "After a sync, changes are gathered this long; the first of a burst never waits."
    )
    sync_seconds: float = option("--sync-seconds", 30.0, "How often to look whether the rules are still there.")
    cleanup: bool = option("--cleanup", False, "Remove all rules of every mode, and exit.")
    tracing_config_file: str = option(
        "--tracing-config-file", "", "A TracingConfiguration: where spans are sent over OTLP, and how many are begun."
    )
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    conntrack_max_per_core: int = option("--conntrack-max-per-core", 0, "Accepted; the kernel's own limit is kept.")
    conntrack_min: int = option("--conntrack-min", 0, "Accepted; the kernel's own limit is kept.")
    conntrack_tcp_timeout_established: str = option(
        "--conntrack-tcp-timeout-established", "", "Accepted; the kernel's own time is kept."
    )
    conntrack_tcp_timeout_close_wait: str = option(
        "--conntrack-tcp-timeout-close-wait", "", "Accepted; the kernel's own time is kept."
    )
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


class BadConfig(Exception):
    """A flag's value cannot be used; the text names both."""


def settings(config: Config) -> Settings:
    """What the rules depend on. Raises BadConfig."""
    for flag, cidrs in (("--cluster-cidr", config.cluster_cidr), ("--nodeport-addresses", config.nodeport_addresses)):
        for cidr in cidrs:
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                raise BadConfig(f"{flag}: {error}") from None
    if config.proxy_mode not in backend.MODES:
        raise BadConfig(f"--proxy-mode: {config.proxy_mode!r} is none of {', '.join(backend.MODES)}")
    return Settings(
        cluster_cidrs=config.cluster_cidr,
        masquerade_all=config.masquerade_all,
        masquerade_mark=1 << config.iptables_masquerade_bit,
        node_port_addresses=config.nodeport_addresses,
    )


async def choose_mode(wanted: str) -> str:
    """The mode that works here: what is wanted, or iptables where this kernel or machine has no nftables."""
    if wanted == "nftables":
        try:
            await kernel.run(["nft", "--check", "-f", "-"], "add table ip kube-proxy-check\n")
        except kernel.KernelError as error:
            _LOG.warning(logs.fact("nftables does not work here, using iptables", error=error))
            return "iptables"
    return wanted


async def cleanup() -> None:
    """Remove what any mode left in this network namespace. Raises KernelError when something cannot be removed."""
    for one in _every_backend(Settings()):
        for attempt in range(1, CLEANUP_ATTEMPTS + 1):
            try:
                await one.cleanup()
                break
            except kernel.KernelError:
                # Somebody changed the tables between our look at them and the transaction. Or the program, or the
                # kernel, does not know this mode or family: then nothing of it is there.
                if attempt == CLEANUP_ATTEMPTS and await one.present():
                    raise


async def run(config: Config, *, client: Client | None = None, clock: Clock | None = None) -> None:
    """Forward until cancelled; rules stay when it ends, as connections must outlive a restart."""
    if config.cleanup:
        await cleanup()
        return
    rules = settings(config)
    clock = clock or SystemClock()
    client = client or Client.from_kubeconfig(config.kubeconfig, component="kube-proxy")
    mode = await choose_mode(config.proxy_mode)
    tracker = Tracker(config.hostname_override or socket.gethostname().lower())
    checks = HealthChecks(lambda: bool(proxier.synced_at))
    proxier = Proxier(
        tracker,
        lambda family: backend.MODES[mode](family, rules),
        clock=clock,
        min_sync_seconds=config.min_sync_seconds,
        check_seconds=config.sync_seconds,
        after=lambda tracker: checks.sync(tracker.forwards),
        mode=mode,
    )
    _LOG.info(logs.fact("proxying", mode=mode, node=tracker.node))
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(tasks.Group())
        stack.push_async_callback(client.close)
        stack.push_async_callback(checks.close)
        await stack.enter_async_context(_serving(config, proxier, client, clock))
        informers = [
            # Services of another proxy and headless ones are of no interest; the server leaves them out.
            Informer(client, services.RESOURCE, clock=clock, label_selector=f"!{model.PROXY_NAME_LABEL}"),
            Informer(client, endpointslices.RESOURCE, clock=clock, label_selector=f"!{model.HEADLESS_LABEL}"),
        ]
        for informer, handler in zip(informers, handlers(tracker, proxier), strict=True):
            informer.handle(handler)
            group.start(informer.run(), name=f"informer {informer.resource.qualified}")
        for informer in informers:
            await informer.wait_synced()
        recorder = Recorder(client, clock=clock, host=tracker.node)
        group.start(recorder.run(), name="events")
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": tracker.node, "uid": tracker.node}}
        recorder.event(node, "Normal", "Starting", "", source="kube-proxy", action="StartKubeProxy")
        await _leave_other_modes(mode)
        await proxier.run()


def handlers(tracker: Tracker, proxier: Proxier) -> tuple[Handler, Handler]:
    """What the informers of Services and of EndpointSlices call."""

    def on_service(obj: Object, _old: Object | None, gone: bool) -> None:
        if gone:
            tracker.delete_service(key_of(obj))
        else:
            tracker.set_service(obj)
        proxier.changed()

    def on_slice(obj: Object, _old: Object | None, gone: bool) -> None:
        if gone:
            tracker.delete_slice(key_of(obj))
        else:
            tracker.set_slice(obj)
        proxier.changed()

    return on_service, on_slice


async def _leave_other_modes(mode: str) -> None:
    """After a change of mode the other one's rules would go on forwarding to endpoints long gone."""
    for one in _every_backend(Settings()):
        if not isinstance(one, backend.MODES[mode]):
            with contextlib.suppress(kernel.KernelError):
                if await one.present():
                    await one.cleanup()


def _every_backend(rules: Settings) -> list[backend.Nftables | backend.Iptables]:
    return [make(family, rules) for make in backend.MODES.values() for family in (4, 6)]


@asynccontextmanager
async def _serving(config: Config, proxier: Proxier, client: Client, clock: Clock) -> AsyncIterator[None]:
    def stale() -> str | None:
        waited = clock.now().timestamp() - proxier.waiting_since if proxier.waiting_since else 0.0
        if proxier.synced_at and waited < STALE_SECONDS:
            return None
        return f"rules are {waited:.0f} s behind" if proxier.synced_at else "no rules yet"

    checks = Checks()
    checks.live("rules", stale)
    async with contextlib.AsyncExitStack() as stack:
        for text in dict.fromkeys((config.healthz_bind_address, config.metrics_bind_address)):
            host, _, port = text.rpartition(":")
            if port and port != "0":
                app = serving.application(checks)
                await stack.enter_async_context(serving.serve(app, host=host.strip("[]"), port=int(port)))
        host, _, port = config.secure_metrics_bind_address.rpartition(":")
        if port:
            app, host = serving.application(checks), host.strip("[]")
            app.middlewares.append(guard.middleware(client, clock))
            context = guard.self_signed_context(("localhost", host), config.client_ca_file)
            await stack.enter_async_context(serving.serve(app, host=host, port=int(port), context=context))
        await stack.enter_async_context(serving.serve_paths(config.paths_socket, "kube-proxy"))
        tracing = spans.load(config.tracing_config_file)
        await stack.enter_async_context(exporting(tracing, "kube-proxy", paths_socket=config.paths_socket))
        yield
