"""The one place where the proxy starts programs: nft, iptables-restore, conntrack."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from pynetes.component.tracing import RECORDER, Interaction, now

#: The interaction path kube-proxy → packet filter.
PATH = 17


class Note(NamedTuple):
    """What is recorded of a transaction: what was done, to which Service if it is one, and which revision caused it."""

    action: str
    object: str = ""
    cause: int = 0


class KernelError(Exception):
    """A program refused what it was given; the message carries its own words."""


async def run(argv: Sequence[str], given: str = "", *, note: Note | None = None) -> str:
    """Run a program to its end and return its output; with a note, it is recorded as an interaction.

    Raises KernelError when it fails or is not installed."""
    started = time.perf_counter()
    error = ""
    try:
        return await _run(argv, given)
    except KernelError as failure:
        error = str(failure)
        raise
    finally:
        if note:
            _record(note, argv[0], time.perf_counter() - started, error)


def _record(note: Note, target: str, seconds: float, error: str) -> None:
    RECORDER.record(
        Interaction(
            path=PATH, at=now(), source="kube-proxy", target=target, action=note.action, object=note.object,
            seconds=seconds, error=error, cause=note.cause,
        )
    )  # fmt: skip


async def _run(argv: Sequence[str], given: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise KernelError(f"{argv[0]} is not installed") from None
    out, err = await process.communicate(given.encode())
    if process.returncode:
        words = err.decode(errors="replace").strip() or "no output"
        raise KernelError(f"`{' '.join(argv)}` failed ({process.returncode}): {words[:2000]}")
    return out.decode(errors="replace")
