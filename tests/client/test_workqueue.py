"""The work queue: once each, never twice at a time, later and later after failures."""

from pynetes.client.workqueue import WorkQueue
from pynetes.component.tasks import Group
from pynetes.testing.clock import VirtualClock, settle


async def test_a_key_stands_in_the_queue_once() -> None:
    """Adding a waiting key again changes nothing but its cause."""
    async with Group() as group:
        queue: WorkQueue[str] = WorkQueue("q", clock=VirtualClock(), group=group)
        queue.add("a", cause=1)
        queue.add("a", cause=2)
        assert len(queue) == 1
        with queue.working(await queue.get()) as cause:
            assert cause == 2
        assert queue.idle


async def test_a_key_changed_meanwhile_is_worked_on_again_afterwards() -> None:
    """A change during the work is not lost, and not handed to a second worker at the same time."""
    async with Group() as group:
        queue: WorkQueue[str] = WorkQueue("q", clock=VirtualClock(), group=group)
        queue.add("a")
        with queue.working(await queue.get()):
            queue.add("a")
            assert len(queue) == 0
        assert len(queue) == 1


async def test_the_shortest_delay_counts() -> None:
    """Of several delays of one key the shortest one adds it, once."""
    clock = VirtualClock()
    async with Group() as group:
        queue: WorkQueue[str] = WorkQueue("q", clock=clock, group=group)
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 7)
        await clock.advance(4)
        assert len(queue) == 0
        await clock.advance(1)
        assert len(queue) == 1
        with queue.working(await queue.get()):
            pass
        await clock.advance(20)
        await settle()
        assert len(queue) == 0


async def test_back_off_doubles_and_is_forgotten() -> None:
    """5 ms, 10 ms, … 1000 s; success starts it anew."""
    async with Group() as group:
        queue: WorkQueue[str] = WorkQueue("q", clock=VirtualClock(), group=group)
        delays = [queue.add_failed("a") for _ in range(20)]
        assert delays[:3] == [0.005, 0.01, 0.02]
        assert delays[-1] == 1000.0
        queue.forget("a")
        assert queue.add_failed("a") == 0.005
