"""Background tasks end with their owner, and ask for nothing more while they end."""

import asyncio

import pytest

from pynetes.component.tasks import Group


async def test_a_group_that_ends_begins_nothing_more() -> None:
    """Work that learns of the end a little later than its group asks for more in between: it ends as cancelled."""
    begun: list[str] = []

    async def late() -> None:
        begun.append("late")

    async def worker(group: Group) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            group.start(late())
            begun.append("after")

    async def owner() -> None:
        async with Group() as group:
            group.start(worker(group))
            await asyncio.get_running_loop().create_future()

    task = asyncio.get_running_loop().create_task(owner())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert begun == []


async def test_a_group_that_never_began_says_so() -> None:
    """Forgetting `async with` is a mistake in the program, not the end of it."""

    async def nothing() -> None: ...

    with pytest.raises(RuntimeError, match="not been entered"):
        Group().start(nothing())
