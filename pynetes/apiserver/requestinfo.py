"""What a request asks for, read from its method and path alone: verb, group, version, resource, name, subresource.

    /api/v1/namespaces/NS/pods/NAME/log     get pods/log          /apis/apps/v1/deployments        list or watch
    /api/v1/namespaces/NAME/status          get namespaces/status /api/v1/watch/pods               watch (old form)
    /version                                not a resource: verb is the method in lower case

Filters decide by it (authorization above all), so it must mean to them exactly what the endpoints will do.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qs

VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: Characters of path and query up to which what was read is remembered.
REMEMBERED = 2048
#: Subresources of a Namespace itself; anything else under /namespaces/NS/ is a resource in that namespace.
NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """Immutable and shared between equal requests. For a list or watch of one name (field selector), `name` is set."""

    is_resource_request: bool = False
    verb: str = ""
    path: str = ""
    api_group: str = ""
    api_version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    #: What follows the subresource: the path behind .../proxy/.
    rest: str = ""
    #: Whether the name stands in the path (and not only in a field selector).
    named: bool = False


def parse(method: str, path: str, query: str = "") -> RequestInfo:
    """Read a request line; query is the undecoded query string."""
    # A line may have a megabyte: nobody who is not even known yet has thousands of them remembered.
    return (_remembered if len(path) + len(query) <= REMEMBERED else _parsed)(method, path, query)


def _parsed(method: str, path: str, query: str) -> RequestInfo:
    verb = VERBS.get(method, method.lower())
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(path=path, verb=method.lower())
    if rest[0] == "watch" and len(rest) > 1 and verb == "get":
        verb, rest = "watch", rest[1:]
    return _resource(verb, path, group, version, rest, query)


_remembered = lru_cache(maxsize=4096)(_parsed)


def _resource(verb: str, path: str, group: str, version: str, rest: list[str], query: str) -> RequestInfo:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    named = bool(name)
    fields = labels = ""
    if not name and verb in ("get", "delete", "watch"):
        asked = parse_qs(query, keep_blank_values=True) if query else {}
        fields, labels = (asked.get(what, [""])[0] for what in ("fieldSelector", "labelSelector"))
        name = _single_name(fields)
        if verb == "get":
            verb = "watch" if asked.get("watch", ["false"])[0].lower() not in ("false", "0") else "list"
        elif verb == "delete":
            verb = "deletecollection"
    return RequestInfo(
        is_resource_request=True,
        verb=verb,
        path=path,
        api_group=group,
        api_version=version,
        resource=rest[0],
        subresource=rest[2] if len(rest) > 2 else "",
        namespace=namespace,
        name=name,
        field_selector=fields,
        label_selector=labels,
        rest="/".join(rest[3:]),
        named=named,
    )


def _single_name(field_selector: str) -> str:
    """The name that a field selector requires: metadata.name=NAME."""
    for term in field_selector.split(","):
        field, operator, value = term.partition("=")
        if operator and field == "metadata.name":
            return value.removeprefix("=")
    return ""
