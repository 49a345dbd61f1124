"""Credentials of an instance's role: issued for a while, verified without keeping them.

The session token says which role and until when, and is signed with a key that only this service has.
"""

import base64
import hashlib
import hmac
from typing import NamedTuple

from pynetes.component.clock import Clock


class Credentials(NamedTuple):
    """What the AWS SDKs call session credentials; expires is seconds since the epoch."""

    access_key: str
    secret_key: str
    token: str
    expires: float


class Issuer:
    """Signs with one key."""

    def __init__(self, key: bytes, *, seconds: float, clock: Clock) -> None:
        self._key, self._seconds, self._clock = key, seconds, clock

    def issue(self, role: str, instance: str) -> Credentials:
        """New credentials for a role on an instance."""
        expires = self._clock.now().timestamp() + self._seconds
        claims = f"{role}|{instance}|{expires:.0f}"
        token = base64.urlsafe_b64encode(claims.encode()).decode().rstrip("=") + "." + self._sign(claims)
        access = "ASIA" + base64.b32encode(hashlib.sha256(claims.encode()).digest())[:16].decode()
        secret = base64.b64encode(hmac.digest(self._key, b"secret" + claims.encode(), "sha256")).decode()[:40]
        return Credentials(access, secret, token, float(f"{expires:.0f}"))

    def role_of(self, token: str) -> str:
        """ROLE/INSTANCE whose token this is; "" when it is none of ours, or has expired."""
        body, _, signature = token.partition(".")
        try:
            claims = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
            role, instance, expires = claims.split("|")
        except ValueError:
            return ""
        if not hmac.compare_digest(self._sign(claims), signature):
            return ""
        return f"{role}/{instance}" if float(expires) > self._clock.now().timestamp() else ""

    def _sign(self, claims: str) -> str:
        return hmac.new(self._key, claims.encode(), "sha256").hexdigest()
