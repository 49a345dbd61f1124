"""The supervisor over real processes: order, restarts, adoption, halting."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pynetes.cluster import supervisor
from pynetes.cluster.probe import Probe
from pynetes.cluster.process import Process, from_json, leftovers, to_json
from pynetes.cluster.supervisor import Supervisor
from pynetes.machinery.meta import Object

FOREVER = ("sleep", "1000")


@contextlib.asynccontextmanager
async def supervised(folder: Path, *specs: Process) -> AsyncIterator[Callable[..., Awaitable[Object]]]:
    """A supervisor in this process; yields a function that asks it. Whatever it left running is ended."""
    (folder / "run").mkdir(exist_ok=True)
    socket = folder / "run" / "s.sock"
    keeper = Supervisor(specs, run_dir=folder / "run", log_dir=folder / "logs")

    async def ask(**message: str) -> Object:
        return await supervisor.request(socket, **message)

    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.run(socket))
        await until(socket.exists)
        yield ask
        keeper.done.set()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that other processes bring about."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def process_of(ask: Callable[..., Awaitable[Object]], name: str) -> Object:
    """The status row of a process."""
    return next(item for item in (await ask(do="status"))["processes"] if item["name"] == name)


async def running(ask: Callable[..., Awaitable[Object]], name: str, *, not_pid: int = 0) -> int:
    """Wait until the process runs and is ready; its process id."""
    async with asyncio.timeout(10):
        while True:
            item = await process_of(ask, name)
            if item["ready"] and item["pid"] not in (0, not_pid):
                return int(item["pid"])
            await asyncio.sleep(0.01)


async def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    """kill -9 is followed by a new process, and the restart is counted."""
    async with supervised(tmp_path, Process(name="one", argv=FOREVER)) as ask:
        pid = await running(ask, "one")
        os.kill(pid, signal.SIGKILL)
        assert await running(ask, "one", not_pid=pid) != pid
        assert (await process_of(ask, "one"))["restarts"] == 1
        await ask(do="stop")


async def test_a_process_waits_for_what_it_depends_on(tmp_path: Path) -> None:
    """A dependent starts only when the probe of its dependency succeeds."""
    ready = tmp_path / "ready.sock"
    first = Process(name="first", argv=FOREVER, ready=Probe(unix=str(ready)))
    async with supervised(tmp_path, first, Process(name="second", argv=FOREVER, after=("first",))) as ask:
        await until(lambda: (tmp_path / "run" / "pids" / "first").exists())
        assert (await process_of(ask, "second"))["pid"] == 0
        server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), ready)
        assert await running(ask, "second")
        server.close()
        await ask(do="stop")


async def test_stopping_ends_every_process(tmp_path: Path) -> None:
    """After stop no process is left, and nothing says there is."""
    async with supervised(tmp_path, Process(name="one", argv=FOREVER), Process(name="two", argv=FOREVER)) as ask:
        pids = [await running(ask, "one"), await running(ask, "two")]
        await ask(do="stop")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert leftovers(tmp_path / "run") == []


async def test_the_next_supervisor_adopts_what_runs(tmp_path: Path) -> None:
    """A supervisor that leaves ends nothing; the next one knows the processes by id and start time."""
    one = Process(name="one", argv=FOREVER)
    async with supervised(tmp_path, one) as ask:
        pid = await running(ask, "one")
        await ask(do="leave")
    async with supervised(tmp_path, one) as ask:
        assert await running(ask, "one") == pid
        await ask(do="stop")


async def test_what_would_be_started_differently_is_replaced(tmp_path: Path) -> None:
    """Changed flags end the old process; a process nobody declares any more ends too."""
    async with supervised(tmp_path, Process(name="one", argv=FOREVER), Process(name="gone", argv=FOREVER)) as ask:
        old, gone = await running(ask, "one"), await running(ask, "gone")
        await ask(do="leave")
    async with supervised(tmp_path, Process(name="one", argv=("sleep", "2000"))) as ask:
        assert await running(ask, "one") != old
        await until(lambda: not _alive(old) and not _alive(gone))
        await ask(do="stop")


def _alive(pid: int) -> bool:
    """Whether it runs; a zombie of this test's own does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_halted_process_stays_down(tmp_path: Path) -> None:
    """halt takes all whose names share a prefix, and nothing starts them again."""
    specs = [Process(name=name, argv=FOREVER) for name in ("kubelet-a", "kubelet-b", "etcd")]
    async with supervised(tmp_path, *specs) as ask:
        for spec in specs:
            await running(ask, spec.name)
        await ask(do="halt", name="kubelet-")
        assert [item["pid"] != 0 for item in (await ask(do="status"))["processes"]] == [False, False, True]
        await ask(do="stop")


async def test_restart_needs_no_back_off(tmp_path: Path) -> None:
    """A restart that was asked for gives a new process at once."""
    async with supervised(tmp_path, Process(name="one", argv=FOREVER)) as ask:
        pid = await running(ask, "one")
        await ask(do="restart", name="one")
        assert await running(ask, "one", not_pid=pid)
        await ask(do="stop")


async def test_an_unknown_name_is_told_with_the_known_ones(tmp_path: Path) -> None:
    """A typo in a process's name is answered with what there is."""
    async with supervised(tmp_path, Process(name="one", argv=FOREVER)) as ask:
        assert "only one" in (await ask(do="restart", name="eno"))["error"]
        await ask(do="stop")


async def test_output_goes_to_the_log(tmp_path: Path) -> None:
    """Both streams are appended to a file named after the process."""
    async with supervised(
        tmp_path, Process(name="one", argv=("sh", "-c", "echo out; echo err >&2; exec sleep 100"))
    ) as ask:
        await running(ask, "one")
        await until(lambda: (tmp_path / "logs" / "one.log").read_text() == "out\nerr\n")
        await ask(do="stop")


@pytest.mark.parametrize("probe", [None, Probe(host="h", port=1, path="/readyz", ca="/ca")])
def test_declarations_survive_the_way_to_the_supervisor(probe: Probe | None) -> None:
    """What `up` writes is what the supervisor reads, to the digest."""
    spec = Process(name="n", argv=("a", "b"), after=("x",), ready=probe, env={"K": "V"})
    (back,) = from_json(to_json([spec]))
    assert back == spec
    assert back.digest == spec.digest
