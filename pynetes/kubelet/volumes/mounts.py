"""The kernel's mount calls that volumes need: tmpfs for what must not reach a disk, and binding an open file."""

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 2, 4, 8, 4096, 16384
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

#: How the kernel writes spaces, tabs, newlines and backslashes.
_ESCAPED = re.compile(r"\\([0-7]{3})")
_libc = ctypes.CDLL(None, use_errno=True)


def tmpfs(path: Path, *, size: int = 0, mode: int = 0o755) -> None:
    """Mount a tmpfs unless one is there; size in bytes, 0 for the kernel's default of half the memory."""
    if is_mount(path):
        return
    options = f"mode={mode:o}" + (f",size={size}" if size else "")
    _mount("tmpfs", path, "tmpfs", 0, options)


def bind(fd: int, target: Path) -> None:
    """Bind what an open descriptor refers to, which no rename or symbolic link can exchange meanwhile."""
    _mount(f"/proc/self/fd/{fd}", target, "", MS_BIND | MS_REC, "")


def bind_path(source: Path, target: Path) -> None:
    """Bind a folder or file to another place, with what is mounted below it."""
    _mount(str(source), target, "", MS_BIND | MS_REC, "")


def points() -> set[str]:
    """Every mount point that this process sees."""
    return set(_points())


def unmount(path: Path) -> None:
    """Detach a mount; none is no error."""
    if _libc.umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
        error = ctypes.get_errno()
        if error not in (22, 2):
            raise OSError(error, os.strerror(error), str(path))


def is_mount(path: Path) -> bool:
    """Whether something is mounted right there."""
    return str(path) in set(below(path))


def below(path: Path) -> Iterator[str]:
    """Mount points at and below a path, the deepest first."""
    found = [where for where in _points() if where == str(path) or where.startswith(f"{path}/")]
    yield from reversed(found)


def _points() -> Iterator[str]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            where = line.split(" ", 5)[4]
            yield _ESCAPED.sub(lambda octal: chr(int(octal.group(1), 8)), where) if "\\" in where else where


def _mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    arguments = [os.fsencode(part) for part in (source, str(target), kind)]
    if _libc.mount(*arguments, flags, options.encode()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(target))
