"""RBAC over the watch cache.

A decision must cost microseconds and be right after every change of a role or binding. So bindings are indexed by
subject, a user's rules are gathered once per namespace, and answers are remembered; all of it is dropped as soon as any
object of the four kinds has changed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pynetes.apis.rbac import clusterrolebindings, clusterroles, rolebindings, roles
from pynetes.apiserver.authn.user import SERVICE_ACCOUNT_PREFIX, User
from pynetes.apiserver.authz import rules
from pynetes.apiserver.authz.attributes import Attributes, Decision, Verdict
from pynetes.apiserver.authz.rules import Rule
from pynetes.apiserver.objects import Objects
from pynetes.machinery.field import quote
from pynetes.machinery.meta import Key, Object

WATCHED = (clusterroles.RESOURCE, clusterrolebindings.RESOURCE, roles.RESOURCE, rolebindings.RESOURCE)
#: Answers remembered before starting over; a bound, not a tuning knob.
REMEMBERED = 50_000
#: Characters of a question up to which its answer is remembered: a made-up name may have a megabyte.
LONGEST = 4096


class Grant(NamedTuple):
    """A binding as it concerns one subject."""

    binding: Object
    role: Object
    subject: str


class Held(NamedTuple):
    """A user's rules in one scope. why[i] says where rules[i] comes from; errors are roles that are not there."""

    rules: tuple[tuple[Rule, Grant], ...]
    errors: tuple[str, ...]


@dataclass
class Index:
    """Bindings by namespace ("" for cluster-wide) and subject, valid for one state of the cache."""

    version: tuple[int, ...]
    grants: dict[tuple[str, str, str], list[Grant]] = field(default_factory=dict)
    held: dict[tuple[str, tuple[str, ...], str], Held] = field(default_factory=dict)
    decisions: dict[tuple[str, ...], Decision] = field(default_factory=dict)
    #: What is allowed in every namespace and for every name, which is most of what components do.
    wide: dict[tuple[str, ...], Decision] = field(default_factory=dict)


class RBAC:
    """The authorizer, and the rule resolver that reviews and escalation checks use."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._index = Index(())

    async def authorize(self, attributes: Attributes) -> Decision:
        """Allow with the binding as reason, or no opinion."""
        index, user = self._current(), attributes.user
        what = attributes.verb, attributes.group, attributes.resource, attributes.subresource, attributes.path
        anywhere = (user.name, *user.groups, "\0", *what)
        found = index.wide.get(anywhere)
        if found is None:
            key = (*anywhere, attributes.namespace, attributes.name)
            found = index.decisions.get(key)
            if found is None:
                found, wide = self._decide(attributes)
                known, key = (index.wide, anywhere) if wide else (index.decisions, key)
                if sum(map(len, key)) <= LONGEST:
                    if len(known) >= REMEMBERED:
                        known.clear()
                    known[key] = found
        return found

    def held(self, user: User, namespace: str) -> Held:
        """All rules the user has in the namespace, cluster-wide ones first; "" for the cluster scope."""
        index = self._current()
        key = (user.name, user.groups, namespace)
        found = index.held.get(key)
        if found is None:
            found = self._gather(index, user, namespace)
            if len(namespace) <= LONGEST:
                if len(index.held) >= REMEMBERED:
                    index.held.clear()
                index.held[key] = found
        return found

    def role_rules(self, ref: Object, namespace: str) -> Sequence[Object] | None:
        """The rules behind a roleRef as stored; None when the role is not there."""
        cluster = ref["kind"] == "ClusterRole"
        key = Key("" if cluster else namespace, ref["name"])
        role = self._objects.get(clusterroles.RESOURCE if cluster else roles.RESOURCE, key)
        return None if role is None else role.get("rules") or ()

    def _decide(self, attributes: Attributes) -> tuple[Decision, bool]:
        """The decision, and whether it is the same for every namespace and name: rules of the whole cluster come
        first, but one before that has names might have allowed another name."""
        held, named = self.held(attributes.user, attributes.namespace), False
        for rule, grant in held.rules:
            if _allows(rule, attributes):
                wide = not (named or rule.names or grant.binding["metadata"].get("namespace"))
                return Decision(Verdict.ALLOW, f"RBAC: allowed by {_explain(grant)}"), wide
            named = named or bool(rule.names)
        if not held.errors:
            return Decision(Verdict.NO_OPINION), False
        text = held.errors[0] if len(held.errors) == 1 else f"[{', '.join(held.errors)}]"
        return Decision(Verdict.NO_OPINION, f"RBAC: {text}"), False

    def _gather(self, index: Index, user: User, namespace: str) -> Held:
        # What holds cluster-wide is gathered once and shared by all namespaces.
        wide = self.held(user, "") if namespace else Held((), ())
        found, missing = list(wide.rules), dict.fromkeys(wide.errors)
        for grant in _grants(index, user, namespace):
            stored = self.role_rules(grant.role, namespace)
            if stored is None:
                kind = grant.role["kind"].lower()
                missing[f"{kind}.rbac.authorization.k8s.io {quote(grant.role['name'])} not found"] = None
                continue
            found.extend((rule, grant) for rule in rules.compile_rules(stored))
        return Held(tuple(found), tuple(missing))

    def _current(self) -> Index:
        version = tuple(map(self._objects.changed, WATCHED))
        if version != self._index.version:
            self._index = self._build(version)
        return self._index

    def _build(self, version: tuple[int, ...]) -> Index:
        index = Index(version)
        for resource in (clusterrolebindings.RESOURCE, rolebindings.RESOURCE):
            for binding in self._objects.list(resource):
                namespace = binding["metadata"].get("namespace") or ""
                for kind, name, shown in _subjects(binding, namespace):
                    grant = Grant(binding, binding["roleRef"], shown)
                    index.grants.setdefault((namespace, kind, name), []).append(grant)
        return index


def _subjects(binding: Object, namespace: str) -> Iterator[tuple[str, str, str]]:
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "ServiceAccount":
            home = subject.get("namespace") or namespace
            yield "User", f"{SERVICE_ACCOUNT_PREFIX}{home}:{name}", f"ServiceAccount {quote(f'{name}/{home}')}"
        else:
            yield kind, name, f"{kind} {quote(name)}"


def _grants(index: Index, user: User, scope: str) -> Iterator[Grant]:
    yield from index.grants.get((scope, "User", user.name), ())
    for group in user.groups:
        yield from index.grants.get((scope, "Group", group), ())


def _allows(rule: Rule, attributes: Attributes) -> bool:
    if attributes.path:
        return rules.allows_path(rule, attributes.verb, attributes.path)
    return rules.allows_resource(
        rule, attributes.verb, attributes.group, attributes.resource, attributes.subresource, attributes.name
    )


def _explain(grant: Grant) -> str:
    metadata, role = grant.binding["metadata"], grant.role
    namespace = metadata.get("namespace")
    kind, name = (
        ("RoleBinding", f"{metadata['name']}/{namespace}") if namespace else ("ClusterRoleBinding", metadata["name"])
    )
    return f"{kind} {quote(name)} of {role['kind']} {quote(role['name'])} to {grant.subject}"
