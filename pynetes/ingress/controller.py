"""Keeps nginx's tables what the API objects say.

Changes of endpoints alone take the short way: only the tables of the Services concerned are computed and sent. Any
other change computes all rules anew from the caches, and the difference of the tables is sent. Changes that arrive
while one is under way are taken together by the next.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pynetes.apis.core import namespaces, secrets, services
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import ingressclasses, ingresses
from pynetes.client.informer import InformerFactory
from pynetes.component import logs
from pynetes.component.metrics import REGISTRY
from pynetes.ingress import certificates, endpoints, table
from pynetes.ingress.gateway import compile as gateway_rules
from pynetes.ingress.gateway import kinds
from pynetes.ingress.gateway.snapshot import Snapshot
from pynetes.ingress.gateway.status import ports_of
from pynetes.ingress.ingresses import Cluster, Compiled, compile_all
from pynetes.ingress.nginx.configuration import INGRESS_SCOPE, Location, Settings
from pynetes.ingress.nginx.server import Nginx, Rejected
from pynetes.ingress.rules import ANY_HOST, BackendRef, Scope
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
    """`run` works until cancelled; `compiled` is what nginx serves."""

    def __init__(
        self, informers: InformerFactory, nginx: Nginx, settings: Settings, cluster: Cluster, *, certificate: Key | None
    ) -> None:
        self._informers, self.nginx, self._settings = informers, nginx, settings
        self._ingresses = informers.informer(ingresses.RESOURCE)
        self._classes = informers.informer(ingressclasses.RESOURCE)
        self._services = informers.informer(services.RESOURCE)
        self._slices = informers.informer(endpointslices.RESOURCE)
        self._secrets = informers.informer(secrets.RESOURCE)
        self._slices.index({"service": _service_of})
        self._certificate = certificate
        self._cluster = replace(cluster, ingresses=(), classes=(), service=self._services.get, secret=self._used_secret)
        self._wake = asyncio.Event()
        self._everything = True
        self._touched: set[Key] = set()
        self._secrets_used: set[Key] = set()
        self._refs: dict[Key, set[BackendRef]] = {}
        #: Locations that were ever needed stay, so that a policy that comes and goes does not reload nginx twice.
        self._locations: set[Location] = set(settings.locations)
        self.compiled = Compiled()
        self.gateways = gateway_rules.Compiled()
        self._gateway_api = False
        #: Set after every change that was taken over; whoever waits clears it.
        self.changed = asyncio.Event()
        self.ready = False

    def follow(self) -> None:
        """Let informers wake it."""
        for informer in (self._ingresses, self._classes, self._services):
            informer.handle(self._on_rules)
        self._slices.handle(self._on_slice)
        self._secrets.handle(self._on_secret)

    def follow_gateways(self) -> None:
        """Serve the Gateway API as well, from when its resources are there."""
        self._gateway_api = True
        for resource in (*kinds.ALL, namespaces.RESOURCE):
            self._informers.informer(resource).handle(self._on_rules)

    def _on_rules(self, new: Object, old: Object | None = None, gone: bool = False) -> None:
        # Status, which is mostly written by this controller itself, changes no rule.
        if old is None or gone or _meant(old) != _meant(new):
            self._everything = True
            self._wake.set()

    def _on_secret(self, secret: Object, _old: Object | None = None, _gone: bool = False) -> None:
        if key_of(secret) in self._secrets_used:
            self._everything = True
            self._wake.set()

    def _on_slice(self, each: Object, old: Object | None = None, _gone: bool = False) -> None:
        for obj in (each, *([old] if old else [])):
            self._touched.update(Key(key_of(obj).namespace, name) for name in _service_of(obj))
        self._wake.set()

    def _used_secret(self, key: Key) -> Object | None:
        self._secrets_used.add(key)
        return self._secrets.get(key)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._wake.clear()
            began = time.monotonic()
            everything, touched = self._everything, self._touched
            self._everything, self._touched = False, set()
            try:
                changed = await (self.everything() if everything else self.endpoints(touched))
            except Rejected as error:
                _LOG.error(logs.fact("nginx keeps what it has", error=error))
                changed = 0
            if changed:
                _SYNC.observe(time.monotonic() - began, "everything" if everything else "endpoints")
            self.ready = True
            if everything:
                self.changed.set()
            await self._wake.wait()

    async def endpoints(self, touched: Iterable[Key]) -> int:
        """Send the endpoints of some Services; how many tables changed."""
        refs = {ref for key in touched for ref in self._refs.get(key, ())}
        return await self.nginx.feed(dict(self._endpoints(refs)), keep=True) if refs else 0

    async def everything(self) -> int:
        """Send all that differs; how many tables changed."""
        self._secrets_used.clear()
        cluster = replace(self._cluster, ingresses=self._ingresses.listed(), classes=self._classes.listed())
        self.compiled = compile_all(cluster)
        self._default_certificate(self.compiled.scope)
        self._write_users(self.compiled.users)
        if self._gateway_api:
            self.gateways = gateway_rules.compile_all(self._snapshot())
        scopes = {INGRESS_SCOPE: self.compiled.scope, **self.gateways.scopes}
        refs = {ref for scope in scopes.values() for ref in scope.refs()}
        self._refs = {}
        for ref in refs:
            self._refs.setdefault(ref.service, set()).add(ref)
        await self.nginx.apply(self._wanted(scopes.values()))
        tables = dict(self._endpoints(refs))
        for name, scope in scopes.items():
            tables.update(table.of_scope(name, scope))
        tables.update(table.of_listeners(name, found) for name, found in self.gateways.tables.items())
        for host, pair in self.compiled.scope.certificates.items():
            _EXPIRES.set(certificates.ends(pair).timestamp(), host)
        return await self.nginx.feed(tables)

    def _wanted(self, scopes: Iterable[Scope]) -> Settings:
        for scope in scopes:
            for host in scope.hosts.values():
                self._locations.update(rule.location for rule in host.rules)
                if host.default is not None:
                    self._locations.add(host.default.location)
        ports = (*self._settings.listeners, *self.gateways.opened)
        return replace(self._settings, listeners=ports, locations=frozenset(self._locations))

    def _snapshot(self) -> Snapshot:
        listed = {resource.kind: self._informers.informer(resource).listed() for resource in kinds.ALL}
        namespace = self._informers.informer(namespaces.RESOURCE)
        return Snapshot(
            classes=listed["GatewayClass"],
            gateways=listed["Gateway"],
            http_routes=listed["HTTPRoute"],
            grpc_routes=listed["GRPCRoute"],
            grants=listed["ReferenceGrant"],
            namespace=lambda name: namespace.get(Key("", name)),
            service=self._services.get,
            secret=self._used_secret,
            ports=ports_of(self._services.listed()),
        )

    def _endpoints(self, refs: Iterable[BackendRef]) -> Iterable[tuple[str, bytes]]:
        for ref in refs:
            slices = self._slices.listed(namespace=ref.service.namespace, index="service", value=ref.service.name)
            found = endpoints.endpoints(ref, self._services.get(ref.service), slices)
            yield table.of_endpoints(ref.text, found)

    def _default_certificate(self, scope: Scope) -> None:
        """The one that the flag names, for hosts that have none."""
        if self._certificate is None:
            return
        try:
            pair = certificates.read(self._used_secret(self._certificate), str(self._certificate))
        except ValueError as problem:
            _LOG.warning(logs.fact("no default certificate", error=problem))
            return
        scope.certificates.setdefault(ANY_HOST, pair)

    def _write_users(self, users: dict[str, str]) -> None:
        """Files of users are named by their content: they never change, and the tables say which is meant."""
        for name, text in users.items():
            file = Path(name)
            if not file.exists():
                file.write_text(text)
                file.chmod(0o644)  # for nginx's workers; nobody else is in the container


def _meant(obj: Object) -> tuple[Object | None, ...]:
    metadata = obj["metadata"]
    return obj.get("spec"), metadata.get("annotations"), metadata.get("labels")


def _service_of(each: Object) -> list[str]:
    name = (each["metadata"].get("labels") or {}).get(endpoints.SERVICE_NAME)
    return [name] if name else []
