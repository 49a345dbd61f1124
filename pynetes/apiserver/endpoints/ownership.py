"""Who set which field (managedFields), as the verbs ask for it; the rules are machinery.managedfields'."""

from datetime import datetime

from pynetes.apiserver.api import Scope
from pynetes.apiserver.endpoints.options import WriteOptions
from pynetes.apiserver.http import Request
from pynetes.machinery import apply, managedfields, schema
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import Type

#: Built-in kinds whose status is written without any metadata, as that of custom resources.
STATUS_ALONE = frozenset(
    {
        "apiservices",
        "flowschemas",
        "prioritylevelconfigurations",
        "resourceclaims",
        "validatingadmissionpolicies",
        "volumeattachments",
    }
)


def default_manager(request: Request) -> str:
    """The manager of a client that names none: the user agent up to the first slash, as upstream."""
    agent = (request.headers.get("user-agent") or "").partition("/")[0]
    return "".join(char for char in agent if char.isprintable())[:128] or "unknown"


def on_create(scope: Scope, obj: Object, *, manager: str, now: datetime) -> None:
    """A new object belongs to its creator."""
    managedfields.update(None, obj, type_=_type(scope), manager=manager, now=now, reset=_reset(scope))


def on_update(scope: Scope, new: Object, old: Object, *, manager: str, now: datetime, subresource: str = "") -> None:
    """What changed belongs to the writer."""
    subresource = subresource or scope.subresource
    reset = _reset(scope)
    managedfields.update(old, new, type_=_type(scope), manager=manager, now=now, subresource=subresource, reset=reset)


def applied(scope: Scope, old: Object | None, config: Object, *, options: WriteOptions, now: datetime) -> Object:
    """The object with an applied configuration merged in. Raises StatusError 409 on conflicts."""
    result = apply.apply(
        old,
        config,
        type_=_type(scope),
        manager=options.manager,
        now=now,
        force=options.force,
        subresource=scope.subresource,
        reset=_reset(scope),
    )
    return result.obj if result.changed or old is None else old


def _type(scope: Scope) -> Type:
    return schema.of(scope.resource, scope.version).type


def _reset(scope: Scope) -> tuple[tuple[str, ...], ...]:
    """What this endpoint does not write, and so nobody owns through it."""
    if scope.subresource == "status":
        if scope.resource.schema is not None or scope.resource.plural in STATUS_ALONE:
            return (("f:spec",), ("f:metadata",))
        return (("f:spec",), ("f:metadata", "f:labels")) if scope.resource.plural == "deployments" else (("f:spec",),)
    if scope.resource.plural == "certificatesigningrequests" and not scope.subresource:
        return (("f:spec",), ("f:status",))
    if scope.subresource == "approval":
        return (("f:spec",),)
    return (("f:status",),) if "status" in scope.resource.subresources else ()
