"""How the proxy talks to the kernel: through nft, iptables-restore and conntrack, each call recorded."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from pynetes.component import command
from pynetes.component.tracing import RECORDER, Interaction, now

#: The interaction path kube-proxy → packet filter.
PATH = 17
#: Seconds; a table of ten thousand Services takes a few.
TIMEOUT = 60.0


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
        result = await command.run(argv, check=False, timeout=TIMEOUT, given=given)
    except command.CommandError as error:
        raise KernelError(str(error)) from None
    if result.code:
        words = result.err.strip() or "no output"
        raise KernelError(f"`{' '.join(argv)}` failed ({result.code}): {words[:2000]}")
    return result.out
