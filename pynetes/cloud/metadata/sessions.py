"""Session tokens of the metadata service: bound to an instance and a time, kept nowhere.

A token says for whom and until when, and is signed; so it stays good when the service restarts, as EC2's do, and is
worth nothing on another instance.
"""

import base64
import hmac
import secrets
from datetime import datetime

from pynetes.component.clock import Clock

#: What a TTL may be, in seconds.
SHORTEST, LONGEST = 1, 21600


class Sessions:
    """Signs with one key."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key, self._clock = key, clock

    def now(self) -> datetime:
        """The clock's time."""
        return self._clock.now()

    def open(self, instance: str, seconds: int) -> str:
        """A new token."""
        claims = f"{self._clock.now().timestamp() + seconds:.3f} {secrets.token_hex(8)}"
        text = base64.urlsafe_b64encode(claims.encode()).decode().rstrip("=")
        return f"{text}.{self._sign(instance, text)}"

    def valid(self, token: str, instance: str) -> bool:
        """Whether it is this instance's, and still good."""
        text, _, signature = token.partition(".")
        if not hmac.compare_digest(self._sign(instance, text).encode(), signature.encode("utf-8", "replace")):
            return False
        expires = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(" ")[0]
        return float(expires) > self._clock.now().timestamp()

    def _sign(self, instance: str, text: str) -> str:
        digest = hmac.digest(self._key, f"{instance} {text}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
