"""Container logs as CRI runtimes write them: lines of "TIME STREAM TAGS TEXT", one file per attempt.

A tag P marks a part of a longer line, F its end. Reading follows rotation: the runtime renames the file and opens a new
one under the old name.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pynetes.component.clock import Clock

BLOCK = 64 << 10
#: How often a followed log is looked at; without inotify this is the delay that `kubectl logs -f` shows.
FOLLOW = 0.1


#: Asked while following: may the container still write?
Running = Callable[[], bool]


class Line(NamedTuple):
    """One line of a log file; text ends in a newline unless more of the same line follows."""

    time: bytes
    stream: bytes
    text: bytes


@dataclass(frozen=True, kw_only=True)
class Options:
    """What of a log is wanted, as in PodLogOptions."""

    follow: bool = False
    timestamps: bool = False
    since: datetime | None = None
    tail: int | None = None
    limit: int | None = None
    #: "" for both, or stdout or stderr.
    stream: str = ""


def parse(raw: bytes) -> Line | None:
    """A line of the file, newline included or not; None when it is not in the format."""
    parts = raw.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3:
        return None
    text = parts[3] if len(parts) == 4 else b""
    partial = parts[2].split(b":", 1)[0] == b"P"
    return Line(parts[0], parts[1], text if partial else text + b"\n")


def directory(root: Path, namespace: str, name: str, uid: str) -> Path:
    """Where a pod's logs are."""
    return root / f"{namespace}_{name}_{uid}"


def end_of(path: Path, *, lines: int, limit: int) -> str:
    """The last lines of a log as text, at most limit bytes."""
    try:
        with path.open("rb") as file:
            start = _tail_offset(file, lines)
            file.seek(start)
            parsed = [line.text for raw in file if (line := parse(raw))]
    except OSError:
        return ""
    return b"".join(parsed)[-limit:].decode(errors="replace")


async def read(path: Path, options: Options, clock: Clock, running: Running) -> AsyncIterator[bytes]:
    """Chunks of the log. Follows until the container runs no more and all is read."""
    left = options.limit
    async for chunk in _chunks(path, options, clock, running):
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if left is not None and left <= 0:
            return


async def _chunks(path: Path, options: Options, clock: Clock, running: Running) -> AsyncIterator[bytes]:
    since = options.since.timestamp() if options.since else None
    file: BinaryIO = path.open("rb")
    try:
        if options.tail is not None:
            file.seek(_tail_offset(file, options.tail))
        rest = b""
        while True:
            # Asked before reading: what was written before the end is then read after it.
            more = options.follow and running()
            block = await asyncio.to_thread(file.read, BLOCK)
            if block:
                *complete, rest = (rest + block).split(b"\n")
                yield b"".join(_render(raw, options, since) for raw in complete)
                continue
            rotated = _rotated(path, file)
            if rotated is not None:
                file.close()
                file = rotated
                continue
            if not more:
                break
            await clock.sleep(FOLLOW)
        if rest:
            yield _render(rest, options, since)
    finally:
        file.close()


def _render(raw: bytes, options: Options, since: float | None) -> bytes:
    line = parse(raw)
    if line is None or (options.stream and line.stream.decode() != options.stream.lower()):
        return b""
    if since is not None and _seconds(line.time) < since:
        return b""
    return line.time + b" " + line.text if options.timestamps else line.text


def _seconds(stamp: bytes) -> float:
    """An RFC 3339 time with nanoseconds, which fromisoformat takes only to the microsecond."""
    text = stamp.decode(errors="replace")
    whole, dot, fraction = text.partition(".")
    digits = "".join(_leading_digits(fraction))
    zone = fraction[len(digits) :] if dot else ""
    try:
        base = datetime.fromisoformat((whole + zone).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
    return base + (float(f"0.{digits}") if digits else 0.0)


def _leading_digits(text: str) -> Iterator[str]:
    for character in text:
        if not character.isdigit():
            return
        yield character


def _rotated(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The new file under the same name, once there is one."""
    try:
        if path.stat().st_ino == _inode(file):
            return None
        return path.open("rb")
    except FileNotFoundError:
        return None


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines begin. A line in parts counts once, by its last part."""
    end = file.seek(0, 2)
    if lines <= 0:
        return end
    position, found, held = end, 0, b""
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        file.seek(position)
        held = file.read(size) + held
        found = held.count(b"\n") - held.count(b" P ")
        if found > lines:
            break
    starts = _line_starts(held)
    index, wanted = len(starts) - 1, lines
    while index >= 0:
        partial = held[starts[index] :].split(b" ", 3)[2:3] == [b"P"]
        if not partial:
            if wanted == 0:
                return position + starts[index + 1]
            wanted -= 1
        index -= 1
    return position


def _line_starts(held: bytes) -> list[int]:
    starts = [0]
    at = held.find(b"\n")
    while at >= 0 and at + 1 < len(held):
        starts.append(at + 1)
        at = held.find(b"\n", at + 1)
    return starts
