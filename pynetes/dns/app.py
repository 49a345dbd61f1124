"""The DNS server as a component: informers feed the zone, and health and metrics stand beside it."""

import contextlib
import logging
from dataclasses import dataclass

from pynetes.apis.core import namespaces, services
from pynetes.apis.discovery import endpointslices
from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.component import logs, serving, tasks
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.dns import forward, server
from pynetes.dns.answers import Answers
from pynetes.dns.tracker import Tracker

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it. Ports are those that a cluster's kube-dns Service and its probes expect."""

    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    cluster_domain: str = option("--cluster-domain", "cluster.local", "The zone of the cluster.")
    bind_address: str = option("--bind-address", "0.0.0.0", "The address that is listened on.")
    port: int = option("--port", 53, "The port for DNS over UDP and TCP.")
    forward: tuple[str, ...] = option(
        "--forward", ("/etc/resolv.conf",), "Name servers for all other names: addresses, or files like resolv.conf."
    )
    health_port: int = option("--health-port", 8080, "The port of /health.")
    ready_port: int = option("--ready-port", 8181, "The port of /ready, which fails until all objects are known.")
    metrics_port: int = option("--metrics-port", 9153, "The port of /metrics.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


async def run(config: Config, *, client: Client | None = None, clock: Clock | None = None) -> None:
    """Serve until cancelled. Names are answered only once all Services are known: half a zone would deny the rest."""
    clock = clock or SystemClock()
    client = client or Client.from_kubeconfig(config.kubeconfig, component="dns")
    answers = Answers(config.cluster_domain.strip(".").lower())
    servers = forward.upstreams(config.forward, own=(config.bind_address,))
    forwarder = forward.Forwarder(servers, clock=clock)
    checks, ready, listening = Checks(), Checks(), False
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(tasks.Group())
        stack.push_async_callback(client.close)
        informers = InformerFactory(client, clock=clock, group=group)
        ready.live("kubernetes", lambda: "" if listening else ", ".join(informers.unsynced()) or "starting")
        app, ready_app = serving.application(checks), serving.application(ready)
        serving.alias(app, "/health", checks, "healthz")
        serving.alias(ready_app, "/ready", ready, "readyz")
        ports = (config.health_port, config.ready_port, config.metrics_port)
        for each, port in zip((app, ready_app, serving.application(checks)), ports, strict=True):
            await stack.enter_async_context(serving.serve(each, host=config.bind_address, port=port))
        await stack.enter_async_context(serving.serve_paths(config.paths_socket, "dns"))
        follow(informers, Tracker(answers))
        await informers.wait_synced()
        dns = server.Server(answers, forwarder, group)
        port = await stack.enter_async_context(server.listen(dns, config.bind_address, config.port))
        listening = True
        upstream = ",".join(each.host for each in servers)
        _LOG.info(logs.fact("serving", port=port, domain=answers.zone.domain, upstream=upstream))
        await tasks.forever()


def follow(informers: InformerFactory, tracker: Tracker) -> None:
    """Let the tracker hear of everything that has a name."""
    informers.informer(namespaces.RESOURCE).handle(tracker.namespace)
    informers.informer(services.RESOURCE).handle(tracker.service)
    informers.informer(endpointslices.RESOURCE).handle(tracker.endpoint_slice)
