"""The ingress controller as a component: nginx, what feeds it, and what tells about it."""

import asyncio
import contextlib
import logging
import os
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.core import namespaces
from pynetes.client.events import Recorder
from pynetes.client.informer import InformerFactory
from pynetes.client.leaderelection import LeaderElector
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs, serving, tasks, tls
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.component.remedy import RemedyError
from pynetes.ingress import measurements
from pynetes.ingress.controller import Controller
from pynetes.ingress.gateway import kinds
from pynetes.ingress.gateway.status import GatewayTeller
from pynetes.ingress.ingresses import Cluster
from pynetes.ingress.nginx.configuration import INGRESS_SCOPE, Listener, Settings
from pynetes.ingress.nginx.server import Nginx
from pynetes.ingress.rules import BackendRef
from pynetes.ingress.status import SOURCE, Teller
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, parse_key

_LOG = logging.getLogger(__name__)
LEASE = "ingress-controller-leader"
#: Seconds until addresses are looked at again where nothing else changes.
LOOK_AGAIN = 2.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Flags, ingress-nginx's where it has them."""

    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    controller_class: str = option(
        "--controller-class", "k8s.io/ingress-nginx", "spec.controller of the IngressClasses that are served."
    )
    ingress_class: str = option(
        "--ingress-class", "nginx", "The class that the annotation kubernetes.io/ingress.class may name."
    )
    watch_ingress_without_class: bool = option(
        "--watch-ingress-without-class", False, "Also serve Ingresses that name no class."
    )
    default_backend_service: str = option(
        "--default-backend-service", "", "NAMESPACE/NAME of a Service for requests that nothing else matches."
    )
    default_ssl_certificate: str = option(
        "--default-ssl-certificate", "", "NAMESPACE/NAME of a Secret with the certificate of hosts that have none."
    )
    publish_service: str = option(
        "--publish-service", "", "NAMESPACE/NAME of the Service whose addresses are written to status."
    )
    publish_status_address: tuple[str, ...] = option(
        "--publish-status-address", (), "Addresses to write to status instead, comma-separated."
    )
    update_status: bool = option("--update-status", True, "Write addresses to the status of Ingresses.")
    gateway_api: bool = option("--gateway-api", True, "Also serve the Gateway API, where its resources are installed.")
    gateway_selector: tuple[str, ...] = option(
        "--gateway-selector", ("app.kubernetes.io/name=ingress-nginx",), "Labels of the pods that Gateways lead to."
    )
    bind_address: str = option("--bind-address", "0.0.0.0", "The address that is listened on.")
    http_port: int = option("--http-port", 80, "The port for HTTP.")
    https_port: int = option("--https-port", 443, "The port for HTTPS.")
    healthz_port: int = option("--healthz-port", 10254, "The port of /healthz, /readyz and /metrics.")
    worker_processes: int = option("--worker-processes", 2, "Processes that serve traffic.")
    table_memory: int = option("--table-memory", 64, "Megabytes for rules, endpoints and certificates.")
    run_dir: str = option("--run-dir", "/run/pynetes-ingress", "A folder for nginx's own files.")
    worker_user: str = option("--worker-user", "www-data", "Whom nginx's workers run as, where this runs as root.")
    nginx: str = option("--nginx", "nginx", "The nginx program; it needs Debian's libnginx-mod-http-lua.")
    namespace: str = option("--namespace", "kube-system", "Where the leader's Lease and the Services of Gateways are.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


def _reference(flag: str, text: str) -> Key | None:
    if text and "/" not in text:
        raise RemedyError(f"{flag}={text} is no NAMESPACE/NAME", f"write {flag}=NAMESPACE/NAME")
    return parse_key(text) if text else None


def settings(config: Config) -> Settings:
    """What nginx needs to know at its start."""
    return Settings(
        listeners=(
            Listener(config.http_port, INGRESS_SCOPE),
            Listener(config.https_port, INGRESS_SCOPE, tls=True),
        ),
        workers=config.worker_processes,
        memory=config.table_memory,
        address=config.bind_address,
        user=config.worker_user if os.geteuid() == 0 else "",
        files=min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20),
    )


def _cluster(config: Config) -> Cluster:
    default = _reference("--default-backend-service", config.default_backend_service)
    return Cluster(
        service=lambda _: None,
        secret=lambda _: None,
        controller=config.controller_class,
        class_name=config.ingress_class,
        without_class=config.watch_ingress_without_class,
        folder=Path(config.run_dir),
        default_backend=BackendRef(default, "80") if default else None,
    )


@contextlib.asynccontextmanager
async def serving_traffic(
    config: Config, *, client: Client | None = None, clock: Clock | None = None
) -> AsyncIterator[Controller]:
    """Everything runs while the block does; nginx serves what the API said when it was entered."""
    clock = clock or SystemClock()
    client = client or Client.from_kubeconfig(config.kubeconfig, component="ingress-controller")
    publish = _reference("--publish-service", config.publish_service)
    certificate = _reference("--default-ssl-certificate", config.default_ssl_certificate)
    wanted, checks, nginx = settings(config), Checks(), Nginx(Path(config.run_dir), binary=config.nginx)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        nginx.run.mkdir(parents=True, exist_ok=True)
        _default_certificate(nginx.run / "default.pem")
        await stack.enter_async_context(nginx.serving(wanted))
        group = await stack.enter_async_context(tasks.Group())
        informers = InformerFactory(client, clock=clock, group=group)
        recorder = Recorder(client, clock=clock)
        controller = Controller(
            informers, nginx, wanted, _cluster(config), certificate=certificate, namespace=config.namespace
        )
        fixed = config.publish_status_address
        teller = Teller(client, informers, recorder, publish=publish or Key("", ""), fixed=fixed)
        checks.ready("informer-sync", lambda: ", ".join(informers.unsynced()) or None)
        checks.ready("tables", lambda: None if controller.ready else "nginx has not been given its tables")
        app = serving.application(checks)
        app.middlewares.append(measurements.refreshing(nginx))
        await stack.enter_async_context(serving.serve(app, host=config.bind_address, port=config.healthz_port))
        await stack.enter_async_context(serving.serve_paths(config.paths_socket, "ingress-controller"))
        group.start(nginx.ended(), name="nginx")
        await informers.wait_synced()
        controller.follow()
        group.start(controller.run(), name="tables")
        group.start(recorder.run(), name="events")
        if config.update_status:
            elector = LeaderElector(client, LEASE, clock=clock, namespace=config.namespace)
            selector = dict(pair.split("=", 1) for pair in config.gateway_selector)
            gateways = GatewayTeller(client, informers, clock, namespace=config.namespace, selector=selector)
            group.start(elector.run(lambda: _tell(controller, teller, gateways)), name="status")
        if config.gateway_api:
            group.start(_follow_gateways(client, clock, informers, controller), name="gateways")
        _LOG.info(logs.fact("serving", http=config.http_port, https=config.https_port, source=SOURCE))
        yield controller


async def run(config: Config) -> None:
    """Serve until cancelled."""
    async with serving_traffic(config):
        await tasks.forever()


async def _follow_gateways(client: Client, clock: Clock, informers: InformerFactory, controller: Controller) -> None:
    """The Gateway API is served from when its CustomResourceDefinitions are there."""
    while True:
        try:
            await client.request("GET", kinds.HTTP_ROUTES.path())
            break
        except (StatusError, Unreachable):
            await clock.sleep(LOOK_AGAIN)
    for kind in (*kinds.ALL, namespaces.RESOURCE, customresourcedefinitions.RESOURCE):
        await informers.informer(kind).wait_synced()
    controller.follow_gateways()


async def _tell(controller: Controller, teller: Teller, gateways: GatewayTeller) -> None:
    everything = True
    while True:
        controller.changed.clear()
        if controller.ready:
            changed = controller.hosts.taken_changes()
            await teller.tell(controller.hosts, None if everything else changed)
            await gateways.tell(controller.served, controller.gateway_services())
        try:
            await asyncio.wait_for(controller.changed.wait(), LOOK_AGAIN)
            everything = False
        except TimeoutError:
            everything = True


def _default_certificate(file: Path) -> None:
    """What clients see who name no host that has a certificate: nobody should trust it."""
    file.touch(mode=0o600)
    file.write_bytes(tls.self_signed(("ingress.local",)))
