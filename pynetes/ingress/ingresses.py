"""Ingresses as rules.

Paths of type Exact and Prefix match as the API documents them; ImplementationSpecific is Prefix, or a regular
expression that ignores case where the Ingress has use-regex or rewrite-target. A request whose host has rules but none
for its path falls to wider hosts' rules, then to the default backends, the most specific host's first.

An Ingress that cannot be served as written is left out, whole, and its problem told; the others do not notice. Of two
that claim the same path of the same host, the older one has it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pynetes.ingress import annotations, certificates, grammar, policies
from pynetes.ingress.policies import Invalid, Users
from pynetes.ingress.rules import (
    ANY_HOST,
    EXACT,
    PREFIX,
    REGEX,
    Backend,
    BackendRef,
    Certificate,
    Host,
    Problem,
    Rule,
    Source,
)
from pynetes.machinery.meta import Key, Object

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


@dataclass(frozen=True)
class Cluster:
    """What Ingresses refer to, and what flags say about them."""

    service: Callable[[Key], Object | None]
    secret: Callable[[Key], Object | None]
    #: The IngressClasses' controller that is this one, and the class that the old annotation may name.
    controller: str = "k8s.io/ingress-nginx"
    class_name: str = "nginx"
    without_class: bool = False
    #: Where files of users lie.
    folder: Path = Path("/run/pynetes-ingress")
    default_backend: BackendRef | None = None


def is_ours(ingress: Object, cluster: Cluster, classes: Mapping[str, Object]) -> bool:
    """Whether an Ingress is of a class that this controller serves."""
    named = ingress["spec"].get("ingressClassName")
    if named:
        found = classes.get(named)
        return found is not None and found["spec"].get("controller") == cluster.controller
    old = (ingress["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    return old == cluster.class_name if old else cluster.without_class


class Read:
    """One Ingress on its way to rules. What it says about a host is one thing, `add_to`; hosts meet elsewhere."""

    def __init__(self, ingress: Object, cluster: Cluster) -> None:
        """Reads it; everything that may be wrong with it alone is found here and is one of `problems`."""
        self.ingress, self._cluster = ingress, cluster
        self.source = Source.of(ingress)
        self.said: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.users: Users | None = None
        self.rules: dict[str, list[Rule]] = {}
        self.default: Rule | None = None
        self.secure: set[str] = set()
        self.certificates: dict[str, Certificate] = {}
        self.www: dict[str, str] = {}
        #: The Services and Secrets on which all this depends, by kind.
        self.needs: set[tuple[str, Key]] = set()
        try:
            self._read()
            self.served = True
        except Invalid as problem:
            self.problems = [Problem(ingress, "Rejected", str(problem), left_out=True)]
            self.served = False

    @property
    def canary(self) -> bool:
        """Whether it has no rules of its own, but stands beside those of others."""
        return bool(self.said.get("canary"))

    @property
    def hosts(self) -> set[str]:
        """The hosts about which it says anything."""
        if not self.served:
            return set()
        return set(self.rules) if self.canary else {*self.rules, *self._defaulting, *self.secure, *self.www}

    @property
    def _defaulting(self) -> set[str]:
        return (set(self.rules) or {ANY_HOST}) if self.default is not None else set()

    def _read(self) -> None:
        self.said, wrong, notes = annotations.read(self.ingress)
        self.problems = [Problem(self.ingress, "Ignored", message) for message in notes]
        try:
            self.users = policies.users_of(
                self.ingress, self.said, self._secret, certificates.text_of, self._cluster.folder
            )
            self._policy = policies.policy_of(self.ingress, self.said, self.users)
            for host, rule in self._read_rules():
                self.rules.setdefault(host, []).append(rule)
            backend = self.ingress["spec"].get("defaultBackend")
            if backend and self._is_served(backend, "defaultBackend"):
                self.default = self._rule(PREFIX, "/", self._backend(backend))
            if self.default is None and "default-backend" in self.said:
                self.default = self._rule(PREFIX, "/", self._fallback())
        except ValueError as problem:
            wrong.append(str(problem))
        if wrong:
            raise Invalid("; ".join(wrong))
        self._read_tls()
        if self.said.get("from-to-www-redirect"):
            self.www = dict(_www(self.rules))

    def _secret(self, key: Key) -> Object | None:
        self.needs.add(("Secret", key))
        return self._cluster.secret(key)

    def _service(self, key: Key) -> Object | None:
        self.needs.add(("Service", key))
        return self._cluster.service(key)

    def _fallback(self) -> BackendRef:
        key = Key(self.source.namespace, self.said["default-backend"])
        service = self._service(key)
        ports = service["spec"].get("ports") if service else None
        if not ports:
            raise Invalid(f"annotation default-backend: there is no Service {key} with ports")
        return BackendRef(key, str(ports[0]["port"]))

    def _read_rules(self) -> Iterator[tuple[str, Rule]]:
        for rule in self.ingress["spec"].get("rules") or ():
            host = (rule.get("host") or ANY_HOST).lower()
            for path in (rule.get("http") or {}).get("paths") or ():
                kind, text = self._kind(path)
                if not self._is_served(path["backend"], f"path {text[:100]} of host {host}"):
                    continue
                made = self._rule(kind, text, self._backend(path["backend"]))
                if kind == REGEX:
                    # As nginx's own ~* locations: from the path's beginning, whatever the case.
                    made.policy = {**made.policy, "pattern": f"(?i)^{text}"}
                for each in (host, *(self.said.get("server-alias") or ())):
                    yield each, dataclasses.replace(made)

    def _is_served(self, backend: Object, place: str) -> bool:
        """Whether it is a Service; what else there may be is passed over as by ingress-nginx, but told."""
        wanted = backend.get("resource")
        if wanted:
            named = f"{wanted['kind']} {wanted['name']}"
            message = f"{place}: the resource backend {named} is not supported, other rules and default backends answer"
            self.problems.append(Problem(self.ingress, "Ignored", message))
        return not wanted

    def _kind(self, path: Object) -> tuple[str, str]:
        text, kind = path.get("path") or "/", path.get("pathType")
        if kind == "Exact":
            return EXACT, text
        if kind == "ImplementationSpecific" and (self.said.get("use-regex") or "rewrite-target" in self.said):
            try:
                return REGEX, grammar.expression(text)
            except ValueError as problem:
                raise Invalid(f"path {text[:100]!r} {problem}") from None
        return PREFIX, text

    def _backend(self, backend: Object) -> BackendRef:
        service = backend["service"]
        port = service.get("port") or {}
        key = Key(self.source.namespace, service["name"])
        found = self._service(key)
        if found and found["spec"].get("type") == "ExternalName":
            raise Invalid(f"the Service {key} is an ExternalName, which is not supported")
        wanted = str(port.get("name") or port.get("number") or "")
        return BackendRef(key, wanted, direct=bool(self.said.get("service-upstream")))

    def _rule(self, kind: str, path: str, ref: BackendRef) -> Rule:
        return Rule(self.source, kind, path, self._policy, policies.location_of(self.said), (Backend(ref),))

    def _read_tls(self) -> None:
        for tls in self.ingress["spec"].get("tls") or ():
            named = [host.lower() for host in tls.get("hosts") or sorted(self.rules) or [ANY_HOST]]
            self.secure.update(named)
            if not tls.get("secretName"):
                continue
            key = Key(self.source.namespace, tls["secretName"])
            try:
                pair = certificates.read(self._secret(key), str(key))
            except ValueError as problem:
                message = f"{problem}; clients see the default certificate"
                self.problems.append(Problem(self.ingress, "BadCertificate", message))
                continue
            for host in named:
                self.certificates.setdefault(host, pair)

    def add_to(self, name: str, host: Host) -> list[Problem]:
        """Its rules, certificate and default backend for a host; what cannot be for what is there already."""
        problems = []
        for rule in self.rules.get(name, ()):
            twin = host.claims.get((rule.kind, rule.path))
            if twin is None:
                # The host's own: canaries that join it here must not stay when the host is put together again.
                own = dataclasses.replace(rule, canaries=[*rule.canaries], other_refs=[*rule.other_refs])
                host.claims[rule.kind, rule.path] = own
                host.rules.append(own)
            elif twin.source != self.source:
                what = f"path {rule.path} of host {name} is served for the older Ingress {twin.source.key}"
                problems.append(Problem(self.ingress, "DuplicatePath", what))
        if name in self._defaulting:
            host.default = host.default or self.default
        host.tls = host.tls or name in self.secure
        host.certificate = host.certificate or self.certificates.get(name)
        return problems

    def join_www(self, name: str, host: Host) -> None:
        """The host with www. in front leads to the one without, or the other way round, unless it has rules."""
        if name in self.www and not host.rules:
            to_host = {"redirect": {"code": 308, "host": self.www[name]}}
            host.rules.append(Rule(self.source, PREFIX, "/", to_host))

    def stand_beside(self, name: str, host: Host) -> None:
        """A canary's backends, beside the rules of the same paths."""
        for rule in self.rules.get(name, ()):
            main = host.claims.get((rule.kind, rule.path))
            if main is not None and main.source.namespace == self.source.namespace:
                main.canaries.append(policies.canary_of(self.said, [each.laid_out() for each in rule.backends]))
                main.other_refs += rule.refs()


def _www(hosts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """A host's twin, and the host that it leads to."""
    for host in hosts:
        if not host.startswith("*"):
            yield (host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"), host
