"""Tokens reviewed by a server outside, as --authentication-token-webhook-config-file says.

A review is POSTed to the server of a kubeconfig, and its answer remembered for a while. No answer is no: a token is
then nobody's. Access is asked about in the same way, see authz/webhook.py.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import orjson

from pynetes.apiserver.authn.tokens import InvalidToken, TokenUser
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.remote import sender
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.meta import Object

#: Answers remembered, and the longest token that is sent on.
REMEMBERED, LONGEST = 4096, 64 << 10
#: POSTs a review and returns the answer's object. Raises OSError or ValueError.
Post = Callable[[Object], Awaitable[Object]]
T = TypeVar("T")
_LOOKED = REGISTRY.counter(
    "authentication_token_cache_request_total", "Tokens that were looked for among remembered reviews.", "status"
)
_LOOK_SECONDS = REGISTRY.histogram(
    "authentication_token_cache_request_duration_seconds", "Seconds until a token's review was there.", "status"
)
_ASKED = REGISTRY.counter("authentication_token_cache_fetch_total", "Reviews that were asked for.", "status")
_ASKING = REGISTRY.gauge(
    "authentication_token_cache_active_fetch_count", "Reviews that are being waited for.", "status"
)


class Memory(Generic[T]):
    """Answers until their time is over; the oldest go first when there are too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def get(self, key: bytes) -> T | None:
        """The answer, if it still counts."""
        found = self._found.get(key)
        return found[1] if found is not None and self._clock.monotonic() < found[0] else None

    def put(self, key: bytes, answer: T, seconds: float) -> T:
        """Remember it for so long."""
        if seconds > 0:
            self._found.pop(key, None)
            self._found[key] = (self._clock.monotonic() + seconds, answer)
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
        return answer


class TokenWebhook:
    """Asks TokenReview. What is remembered is a keyed hash: a dump of this process's memory shows no token by it."""

    def __init__(self, post: Post, clock: Clock, *, seconds: float) -> None:
        """seconds: how long an answer, yes or no, is remembered."""
        self._post, self._seconds = post, seconds
        self._memory: Memory[Object] = Memory(clock)
        self._salt = os.urandom(32)

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> TokenUser | None:
        """None when the webhook does not know the token. Raises InvalidToken when it says why, or does not answer."""
        if len(token) > LONGEST:
            return None
        key = hashlib.blake2b("\0".join((token, *audiences)).encode(), key=self._salt).digest()
        status = self._memory.get(key)
        found = "miss" if status is None else "hit"
        _LOOKED.inc(found)
        with _LOOK_SECONDS.timing(found):
            if status is None:
                status = await self._ask(key, token, audiences)
        if not status.get("authenticated"):
            if status.get("error"):
                raise InvalidToken("the token webhook refuses the token")
            return None
        granted = tuple(audience for audience in status.get("audiences") or () if audience in audiences)
        if status.get("audiences") and not granted:
            raise InvalidToken("the token is for other audiences")
        return TokenUser(_user(status.get("user") or {}), granted, "token webhook")

    async def _ask(self, key: bytes, token: str, audiences: tuple[str, ...]) -> Object:
        review: Object = {
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "spec": {"token": token, "audiences": list(audiences)},
        }
        _ASKING.add(1, "in_flight")
        try:
            status = dict((await self._post(review)).get("status") or {})
        except (OSError, ValueError) as error:
            # Not remembered: the next request asks again.
            _ASKED.inc("error")
            raise InvalidToken(f"the token webhook does not answer: {type(error).__name__}") from None
        finally:
            _ASKING.add(-1, "in_flight")
        _ASKED.inc("ok")
        return self._memory.put(key, status, self._seconds)


def _user(info: Object) -> User:
    name = info.get("username")
    if not isinstance(name, str) or not name:
        raise InvalidToken("the token webhook names nobody")
    extra = {str(key).lower(): tuple(map(str, values)) for key, values in (info.get("extra") or {}).items()}
    return User(name, uid=str(info.get("uid") or ""), groups=tuple(map(str, info.get("groups") or ())), extra=extra)


def poster(path: str) -> Post:
    """Reviews go to the server of this kubeconfig, over TLS only. Raises ValueError, KubeconfigError."""
    send = sender(path)

    async def post(review: Object) -> Object:
        found: Any = orjson.loads(await send(orjson.dumps(review)))
        if not isinstance(found, dict) or found.get("kind") != review["kind"]:
            raise ValueError("the webhook's answer is no review")
        return found

    return post
