"""The one place that starts programs and waits for them to end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from pynetes.component.remedy import RemedyError


class CommandError(RemedyError):
    """A program is not there, failed, or did not end in time; the message has its own last words."""


class Result(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str


async def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float = 600,
    env: Mapping[str, str] | None = None,
    given: str = "",
) -> Result:
    """Run a program to its end. With check, a failure raises CommandError with the program's own last words.

    given is the program's standard input."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **env} if env else None,
        )
    except FileNotFoundError:
        raise CommandError(f"{argv[0]} is not installed", f"install the package that has {argv[0]}") from None
    try:
        out, err = await asyncio.wait_for(process.communicate(given.encode() or None), timeout)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CommandError(f"`{' '.join(argv)}` did not end within {timeout:.0f} s") from None
    result = Result(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))
    if check and result.code:
        said = (result.err.strip() or result.out.strip() or "no output").splitlines()[-1]
        raise CommandError(f"`{' '.join(argv)}` failed ({result.code}): {said}")
    return result


@contextlib.asynccontextmanager
async def running(
    argv: Sequence[str], *, stop: signal.Signals = signal.SIGTERM, timeout: float = 10
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs beside the block, writing where this process does.

    At the end of the block it is sent `stop`, and killed when it has not ended `timeout` seconds later."""
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL)
    except FileNotFoundError:
        raise CommandError(f"{argv[0]} is not installed", f"install the package that has {argv[0]}") from None
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(stop)
            try:
                await asyncio.wait_for(process.wait(), timeout)
            except TimeoutError:
                process.kill()
                await process.wait()
