"""The only place that makes asyncio tasks, so that no task is ever lost.

A component is one coroutine, run by `run`. What it does beside that belongs to a `Group`: a task that fails takes its
group, and with it the component, down loudly (the supervisor restarts it); leaving the group ends its tasks.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

import uvloop

from pynetes.component import allocator, logs
from pynetes.component.remedy import RemedyError

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run a component until it ends or SIGTERM or SIGINT asks it to; the exit status. RemedyError is raised.

    A signal cancels `main`, whose `finally` blocks and context managers are its orderly shutdown."""
    # Modules stay for ever: no need to look through them again and again. Of what requests leave behind hardly anything
    # is a cycle, so looking seldom costs no memory; at 700 objects, the default, it was 7 % of a create.
    allocator.tune()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        uvloop.run(_until_signal(main))
    except RemedyError:
        # Not ours to fix: a wrong flag or file, which the command tells in a line.
        raise
    except (Exception, BaseExceptionGroup) as failure:
        for error in leaves(failure):
            _LOG.critical(logs.fact("component failed", error=error), exc_info=error)
        return 1
    return 0


async def _until_signal(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop, stopped = asyncio.get_running_loop(), False
    task = asyncio.create_task(main())

    def stop(name: str) -> None:
        nonlocal stopped
        stopped = True
        _LOG.info(logs.fact("stopping", signal=name))
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise


def leaves(error: BaseException) -> list[BaseException]:
    """The errors inside nested exception groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


class Group:
    """Background tasks of one owner: `async with Group() as group: group.start(work())`.

    Leaving the block cancels what still runs and waits for it. A task that fails cancels the block, which then raises
    an ExceptionGroup."""

    def __init__(self) -> None:
        self._inner = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._entered = False

    async def __aenter__(self) -> "Group":
        self._entered = True
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        await self._inner.__aexit__(kind, error, trace)

    def start(self, work: Coroutine[Any, Any, T], *, name: str = "") -> "asyncio.Task[T]":
        """Begin work in the background.

        A group that is ending begins nothing more: raises CancelledError, for whoever asks on its behalf is about to be
        cancelled too (its own tasks hear of the end a few turns of the loop after the group does)."""
        try:
            task = self._inner.create_task(work, name=name or None)
        except RuntimeError as error:
            work.close()
            if not self._entered:
                raise
            raise asyncio.CancelledError("its group of tasks is ending") from error
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """Ask all tasks to end."""
        for task in tuple(self._tasks):
            task.cancel()


async def forever() -> None:
    """Wait until cancelled: the body of a component whose tasks do the work."""
    await asyncio.get_running_loop().create_future()


async def first(*works: Coroutine[Any, Any, Any]) -> None:
    """Run all until one of them returns or fails, then end the others."""
    async with Group() as group:
        started = [group.start(work) for work in works]
        await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)


async def gather_limited(works: "list[Callable[[], Awaitable[T]]]", *, limit: int) -> list[T]:
    """Results in order, with at most `limit` running at once; the first failure cancels the rest."""
    results: dict[int, T] = {}
    queue = list(enumerate(works))[::-1]

    async def worker() -> None:
        while queue:
            index, work = queue.pop()
            results[index] = await work()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(limit, len(works))):
            group.create_task(worker())
    return [results[index] for index in range(len(works))]
