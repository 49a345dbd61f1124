"""Bootstrap tokens: ID.SECRET, kept as Secrets in kube-system, with which a new node asks for its certificate."""

import base64
import binascii
import hmac
import re
from datetime import datetime

from pynetes.apis.core import secrets
from pynetes.apiserver.authn.tokens import InvalidToken, TokenUser
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.objects import Objects
from pynetes.component.clock import Clock
from pynetes.machinery.meta import Key, Object

TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
BOOTSTRAPPERS = "system:bootstrappers"


class BootstrapTokens:
    """Looks the token's Secret up in the cache; deleting the Secret ends the token."""

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> TokenUser | None:
        """None unless the token has the form of a bootstrap token and its Secret exists."""
        match = TOKEN.fullmatch(token)
        if match is None:
            return None
        name = f"bootstrap-token-{match[1]}"
        secret = self._objects.get(secrets.RESOURCE, Key("kube-system", name))
        if secret is None or secret.get("type") != "bootstrap.kubernetes.io/token":
            return None
        return TokenUser(_user(secret, match[1], match[2], self._clock.now()), issuer=f"secret kube-system/{name}")


def _user(secret: Object, token_id: str, token_secret: str, now: datetime) -> User:
    if secret["metadata"].get("deletionTimestamp"):
        raise InvalidToken("the bootstrap token is being deleted")
    data = {name: _decode(value) for name, value in (secret.get("data") or {}).items()}
    same = hmac.compare_digest(data.get("token-secret", "").encode(), token_secret.encode())
    if data.get("token-id") != token_id or not same:
        raise InvalidToken("the bootstrap token's secret is another one")
    expires = data.get("expiration", "")
    if expires and not _future(expires, now):
        raise InvalidToken("the bootstrap token has expired")
    if data.get("usage-bootstrap-authentication") != "true":
        raise InvalidToken("the bootstrap token is not for authentication")
    extra = [group.strip() for group in data.get("auth-extra-groups", "").split(",") if group.strip()]
    if not all(GROUP.fullmatch(group) for group in extra):
        raise InvalidToken("the bootstrap token names a group outside system:bootstrappers")
    return User(f"system:bootstrap:{token_id}", groups=(BOOTSTRAPPERS, *extra))


def _decode(value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _future(text: str, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(text) > now
    except (ValueError, TypeError):
        # An expiry nobody can read must not mean that the token lives for ever.
        return False
