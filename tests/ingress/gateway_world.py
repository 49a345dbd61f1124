"""Objects of the Gateway API in a few words, and what the rules make of them, without nginx and without an API."""

from dataclasses import dataclass, field
from typing import Any

from pynetes.ingress.gateway import status
from pynetes.ingress.gateway.compile import Compiled, compile_all
from pynetes.ingress.gateway.kinds import GROUP
from pynetes.ingress.gateway.services import ports_of
from pynetes.ingress.gateway.snapshot import CONTROLLER, Snapshot
from pynetes.ingress.rules import Rule
from pynetes.machinery.meta import Key, Object, key_of

HTTP: Object = {"name": "http", "port": 80, "protocol": "HTTP"}
NOW = "2026-01-01T00:00:00Z"


def to(*services: str, **more: Any) -> Object:
    """A rule that leads to Services."""
    return {"backendRefs": [{"name": name, "port": 80} for name in services], **more}


def path(kind: str, value: str) -> Object:
    """A match by path."""
    return {"path": {"type": kind, "value": value}}


def header_filter(kind: str = "Request", **change: Any) -> Object:
    """A RequestHeaderModifier or ResponseHeaderModifier."""
    return {"type": f"{kind}HeaderModifier", f"{kind.lower()}HeaderModifier": change}


def mirror(service: str, **share: Any) -> Object:
    """A RequestMirror."""
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": service, "port": 80}, **share}}


def redirect(**change: Any) -> Object:
    """A RequestRedirect."""
    return {"type": "RequestRedirect", "requestRedirect": change}


def rewrite(**change: Any) -> Object:
    """A URLRewrite."""
    return {"type": "URLRewrite", "urlRewrite": change}


@dataclass
class World:
    """What there is; `compiled` is what becomes of it."""

    classes: list[Object] = field(default_factory=list)
    gateways: dict[Key, Object] = field(default_factory=dict)
    routes: dict[tuple[str, Key], Object] = field(default_factory=dict)
    grants: list[Object] = field(default_factory=list)
    namespaces: dict[str, Object] = field(default_factory=dict)
    services: dict[Key, Object] = field(default_factory=dict)
    secrets: dict[Key, Object] = field(default_factory=dict)
    versions: frozenset[str] = frozenset({"v1.6.1"})
    clock: int = 0

    def __post_init__(self) -> None:
        self.add_class("nginx")
        self.gateway(HTTP)
        for name in ("s", "t", "copy"):
            self.service(name)

    def _metadata(self, name: str, namespace: str = "default") -> Object:
        self.clock += 1
        stamp = f"2026-01-01T00:00:{self.clock:02}Z"
        found: Object = {"name": name, "namespace": namespace, "generation": 1, "creationTimestamp": stamp}
        return found

    def add_class(self, name: str, **spec: Any) -> None:
        """A GatewayClass of ours."""
        made = {"kind": "GatewayClass", "metadata": {"name": name}, "spec": {"controllerName": CONTROLLER, **spec}}
        self.classes.append(made)

    def gateway(self, *listeners: Object, name: str = "gw", namespace: str = "default", **spec: Any) -> Key:
        """A Gateway of the class nginx; one of the same name is another generation of it."""
        key = Key(namespace, name)
        made: Object = {"kind": "Gateway", "metadata": self._metadata(name, namespace)}
        made["spec"] = {"gatewayClassName": "nginx", "listeners": list(listeners), **spec}
        if key in self.gateways:
            made["metadata"]["generation"] = self.gateways[key]["metadata"]["generation"] + 1
            made["status"] = self.gateways[key].get("status") or {}
        self.gateways[key] = made
        return key

    def route(
        self,
        name: str,
        *rules: Object,
        hostnames: tuple[str, ...] = (),
        parents: tuple[Object, ...] = ({},),
        kind: str = "HTTPRoute",
        namespace: str = "default",
        metadata: Object | None = None,
    ) -> Object:
        """A route, at the Gateway gw unless a parent says otherwise."""
        spec: Object = {"parentRefs": [{"name": "gw", **parent} for parent in parents], "rules": list(rules)}
        if hostnames:
            spec["hostnames"] = list(hostnames)
        made = {"kind": kind, "metadata": {**self._metadata(name, namespace), **(metadata or {})}, "spec": spec}
        self.routes[kind, key_of(made)] = made
        return made

    def service(self, name: str, *, namespace: str = "default", port: int = 80, **more: Any) -> None:
        """A Service."""
        spec = {"ports": [{"name": "web", "port": port, **more}]}
        self.services[Key(namespace, name)] = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}

    def grant(self, kind: str, target: str, *, namespace: str, name: str = "", source: str = "default") -> None:
        """A ReferenceGrant in a namespace: from a kind in the namespace source to a target."""
        origin = {"group": GROUP, "kind": kind, "namespace": source}
        aim = {"group": "", "kind": target, **({"name": name} if name else {})}
        self.grants.append({"metadata": {"name": "g", "namespace": namespace}, "spec": {"from": [origin], "to": [aim]}})

    @property
    def snapshot(self) -> Snapshot:
        """As the controller would take it."""
        return Snapshot(
            classes=self.classes,
            gateways=list(self.gateways.values()),
            http_routes=[each for (kind, _), each in self.routes.items() if kind == "HTTPRoute"],
            grpc_routes=[each for (kind, _), each in self.routes.items() if kind == "GRPCRoute"],
            grants=self.grants,
            namespace=self.namespaces.get,
            service=self.services.get,
            secret=self.secrets.get,
            ports=ports_of((), self.gateways),
            versions=self.versions,
        )

    @property
    def compiled(self) -> Compiled:
        """The rules and what is told."""
        return compile_all(self.snapshot)

    def tell(self) -> None:
        """Write every status, as the leader does."""
        compiled = self.compiled
        for each in compiled.gateways:
            before = each.gateway.get("status") or {}
            self.gateways[key_of(each.gateway)]["status"] = status.of_gateway(each, None, NOW, before)
        for route in compiled.routes:
            before = route.route.get("status") or {}
            self.routes[route.route["kind"], key_of(route.route)]["status"] = status.of_route(route, NOW, before)

    def gateway_condition(self, kind: str, name: str = "gw") -> tuple[bool, str]:
        """Whether a condition of a Gateway holds, and why."""
        found = next(each for each in self.compiled.gateways if each.gateway["metadata"]["name"] == name)
        return next((each.holds, each.reason) for each in found.conditions if each.type == kind)

    def listener_condition(self, listener: str, kind: str) -> tuple[bool, str]:
        """As `gateway_condition`, of a listener of gw."""
        found = next(each for each in self.compiled.gateways[0].listeners if each.name == listener)
        return next((each.holds, each.reason) for each in found.conditions if each.type == kind)

    def condition(self, name: str, kind: str = "Accepted", *, parent: int = 0) -> tuple[bool, str]:
        """As `gateway_condition`, of a route at its first parent of ours."""
        found = next(each for each in self.compiled.routes if each.route["metadata"]["name"] == name)
        return next((each.holds, each.reason) for each in found.parents[parent][1] if each.type == kind)

    def rules(self, host: str = "*", *, listener: str = "http", port: int = 80) -> list[Rule]:
        """The rules of a host at a listener of gw, in their order."""
        compiled = self.compiled
        scope = f"g{compiled.ports[Key('default', 'gw'), port]}/{listener}"
        found = compiled.scopes[scope].hosts.get(host) if scope in compiled.scopes else None
        return sorted(found.rules, key=lambda rule: rule.precedence) if found else []
