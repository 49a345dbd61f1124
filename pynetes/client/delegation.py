"""Lets a server leave authentication and authorization to the API server: TokenReview and SubjectAccessReview.

Kubelets and aggregated API servers ask this way. Answers are kept as upstream keeps them: a token for two minutes, a
permission for five, a refusal for thirty seconds.
"""

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from pynetes.apis.authentication import tokenreviews
from pynetes.apis.authorization import subjectaccessreviews
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

log = logging.getLogger(__name__)

TOKEN_TTL = 120.0
ALLOWED_TTL, DENIED_TTL = 300.0, 30.0
MOST = 1024


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def from_certificate(certificate: dict[str, Any]) -> User | None:
    """The user of a verified client certificate (as ssl shows it): its common name, organizations as groups."""
    pairs = [pair for part in certificate.get("subject") or () for pair in part]
    name = next((value for key, value in pairs if key == "commonName"), "")
    groups = tuple(value for key, value in pairs if key == "organizationName")
    return User(name, (*groups, "system:authenticated")) if name else None


class Delegation:
    """What the API server says, remembered."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._users: dict[str, tuple[float, User | None]] = {}
        self._verdicts: dict[tuple[Any, ...], tuple[float, bool]] = {}

    async def user_of(self, token: str) -> User | None:
        """Whose token it is; None when it is nobody's or cannot be reviewed."""
        digest, now = hashlib.sha256(token.encode()).hexdigest(), self._clock.monotonic()
        kept = self._users.get(digest)
        if kept and kept[0] > now:
            return kept[1]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}}
        try:
            answer = await self._client.create(tokenreviews.RESOURCE, {**review, "spec": {"token": token}})
        except (StatusError, Unreachable) as error:
            log.warning(logs.fact("cannot ask who a request comes from", error=error))
            return None
        status = answer.get("status") or {}
        found = status.get("user") or {}
        user = None
        if status.get("authenticated"):
            user = User(found.get("username", ""), tuple(found.get("groups") or ()), found.get("uid", ""))
        _keep(self._users, digest, (now + TOKEN_TTL, user))
        return user

    async def allows(self, user: User, attributes: Object, *, kind: str = "resourceAttributes") -> bool:
        """Whether the user may do what the attributes (or nonResourceAttributes) say; False if nobody can tell."""
        key, now = (user, kind, *sorted(attributes.items())), self._clock.monotonic()
        kept = self._verdicts.get(key)
        if kept and kept[0] > now:
            return kept[1]
        spec = {"user": user.name, "groups": list(user.groups), "uid": user.uid, kind: attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec}
        try:
            answer = await self._client.create(subjectaccessreviews.RESOURCE, review)
        except (StatusError, Unreachable) as error:
            log.warning(logs.fact("cannot ask whether a request is allowed", error=error))
            return False
        allowed = bool((answer.get("status") or {}).get("allowed"))
        _keep(self._verdicts, key, (now + (ALLOWED_TTL if allowed else DENIED_TTL), allowed))
        return allowed


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= MOST:
        cache.pop(next(iter(cache)))
    cache[key] = value
