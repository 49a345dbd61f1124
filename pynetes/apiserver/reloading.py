"""Configurations of authentication and authorization that are taken up when their file changes.

Looked at once a second at most, by the first request that needs them. A file that is wrong is logged and counted, and
changes nothing. Metrics are upstream's: apiserver_authentication_config_controller_* and ..._authorization_config_*.
"""

import logging
import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

from pynetes.apiserver import identity
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.files import Reread
from pynetes.component.metrics import REGISTRY

log = logging.getLogger(__name__)
T = TypeVar("T")
#: Seconds between looks.
LOOK = 1.0


def _server() -> str:
    return f"sha256:{sha256(identity.name_of(socket.gethostname()).encode()).hexdigest()}"


_SERVER = _server()
_METRICS = {
    what: (
        REGISTRY.counter(
            f"apiserver_{what}_config_controller_automatic_reloads_total",
            f"Total number of automatic reloads of {what} configuration split by status and apiserver identity.",
            "apiserver_id_hash",
            "status",
        ),
        REGISTRY.gauge(
            f"apiserver_{what}_config_controller_automatic_reload_last_timestamp_seconds",
            f"Timestamp of the last automatic reload of {what} configuration split by status and apiserver identity.",
            "apiserver_id_hash",
            "status",
        ),
        REGISTRY.gauge(
            f"apiserver_{what}_config_controller_last_config_info",
            f"Information about the last applied {what} configuration with hash as label.",
            "apiserver_id_hash",
            "hash",
        ),
    )
    for what in ("authentication", "authorization")
}


class Reloading(Generic[T]):
    """What `read` makes of a file."""

    def __init__(self, what: str, path: str, read: Callable[[], T], clock: Clock) -> None:
        """Raises what `read` raises, the first time."""
        self._reloads, self._at, self._info = _METRICS[what]
        self._what, self._path, self._clock = what, Path(path), clock
        self._file = Reread((self._path,), read, failed=self._failed)
        self._looked = clock.monotonic()
        self._hash = ""
        self._told()

    def current(self) -> T:
        """As the file says now, or said a second ago."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            if self._file.refresh():
                self._reloads.inc(_SERVER, "success")
                self._at.set(self._clock.now().timestamp(), _SERVER, "success")
                log.info(logs.fact(f"{self._what} configuration taken up", file=self._path))
                self._told()
        return self._file.value

    def _told(self) -> None:
        self._info.remove(_SERVER, self._hash)
        self._hash = f"sha256:{sha256(self._path.read_bytes()).hexdigest()}"
        self._info.set(1, _SERVER, self._hash)

    def _failed(self, error: Exception) -> None:
        self._reloads.inc(_SERVER, "failure")
        self._at.set(self._clock.now().timestamp(), _SERVER, "failure")
        log.error(logs.fact(f"{self._what} configuration not taken up", file=self._path, error=error))
