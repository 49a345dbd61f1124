"""The log backend: a line of JSON for each event, in a file that is rotated by size and forgotten by age and number.

Written with one unbuffered append per event: after a crash everything that was answered is in the file. The workers of
one server share the file. Who writes holds a shared lock on it, who rotates an exclusive one, and whoever then finds
another file under its name takes that one: no event goes into a file that is being packed, and nobody rotates what has
just been rotated. The same serves a log that somebody else moves away.
"""

import errno
import fcntl
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
        self._fd, self._inode, self._file = -1, 0, path != "-"
        if not self._file:
            self._fd = os.dup(sys.stdout.fileno())
        else:
            self._open()

    def write(self, event: bytes) -> None:
        """One event. A full disk loses it, and says so: the cluster must go on."""
        line = event + b"\n"
        try:
            if self._file:
                self._append(line)
            else:
                os.write(self._fd, line)
        except (OSError, ValueError) as error:
            # A ValueError: it has been closed.
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
        self._inode = os.fstat(self._fd).st_ino

    def _append(self, line: bytes) -> None:
        while True:
            fcntl.flock(self._fd, fcntl.LOCK_SH)
            try:
                size = self._size()
                if size is not None and (not size or size + len(line) <= self._limit):
                    if os.write(self._fd, line) < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            if size is None:
                self._reopen()
            else:
                self._rotate()

    def _size(self) -> int | None:
        """Of the open file; None when it is no longer the one under our name."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_size if found.st_ino == self._inode else None

    def _reopen(self) -> None:
        before = self._fd
        self._open()
        os.close(before)

    def _rotate(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            # Somebody else may have been faster.
            mine = self._size()
            old = self._free_name() if mine else None
            if old is not None:
                self._path.rename(old)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._reopen()
        if old is not None:
            self._put_away(old)

    def _put_away(self, old: Path) -> None:
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
