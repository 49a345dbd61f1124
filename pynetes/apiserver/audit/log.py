"""The log backend: a line of JSON for each event, in a file that is rotated by size and forgotten by age and number.

Written with one unbuffered append per event: after a crash everything that was answered is in the file.
"""

import gzip
import logging
import os
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY

log = logging.getLogger(__name__)
MEGABYTE = 1 << 20
#: Megabytes of a file when --audit-log-maxsize is 0.
LARGEST = 100
ERRORS = REGISTRY.counter(
    "apiserver_audit_error_total",
    "Counter of audit events that failed to be audited properly.",
    "plugin",
)


class LogFile:
    """Appends; reopened after a rotation. `-` is standard output."""

    def __init__(
        self, path: str, clock: Clock, *, limits: tuple[int, int, int] = (0, 0, 0), compress: bool = False
    ) -> None:
        """limits: megabytes of a file, number of old files, their age in days; 0 of the latter two: no limit.
        compress: old files are kept as .gz.

        Raises OSError."""
        self._path, self._clock = Path(path), clock
        max_size, max_backup, max_age = limits
        self._limit = (max_size or LARGEST) * MEGABYTE
        self._backups, self._age, self._compress = max_backup, max_age, compress
        self._fd, self._size = -1, 0
        if path == "-":
            self._fd, self._limit = os.dup(sys.stdout.fileno()), 0
        else:
            self._open()

    def write(self, event: bytes) -> None:
        """One event. A full disk loses it, and says so: the cluster must go on."""
        try:
            if self._limit and self._size and self._size + len(event) >= self._limit:
                self._rotate()
            self._size += os.write(self._fd, event + b"\n")
        except OSError as error:
            ERRORS.inc("log")
            log.error(logs.fact("an audit event was lost", path=self._path, error=error))

    def close(self) -> None:
        """Nothing is written afterwards."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Audit logs hold what users did, and at higher levels their objects: nobody else reads them.
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self.close()
        old = self._free_name()
        self._path.rename(old)
        self._open()
        if self._compress:
            # As large as a file may be, so that it does not hold up whoever's event was the one too many for long.
            packed = os.open(f"{old}.gz", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with (
                old.open("rb") as plain,
                os.fdopen(packed, "wb") as file,
                gzip.open(file, "wb", compresslevel=1) as zipped,
            ):
                shutil.copyfileobj(plain, zipped)
            old.unlink()
        self._forget()

    def _free_name(self) -> Path:
        moment = self._clock.now()
        while True:
            stamp = f"{moment:%Y-%m-%dT%H-%M-%S}.{moment.microsecond // 1000:03d}"
            name = self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")
            if not name.exists() and not Path(f"{name}.gz").exists():
                return name
            moment += timedelta(milliseconds=1)

    def _forget(self) -> None:
        found = sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}*"), reverse=True)
        backups = [(path, since) for path in found if (since := self._since(path)) is not None]
        oldest = self._clock.now() - timedelta(days=self._age) if self._age else None
        for number, (path, since) in enumerate(backups):
            if (self._backups and number >= self._backups) or (oldest is not None and since < oldest):
                path.unlink(missing_ok=True)

    def _since(self, path: Path) -> datetime | None:
        text = path.name.removesuffix(".gz").removeprefix(f"{self._path.stem}-").removesuffix(self._path.suffix)
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H-%M-%S.%f").replace(tzinfo=self._clock.now().tzinfo)
        except ValueError:
            # Somebody else's file.
            return None
