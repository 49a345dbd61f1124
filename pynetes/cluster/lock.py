"""One `up`, `down` or `reset` at a time on a machine: all clusters share its ports, its network and its packages.

The kernel gives the lock back when the process ends, however it ends, so a killed `up` blocks nobody. The file stays:
removing it would let two processes each hold a lock on a file of the same name.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from pynetes.cluster.errors import ClusterError

LOCK = Path("/run/lock/pynetes.lock")


@contextlib.contextmanager
def held(command: str, *, path: Path = LOCK) -> Iterator[None]:
    """Hold the lock meanwhile. Raises ClusterError that says who has it. No child process inherits it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise ClusterError(f"`{command}` needs root", "run it with sudo") from None
    try:
        _take(file)
        os.ftruncate(file, 0)
        os.write(file, f"`{command}` (process {os.getpid()})".encode())
        yield
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def _take(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 200, 0).decode(errors="replace") or "another command"
        raise ClusterError(f"{holder} is at work on this machine", "wait until it has ended, then try again") from None
