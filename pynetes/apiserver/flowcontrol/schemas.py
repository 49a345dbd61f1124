"""FlowSchemas: from a request to its flow, the schema and whatever tells one client's requests from another's."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pynetes.apiserver.authn.user import User, service_account
from pynetes.apiserver.requestinfo import RequestInfo
from pynetes.machinery.meta import Object


class Flow(NamedTuple):
    """Requests that share a queue."""

    schema: str
    level: str
    distinguisher: str
    #: What the distinguisher is: ByUser, ByNamespace or nothing.
    method: str = ""
    #: Of every answer to such a request.
    headers: tuple[tuple[str, str], ...] = ()


class Schemas:
    """All schemas, in the order in which they are tried."""

    def __init__(self, schemas: Iterable[Object]) -> None:
        self._schemas = sorted(schemas, key=lambda one: (one["spec"]["matchingPrecedence"], one["metadata"]["name"]))

        #: The namespaces that rules tell from others.
        self._namespaces = frozenset(
            namespace
            for schema in self._schemas
            for rule in schema["spec"].get("rules") or ()
            for one in rule.get("resourceRules") or ()
            for namespace in one.get("namespaces") or ()
        )

    def classify(self, user: User, info: RequestInfo) -> Flow | None:
        """The first schema that matches; None if none does."""
        for schema in self._schemas:
            spec = schema["spec"]
            if any(_rule(rule, user, info) for rule in spec.get("rules") or ()):
                method = (spec.get("distinguisherMethod") or {}).get("type") or ""
                what = {"ByUser": user.name, "ByNamespace": info.namespace}.get(method, "")
                return Flow(schema["metadata"]["name"], spec["priorityLevelConfiguration"]["name"], what, method)
        return None

    def alike(self, namespace: str) -> str:
        """The same for namespaces that no rule tells from one another."""
        return namespace if not namespace or namespace in self._namespaces else "*"


def _rule(rule: Object, user: User, info: RequestInfo) -> bool:
    if not any(_subject(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if info.is_resource_request:
        return any(_resource(one, info) for one in rule.get("resourceRules") or ())
    return any(_path(one, info) for one in rule.get("nonResourceRules") or ())


def _subject(subject: Object, user: User) -> bool:
    kind = subject["kind"]
    if kind == "User":
        return subject["user"]["name"] in ("*", user.name)
    if kind == "Group":
        return subject["group"]["name"] == "*" or subject["group"]["name"] in user.groups
    account = service_account(user)
    wanted = subject.get("serviceAccount") or {}
    return account is not None and account[0] == wanted.get("namespace") and wanted.get("name") in ("*", account[1])


def _has(listed: Sequence[str] | None, value: str) -> bool:
    return listed is not None and ("*" in listed or value in listed)


def _resource(rule: Object, info: RequestInfo) -> bool:
    full = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    if not (_has(rule.get("verbs"), info.verb) and _has(rule.get("apiGroups"), info.api_group)):
        return False
    if not _has(rule.get("resources"), full):
        return False
    return _has(rule.get("namespaces"), info.namespace) if info.namespace else bool(rule.get("clusterScope"))


def _path(rule: Object, info: RequestInfo) -> bool:
    if not _has(rule.get("verbs"), info.verb):
        return False
    urls = rule.get("nonResourceURLs") or ()
    return any(url in ("*", info.path) or (url.endswith("*") and info.path.startswith(url[:-1])) for url in urls)
