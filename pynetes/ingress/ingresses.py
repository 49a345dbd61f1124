"""Ingresses as rules.

Paths of type Exact and Prefix match as the API documents them; ImplementationSpecific is Prefix, or a regular
expression that ignores case where the Ingress has use-regex or rewrite-target. A request whose host has rules but none
for its path falls to wider hosts' rules, then to the default backends, the most specific host's first.

An Ingress that cannot be served as written is left out, whole, and its problem told; the others do not notice. Of two
that claim the same path of the same host, the older one has it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
    Problem,
    Rule,
    Scope,
    Source,
)
from pynetes.machinery.meta import Key, Object

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


@dataclass(frozen=True)
class Cluster:
    """What rules are computed from."""

    ingresses: Iterable[Object]
    classes: Iterable[Object]
    service: Callable[[Key], Object | None]
    secret: Callable[[Key], Object | None]
    #: The IngressClasses' controller that is this one, and the class that the old annotation may name.
    controller: str = "k8s.io/ingress-nginx"
    class_name: str = "nginx"
    without_class: bool = False
    #: Where files of users lie.
    folder: Path = Path("/run/pynetes-ingress")
    default_backend: BackendRef | None = None


@dataclass
class Compiled:
    """What they come to."""

    scope: Scope = field(default_factory=Scope)
    problems: list[Problem] = field(default_factory=list)
    users: dict[str, str] = field(default_factory=dict)
    #: Those that are ours, served or not; status is written to the served ones.
    served: list[Object] = field(default_factory=list)


def is_ours(ingress: Object, cluster: Cluster, classes: Mapping[str, Object]) -> bool:
    """Whether an Ingress is of a class that this controller serves."""
    named = ingress["spec"].get("ingressClassName")
    if named:
        found = classes.get(named)
        return found is not None and found["spec"].get("controller") == cluster.controller
    old = (ingress["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    return old == cluster.class_name if old else cluster.without_class


def compile_all(cluster: Cluster) -> Compiled:
    """All rules, oldest Ingress first."""
    compiled = Compiled()
    classes = {each["metadata"]["name"]: each for each in cluster.classes}
    ours = [each for each in cluster.ingresses if is_ours(each, cluster, classes)]
    canaries: list[_One] = []
    for ingress in sorted(ours, key=Source.of):
        one = _One(ingress, cluster)
        try:
            one.read()
        except Invalid as problem:
            compiled.problems.append(Problem(ingress, "Rejected", str(problem), left_out=True))
            continue
        compiled.problems += [Problem(ingress, "Ignored", message) for message in one.notes]
        compiled.served.append(ingress)
        if one.users:
            compiled.users[one.users.file] = one.users.text
        if one.said.get("canary"):
            canaries.append(one)
        else:
            one.add_to(compiled)
    for one in canaries:
        one.stand_beside(compiled)
    _default_backend(cluster, compiled)
    return compiled


def _default_backend(cluster: Cluster, compiled: Compiled) -> None:
    """What the controller's own flag names serves whatever nothing else does."""
    anything = compiled.scope.host(ANY_HOST)
    if anything.default is None and cluster.default_backend is not None:
        source = Source("", "", "", "")
        policy = policies.policy_of({"metadata": {"name": ""}}, {}, None)
        anything.default = Rule(source, PREFIX, "/", policy, backends=(Backend(cluster.default_backend),))


class _One:
    """One Ingress on its way to rules."""

    def __init__(self, ingress: Object, cluster: Cluster) -> None:
        self.ingress, self._cluster = ingress, cluster
        self.source = Source.of(ingress)
        self.said: dict[str, Any] = {}
        self.notes: list[str] = []
        self.users: Users | None = None
        self.rules: list[tuple[str, Rule]] = []
        self.default: Rule | None = None

    def read(self) -> None:
        """Everything that may be wrong with it is found here. Raises Invalid."""
        self.said, wrong, self.notes = annotations.read(self.ingress)
        try:
            self.users = policies.users_of(
                self.ingress, self.said, self._cluster.secret, certificates.text_of, self._cluster.folder
            )
            self._policy = policies.policy_of(self.ingress, self.said, self.users)
            self.rules = list(self._read_rules())
            backend = self.ingress["spec"].get("defaultBackend")
            self.default = self._rule(PREFIX, "/", self._backend(backend)) if backend else None
            if self.default is None and "default-backend" in self.said:
                self.default = self._rule(PREFIX, "/", self._fallback())
        except ValueError as problem:
            wrong.append(str(problem))
        if wrong:
            raise Invalid("; ".join(wrong))

    def _fallback(self) -> BackendRef:
        key = Key(self.source.namespace, self.said["default-backend"])
        service = self._cluster.service(key)
        ports = service["spec"].get("ports") if service else None
        if not ports:
            raise Invalid(f"annotation default-backend: there is no Service {key} with ports")
        return BackendRef(key, str(ports[0]["port"]))

    def _read_rules(self) -> Iterator[tuple[str, Rule]]:
        for rule in self.ingress["spec"].get("rules") or ():
            host = (rule.get("host") or ANY_HOST).lower()
            for path in (rule.get("http") or {}).get("paths") or ():
                kind, text = self._kind(path)
                made = self._rule(kind, text, self._backend(path["backend"]))
                if kind == REGEX:
                    # As nginx's own ~* locations: from the path's beginning, whatever the case.
                    made.policy = {**made.policy, "pattern": f"(?i)^{text}"}
                for each in (host, *(self.said.get("server-alias") or ())):
                    yield each, dataclasses.replace(made)

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
        service = backend.get("service")
        if not service:
            raise Invalid("a resource backend is not supported, only Services are")
        port = service.get("port") or {}
        key = Key(self.source.namespace, service["name"])
        found = self._cluster.service(key)
        if found and found["spec"].get("type") == "ExternalName":
            raise Invalid(f"the Service {key} is an ExternalName, which is not supported")
        wanted = str(port.get("name") or port.get("number") or "")
        return BackendRef(key, wanted, direct=bool(self.said.get("service-upstream")))

    def _rule(self, kind: str, path: str, ref: BackendRef) -> Rule:
        return Rule(self.source, kind, path, self._policy, policies.location_of(self.said), (Backend(ref),))

    def add_to(self, compiled: Compiled) -> None:
        """Its rules, certificates and default backend."""
        for host, rule in self.rules:
            entry = compiled.scope.host(host)
            twin = entry.claims.setdefault((rule.kind, rule.path), rule)
            if twin is rule:
                entry.rules.append(rule)
            elif twin.source != self.source:
                what = f"path {rule.path} of host {host} is served for the older Ingress {twin.source.key}"
                compiled.problems.append(Problem(self.ingress, "DuplicatePath", what))
        hosts = {host for host, _ in self.rules} or {ANY_HOST}
        if self.default is not None:
            for host in hosts:
                entry = compiled.scope.host(host)
                entry.default = entry.default or self.default
        self._secure(compiled, hosts)
        if self.said.get("from-to-www-redirect"):
            self._join_www(compiled, hosts)

    def _secure(self, compiled: Compiled, hosts: set[str]) -> None:
        for tls in self.ingress["spec"].get("tls") or ():
            named = [host.lower() for host in tls.get("hosts") or sorted(hosts)]
            for host in named:
                compiled.scope.host(host).tls = True
            if not tls.get("secretName"):
                continue
            key = Key(self.source.namespace, tls["secretName"])
            try:
                pair = certificates.read(self._cluster.secret(key), str(key))
            except ValueError as problem:
                message = f"{problem}; clients see the default certificate"
                compiled.problems.append(Problem(self.ingress, "BadCertificate", message))
                continue
            for host in named:
                compiled.scope.certificates.setdefault(host, pair)

    def _join_www(self, compiled: Compiled, hosts: set[str]) -> None:
        """The host with www. in front leads to the one without, or the other way round."""
        for host in hosts - {ANY_HOST}:
            other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
            if host.startswith("*") or (other in compiled.scope.hosts and compiled.scope.hosts[other].rules):
                continue
            to_host = {"redirect": {"code": 308, "host": host}}
            compiled.scope.host(other).rules.append(Rule(self.source, PREFIX, "/", to_host))

    def stand_beside(self, compiled: Compiled) -> None:
        """A canary's backends, beside the rules of the same hosts and paths."""
        for host, rule in self.rules:
            known = compiled.scope.hosts.get(host)
            main = known.claims.get((rule.kind, rule.path)) if known else None
            if main is not None and main.source.namespace == self.source.namespace:
                main.canaries.append(policies.canary_of(self.said, [each.laid_out() for each in rule.backends]))
                main.other_refs += rule.refs()
