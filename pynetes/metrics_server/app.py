"""The metrics server as a component."""

import contextlib
import logging
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from pynetes.apis.core import configmaps, nodes, pods
from pynetes.client import kubeconfig
from pynetes.client.delegation import Delegation
from pynetes.client.informer import Informer, InformerFactory
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import files, logs, serving, tasks, tls
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.metrics_server.api import Api
from pynetes.metrics_server.auth import CONFIG, Guard, Trust
from pynetes.metrics_server.points import Points
from pynetes.metrics_server.scrape import Kubelet, Scraper, kubelet_of

_LOG = logging.getLogger(__name__)
#: Seconds after the first cycle until the second, without which there are no rates.
SECOND = 5.0
_TICK = REGISTRY.histogram(
    "metrics_server_manager_tick_duration_seconds", "The total time spent collecting and storing metrics in seconds."
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Upstream's flags."""

    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    bind_address: str = option("--bind-address", "0.0.0.0", "The address that is listened on.")
    secure_port: int = option("--secure-port", 10250, "The port that serves HTTPS.")
    tls_cert_file: str = option("--tls-cert-file", "", "Serving certificate; a self-signed one if empty.")
    tls_private_key_file: str = option("--tls-private-key-file", "", "Key of --tls-cert-file.")
    metric_resolution: float = option("--metric-resolution", 15.0, "Seconds between looks at the kubelets.")
    kubelet_request_timeout: float = option("--kubelet-request-timeout", 10.0, "Seconds a kubelet may take.")
    kubelet_insecure_tls: bool = option("--kubelet-insecure-tls", False, "Do not verify kubelets' certificates.")
    kubelet_certificate_authority: str = option(
        "--kubelet-certificate-authority", "", "PEM bundle that verifies kubelets; the cluster's own if empty."
    )
    kubelet_preferred_address_types: tuple[str, ...] = option(
        "--kubelet-preferred-address-types",
        ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"),
        "Which of a node's addresses to dial, best first.",
    )
    kubelet_use_node_status_port: bool = option(
        "--kubelet-use-node-status-port", True, "Dial the port that the node's status names."
    )
    kubelet_port: int = option("--kubelet-port", 10250, "The port of kubelets, where the node's status is not used.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


async def run(config: Config, *, clock: Clock | None = None) -> None:
    """Serve until cancelled."""
    clock = clock or SystemClock()
    credentials = kubeconfig.find(config.kubeconfig)
    client = Client.from_kubeconfig(config.kubeconfig, component="metrics-server")
    checks, points = Checks(), Points()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        group = await stack.enter_async_context(tasks.Group())
        informers = InformerFactory(client, clock=clock, group=group)
        node_informer, pod_informer = informers.informer(nodes.RESOURCE), informers.informer(pods.RESOURCE)
        checks.ready("informer-sync", lambda: ", ".join(informers.unsynced()) or None)
        checks.ready("metric-storage-ready", lambda: None if _known(points) else "no metrics to serve")
        trust = await _trust(client, clock)
        app = serving.application(checks)
        guard = Guard(trust, Delegation(client, clock))
        app.middlewares.append(guard.middleware)
        group.start(_follow(client, clock, guard), name="whom to trust")
        Api(points, node_informer, pod_informer, clock).add(app)
        await stack.enter_async_context(serving.serve_paths(config.paths_socket, "metrics-server"))
        port = await stack.enter_async_context(
            serving.serve(app, host=config.bind_address, port=config.secure_port, context=_serving(config, guard))
        )
        _LOG.info(logs.fact("serving", port=port))
        await informers.wait_synced()
        named = (config.kubelet_certificate_authority, credentials.ca_file, credentials.certificate_file)
        read = [Path(name) for name in named if name]
        context = tls.Remade(lambda: kubelet_context(config, credentials), lambda: files.stamp(read))
        scraper = Scraper(context.current, credentials.bearer, timeout=config.kubelet_request_timeout)
        await stack.enter_async_context(scraper)

        def kubelets() -> list[Kubelet]:
            found = (kubelet_of(node, config.kubelet_preferred_address_types) for node in node_informer.listed())
            known = [each for each in found if each is not None]
            fixed = config.kubelet_port
            return known if config.kubelet_use_node_status_port else [each._replace(port=fixed) for each in known]

        wait = min(SECOND, config.metric_resolution)
        while True:
            began = time.perf_counter()
            points.keep(await scraper.cycle(kubelets(), points.add))
            took = time.perf_counter() - began
            _TICK.observe(took)
            await clock.sleep(max(0.0, wait - took))
            if points.nodes:
                wait = config.metric_resolution if _known(points) else wait


def _known(points: Points) -> bool:
    return any(pair.usage is not None for pair in points.nodes.values())


async def _trust(client: Client, clock: Clock) -> Trust:
    """Wait for the ConfigMap: without it nobody could be authenticated through the API server."""
    while True:
        try:
            return Trust.of(await client.get(configmaps.RESOURCE, Key("kube-system", CONFIG)))
        except (StatusError, Unreachable) as error:
            _LOG.warning(logs.fact("cannot read whom to trust", error=error))
        await clock.sleep(1.0)


async def _follow(client: Client, clock: Clock, guard: Guard) -> None:
    """Hear of other authorities as the ConfigMap names them."""
    selector = f"metadata.name={CONFIG}"
    informer = Informer(client, configmaps.RESOURCE, clock=clock, namespace="kube-system", field_selector=selector)

    def changed(new: Object, _old: Object | None, gone: bool) -> None:
        if not gone:
            guard.learn(Trust.of(new))

    informer.handle(changed)
    await informer.run()


def _serving(config: Config, guard: Guard) -> ssl.SSLContext:
    """The certificate given, or one of its own making; whom it trusts is looked up at each handshake."""
    given = (Path(config.tls_cert_file), Path(config.tls_private_key_file)) if config.tls_cert_file else ()
    own = b"" if given else tls.self_signed(("metrics-server", "metrics-server.kube-system.svc"))

    def make() -> ssl.SSLContext:
        context = tls.listening()
        if guard.trust.bundle.strip():
            context.load_verify_locations(cadata=guard.trust.bundle)
            context.verify_mode = ssl.CERT_OPTIONAL
        if given:
            context.load_cert_chain(*given)
        else:
            tls.load(context, own)
        return context

    return tls.serving(tls.Remade(make, lambda: (guard.trust.bundle, files.stamp(given))))


def kubelet_context(config: Config, credentials: kubeconfig.Credentials) -> ssl.SSLContext:
    """How kubelets are verified, and the certificate shown to them if the kubeconfig has one."""
    file = config.kubelet_certificate_authority or ("" if credentials.ca else credentials.ca_file)
    context = ssl.create_default_context(
        cafile=file or None, cadata=credentials.ca.decode() if credentials.ca and not file else None
    )
    if config.kubelet_insecure_tls:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if credentials.certificate_file:
        context.load_cert_chain(credentials.certificate_file, credentials.key_file)
    return context
