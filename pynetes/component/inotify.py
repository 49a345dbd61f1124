"""Tells of names that come and go in a folder, by inotify: no polling, nothing missed between a look and the next."""

import asyncio
import ctypes
import os
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
_EVENT = struct.Struct("iIII")
_BUFFER = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)


class Change(NamedTuple):
    """A name that came (present) or went."""

    name: str
    present: bool


async def changes(folder: Path) -> AsyncIterator[Change]:
    """Every name that is there, then every change, until the iteration ends. Names with a leading dot are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    queue: asyncio.Queue[Change] = asyncio.Queue()
    descriptor = _watch(folder)
    loop = asyncio.get_running_loop()
    try:
        loop.add_reader(descriptor, lambda: _read(descriptor, queue))
        # After the watch has begun: what comes between both is seen twice rather than never.
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                queue.put_nowait(Change(path.name, present=True))
        while True:
            yield await queue.get()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _watch(folder: Path) -> int:
    descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    wanted = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
    if descriptor < 0 or _libc.inotify_add_watch(descriptor, os.fsencode(folder), wanted) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(folder))
    return int(descriptor)


def _read(descriptor: int, queue: asyncio.Queue[Change]) -> None:
    try:
        data = os.read(descriptor, _BUFFER)
    except BlockingIOError:
        return
    for change in _parse(data):
        if not change.name.startswith("."):
            queue.put_nowait(change)


def _parse(data: bytes) -> Iterator[Change]:
    at = 0
    while at < len(data):
        _, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        name = data[at : at + length].rstrip(b"\0").decode(errors="surrogateescape")
        at += length
        yield Change(name, bool(mask & (IN_CREATE | IN_MOVED_TO)))
