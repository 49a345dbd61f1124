"""Keeps nginx's tables what the API objects say.

Each kind of change has its own way, so that it costs what it changes: endpoints are the tables of one Service, an
Ingress those of the hosts that it names, the Gateway API's objects all tables of Gateways. What differs is sent.
Changes that arrive while others are under way are taken together by the next round.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.core import namespaces, secrets, services
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import ingressclasses, ingresses
from pynetes.client.informer import InformerFactory
from pynetes.component import logs
from pynetes.component.metrics import REGISTRY
from pynetes.ingress import certificates, endpoints
from pynetes.ingress.gateway import acceptance, kinds
from pynetes.ingress.gateway import compile as gateway_rules
from pynetes.ingress.gateway import services as gateway_services
from pynetes.ingress.gateway.snapshot import Snapshot
from pynetes.ingress.hosts import Hosts
from pynetes.ingress.ingresses import Cluster
from pynetes.ingress.nginx.configuration import INGRESS_SCOPE, Location, Settings
from pynetes.ingress.nginx.server import Nginx, Rejected
from pynetes.ingress.policies import Users
from pynetes.ingress.rules import ANY_HOST, BackendRef
from pynetes.ingress.wanted import Wanted
from pynetes.machinery.meta import Key, Object, key_of

_LOG = logging.getLogger(__name__)
_SYNC = REGISTRY.histogram(
    "pynetes_ingress_sync_duration_seconds", "Time to compute changed tables and have nginx take them over.", "what"
)
_EXPIRES = REGISTRY.gauge(
    "nginx_ingress_controller_ssl_expire_time_seconds",
    "Number of seconds since 1970 to the SSL Certificate expire.",
    "host",
)


class Controller:
    """`run` works until cancelled; `hosts` and `gateways` are what nginx serves."""

    def __init__(
        self,
        informers: InformerFactory,
        nginx: Nginx,
        settings: Settings,
        cluster: Cluster,
        *,
        certificate: Key | None,
        namespace: str = "kube-system",
    ) -> None:
        """certificate: of the Secret for hosts that have none. namespace: where Services of Gateways lie."""
        self._informers, self.nginx, self._settings = informers, nginx, settings
        self._ingresses = informers.informer(ingresses.RESOURCE)
        self._classes = informers.informer(ingressclasses.RESOURCE)
        self._services = informers.informer(services.RESOURCE)
        self._slices = informers.informer(endpointslices.RESOURCE)
        self._secrets = informers.informer(secrets.RESOURCE)
        self._slices.index({"service": _service_of})
        self._services.index({"gateway": lambda each: [""] if gateway_services.is_ours(each, namespace) else []})
        self._cluster = replace(cluster, service=self._services.get, secret=self._secrets.get)
        self._certificate = certificate
        self._wake = asyncio.Event()
        #: Ingresses, and Services for their endpoints, that have changed.
        self._ingresses_changed: set[Key] = set()
        self._services_changed: set[Key] = set()
        self._gateways_changed = False
        self._start_anew()
        #: Locations that were ever needed stay, so that a policy that comes and goes does not reload nginx twice.
        self._locations: set[Location] = set(settings.locations)
        self.gateways = gateway_rules.Compiled()
        #: Those that nginx has taken over, which is what may be told.
        self.served = self.gateways
        self._gateway_api = False
        self._gateway_secrets: set[Key] = set()
        #: Set after every change of rules that was taken over; whoever waits clears it.
        self.changed = asyncio.Event()
        self.ready = False

    def _start_anew(self) -> None:
        """Forget all rules: the next round reads every Ingress."""
        self._classes_known = {each["metadata"]["name"]: each for each in self._classes.listed()}
        self.hosts = Hosts(self._cluster, self._classes_known)
        self._wanted = Wanted(self._endpoints)
        self._of_gateways: set[tuple[str, str]] = set()
        self._gateways_changed = True
        self._ingresses_changed = {key_of(each) for each in self._ingresses.listed()}
        self._put_default_certificate()
        self.nginx.forget()

    def follow(self) -> None:
        """Let informers wake it."""
        self._start_anew()
        self._ingresses.handle(self._on_ingress)
        self._classes.handle(self._on_class)
        self._services.handle(self._on_service)
        self._slices.handle(self._on_slice)
        self._secrets.handle(self._on_secret)

    def follow_gateways(self) -> None:
        """Serve the Gateway API as well, from when its resources are there."""
        self._gateway_api = True
        for resource in (*kinds.ALL, namespaces.RESOURCE):
            self._informers.informer(resource).handle(self._on_gateways)
        self._informers.informer(customresourcedefinitions.RESOURCE).handle(self._on_definition)

    def _on_ingress(self, new: Object, old: Object | None = None, gone: bool = False) -> None:
        # Status, which is mostly written by this controller itself, changes no rule.
        if old is None or gone or _meant(old) != _meant(new):
            self._ingresses_changed.add(key_of(new))
            self._wake.set()

    def _on_class(self, each: Object, _old: Object | None = None, _gone: bool = False) -> None:
        if self._classes.get(key_of(each)) != self._classes_known.get(each["metadata"]["name"]):
            self._start_anew()
            self._wake.set()

    def _on_service(self, new: Object, old: Object | None = None, gone: bool = False) -> None:
        if old is None or gone or _meant(old) != _meant(new):
            self._services_changed.add(key_of(new))
            self._ingresses_changed |= self.hosts.needing("Service", key_of(new))
            self._gateways_changed |= bool(self.gateways.classes)
            self._wake.set()

    def _on_secret(self, secret: Object, _old: Object | None = None, _gone: bool = False) -> None:
        key = key_of(secret)
        self._ingresses_changed |= self.hosts.needing("Secret", key)
        self._gateways_changed |= key in self._gateway_secrets
        if key == self._certificate:
            self._put_default_certificate()
        self._wake.set()

    def _on_slice(self, each: Object, old: Object | None = None, _gone: bool = False) -> None:
        for obj in (each, *([old] if old else [])):
            self._services_changed.update(Key(key_of(obj).namespace, name) for name in _service_of(obj))
        self._wake.set()

    def _on_gateways(self, new: Object, old: Object | None = None, gone: bool = False) -> None:
        if old is None or gone or _meant(old) != _meant(new):
            self._gateways_changed = True
            self._wake.set()

    def _on_definition(self, new: Object, old: Object | None = None, gone: bool = False) -> None:
        if new["spec"]["group"] == kinds.GROUP:
            self._on_gateways(new, old, gone)

    def gateway_services(self) -> Sequence[Object]:
        """The Services through which Gateways are reached."""
        return self._services.listed(index="gateway", value="")

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._wake.clear()
            began = time.monotonic()
            rules = bool(self._ingresses_changed or self._gateways_changed)
            try:
                sent = await self.take_over()
            except Rejected as error:
                _LOG.error(logs.fact("nginx keeps what it has", error=error))
                sent = 0
            if sent:
                _SYNC.observe(time.monotonic() - began, "rules" if rules else "endpoints")
            self.ready = True
            if rules:
                self.changed.set()
            await self._wake.wait()

    async def everything(self) -> int:
        """Compute and send all anew, as after a start; how many tables there are."""
        self._start_anew()
        return await self.take_over()

    async def take_over(self) -> int:
        """Compute and send what has changed; how many tables that were."""
        for key in self._services_changed:
            self._wanted.service(key)
        self._services_changed = set()
        if self._ingresses_changed:
            changed, self._ingresses_changed = self._ingresses_changed, set()
            self._put_hosts(self.hosts.change({key: self._ingresses.get(key) for key in changed}))
            self._write_users(each.users for key in changed if (each := self.hosts.read.get(key)))
        if self._gateways_changed and self._gateway_api:
            self._put_gateways()
        self._gateways_changed = False
        ports = (*self._settings.listeners, *self.gateways.opened)
        try:
            await self.nginx.apply(replace(self._settings, listeners=ports, locations=frozenset(self._locations)))
        finally:
            # Also where nginx keeps its settings: what needs others is served as near as those that it has allow.
            sent = await self.nginx.feed(self._wanted.tables, self._wanted.taken())
        self.served = self.gateways
        return sent

    def _put_hosts(self, names: Iterable[str]) -> None:
        for name in names:
            host = self.hosts.hosts.get(name)
            self._wanted.host(INGRESS_SCOPE, name, host)
            pair = host.certificate if host else None
            if name == ANY_HOST and pair is None:
                self._put_default_certificate()
            else:
                self._wanted.certificate(INGRESS_SCOPE, name, pair)
            if pair is not None:
                _EXPIRES.set(certificates.ends(pair).timestamp(), name)
            else:
                _EXPIRES.remove(name)
            self._locations |= host.locations() if host else set()

    def _put_gateways(self) -> None:
        """All of them: a listener that comes can change what any route of its Gateway is."""
        before = self.gateways
        self._gateway_secrets = set()
        self.gateways = gateway_rules.compile_all(self._snapshot())
        named: set[tuple[str, str]] = set()
        for scope, found in self.gateways.scopes.items():
            for name in {*found.hosts, *found.certificates}:
                host = found.hosts.get(name)
                self._wanted.host(scope, name, host)
                self._wanted.certificate(scope, name, found.certificates.get(name))
                self._locations |= host.locations() if host else set()
                named.add((scope, name))
        for scope, name in self._of_gateways - named:
            self._wanted.host(scope, name, None)
            self._wanted.certificate(scope, name, None)
        self._of_gateways = named
        for scope in {*before.tables, *self.gateways.tables}:
            self._wanted.listeners(scope, self.gateways.tables.get(scope))

    def _snapshot(self) -> Snapshot:
        listed = {resource.kind: self._informers.informer(resource).listed() for resource in kinds.ALL}
        namespace = self._informers.informer(namespaces.RESOURCE)
        crds = self._informers.informer(customresourcedefinitions.RESOURCE).listed()
        return Snapshot(
            classes=listed["GatewayClass"],
            gateways=listed["Gateway"],
            http_routes=listed["HTTPRoute"],
            grpc_routes=listed["GRPCRoute"],
            grants=listed["ReferenceGrant"],
            namespace=lambda name: namespace.get(Key("", name)),
            service=self._services.get,
            secret=self._gateway_secret,
            ports=gateway_services.ports_of(self.gateway_services(), map(key_of, listed["Gateway"])),
            versions=frozenset(acceptance.version(each) for each in crds if each["spec"]["group"] == kinds.GROUP),
        )

    def _gateway_secret(self, key: Key) -> Object | None:
        self._gateway_secrets.add(key)
        return self._secrets.get(key)

    def _endpoints(self, ref: BackendRef) -> list[tuple[str, int]]:
        slices = self._slices.listed(namespace=ref.service.namespace, index="service", value=ref.service.name)
        return endpoints.endpoints(ref, self._services.get(ref.service), slices)

    def _put_default_certificate(self) -> None:
        """The one that the flag names, for hosts that have none; one that an Ingress has for all hosts goes before."""
        host = self.hosts.hosts.get(ANY_HOST)
        pair = host.certificate if host else None
        if pair is None and self._certificate is not None:
            try:
                pair = certificates.read(self._secrets.get(self._certificate), str(self._certificate))
            except ValueError as problem:
                _LOG.warning(logs.fact("no default certificate", error=problem))
        self._wanted.certificate(INGRESS_SCOPE, ANY_HOST, pair)

    def _write_users(self, found: Iterable[Users | None]) -> None:
        """Files of users are named by their content: they never change, and the tables say which is meant."""
        for users in found:
            file = Path(users.file) if users else None
            if users and file and not file.exists():
                file.write_text(users.text)
                file.chmod(0o644)  # for nginx's workers; nobody else is in the container


def _meant(obj: Object) -> tuple[Object | None, ...]:
    metadata = obj["metadata"]
    return obj.get("spec"), metadata.get("annotations"), metadata.get("labels")


def _service_of(each: Object) -> list[str]:
    name = (each["metadata"].get("labels") or {}).get(endpoints.SERVICE_NAME)
    return [name] if name else []
