"""API errors: each is a Status with code and reason, raised anywhere and written to the wire once, at the edge.

    StatusError
    ├── built by the functions below, one per upstream reason (k8s.io/apimachinery/pkg/api/errors)
    └── received by a client: StatusError(status) from the body of a failed response

Code that handles one asks `error.reason`, never the text.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pynetes.machinery import field
from pynetes.machinery.meta import Object

#: HTTP status → the reason that a Status has with it, unless there is more to say.
REASONS: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class StatusError(Exception):
    """Carries a metav1.Status of status Failure."""

    def __init__(self, status: Object) -> None:
        super().__init__(status.get("message", ""))
        self.status = status

    @property
    def code(self) -> int:
        """The HTTP status code."""
        return int(self.status.get("code") or 500)

    @property
    def reason(self) -> str:
        """Upstream's machine-readable reason: NotFound, AlreadyExists, Conflict, Invalid, …; "" if unknown."""
        return str(self.status.get("reason") or "")

    @property
    def retry_after(self) -> int | None:
        """Seconds after which a retry makes sense, if the server said so."""
        seconds = (self.status.get("details") or {}).get("retryAfterSeconds")
        return int(seconds) if seconds else None


def failure(code: int, reason: str, message: str, **details: Any) -> StatusError:
    """Build the error; details become Status.details (name, group, kind, uid, causes, retryAfterSeconds)."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        status["reason"] = reason
    kept = {name: value for name, value in details.items() if value}
    if kept:
        status["details"] = kept
    status["code"] = code
    return StatusError(status)


def qualified(plural: str, group: str) -> str:
    """The resource as messages name it: deployments.apps, pods."""
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> StatusError:
    """404 for a named object. details.kind is the plural, as upstream has it."""
    message = f'{qualified(plural, group)} "{name}" not found'
    return failure(404, "NotFound", message, name=name, group=group, kind=plural)


def already_exists(plural: str, group: str, name: str) -> StatusError:
    """409 on create."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    return failure(409, "AlreadyExists", message, name=name, group=group, kind=plural)


def conflict(plural: str, group: str, name: str, detail: str = "") -> StatusError:
    """409 on a write against an old resourceVersion or a failed precondition."""
    detail = detail or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {detail}'
    return failure(409, "Conflict", message, name=name, group=group, kind=plural)


def forbidden(plural: str, group: str, name: str, detail: str) -> StatusError:
    """403 with the reason that authorization or admission gave."""
    subject = f'{qualified(plural, group)} "{name}"' if name else qualified(plural, group)
    return failure(403, "Forbidden", f"{subject} is forbidden: {detail}", name=name, group=group, kind=plural)


def invalid(kind: str, group: str, name: str, errors: Sequence[field.Error]) -> StatusError:
    """422 with every cause. details.kind is the Kind, as upstream has it here."""
    # The text names each mistake once, the causes as often as validation has met it.
    texts = list(dict.fromkeys(str(error) for error in errors))
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {listed}'
    return failure(422, "Invalid", message, name=name, group=group, kind=kind, causes=causes(errors))


def causes(errors: Iterable[field.Error]) -> list[Object]:
    """Field errors as Status.details.causes."""
    return [{"reason": error.reason, "message": error.message, "field": error.path} for error in errors]


def bad_request(message: str) -> StatusError:
    """400."""
    return failure(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    """401: no authenticator accepted the credentials."""
    return failure(401, "Unauthorized", message)


def expired(message: str) -> StatusError:
    """410: the revision asked for is compacted."""
    return failure(410, "Expired", message)


def too_many_requests(message: str, retry_after: int = 1) -> StatusError:
    """429: come back after retry_after seconds."""
    return failure(429, "TooManyRequests", message, retryAfterSeconds=retry_after)


def internal(message: str) -> StatusError:
    """500: ours to fix."""
    cause = [{"message": message}]
    return failure(500, "InternalError", f"Internal error occurred: {message}", causes=cause)


def unavailable(message: str) -> StatusError:
    """503: a part of the system is not ready."""
    return failure(503, "ServiceUnavailable", message)
