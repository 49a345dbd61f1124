"""Keeps the processes of a cluster alive.

One supervisor per cluster, started by `up`, reached over a Unix socket. It starts processes in the order of their
dependencies, restarts those that die or stop answering, and leaves them running when it dies itself: the next
supervisor adopts them by process id and start time. Exits are seen through pidfds, so nothing is polled.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import orjson

from pynetes.cluster import probe
from pynetes.cluster.process import Process, Running, adopt, environment, from_json, leftovers, spawn
from pynetes.machinery.meta import Object

FIRST_BACKOFF, LAST_BACKOFF = 0.1, 5.0
#: A process that lived this long starts over with the shortest back-off.
STEADY = 10.0
READY_STEP = 0.05
#: How often a ready process is asked whether it still answers, and how many silences in a row make it be restarted.
HEALTH_PERIOD, HEALTH_FAILURES = 10.0, 6
MAX_LOG = 20 << 20


@dataclass
class State:
    """What the supervisor knows of one process."""

    spec: Process
    running: Running | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    #: Asked to end and start again, without back-off.
    restarting: bool = False
    #: Asked to end and stay so.
    halted: bool = False
    restarts: int = 0
    since: float = 0.0
    why: str = "waits for its turn"


class Supervisor:
    """Runs until `stop` is asked for; see `serve` for what it answers."""

    def __init__(self, specs: Sequence[Process], *, run_dir: Path, log_dir: Path) -> None:
        self.specs = specs
        self.states = {spec.name: State(spec) for spec in specs}
        self.run_dir, self.log_dir = run_dir, log_dir
        self.done = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []

    async def run(self, socket: Path) -> None:
        """Serve the socket and keep every process until told to stop."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        (self.run_dir / "pids").mkdir(parents=True, exist_ok=True)
        socket.unlink(missing_ok=True)
        await asyncio.gather(*(stray.terminate(grace=10) for stray in leftovers(self.run_dir, self.specs)))
        server = await asyncio.start_unix_server(self._serve, socket)
        socket.chmod(0o600)
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._keepers = [group.create_task(self._keep(state)) for state in self.states.values()]
            await self.done.wait()
            for keeper in self._keepers:
                keeper.cancel()
        server.close()
        socket.unlink(missing_ok=True)

    async def _keep(self, state: State) -> None:
        """Start, watch, restart: the life of one process."""
        backoff = FIRST_BACKOFF
        while not state.halted:
            for name in state.spec.after:
                await self.states[name].ready.wait()
            if state.halted:
                return
            state.since = monotonic()
            state.why = "ended"
            try:
                state.running = adopt(state.spec, self.run_dir) or spawn(state.spec, self.run_dir, self.log_dir)
            except OSError as error:
                # A full disk, or a program that was removed: this process waits, the others are kept all the same.
                state.why = f"cannot be started: {error}"
            if state.running:
                state.why = "starts"
                await self._attend(state)
                state.why = "ended"
            state.ready.clear()
            state.running = None
            if monotonic() - state.since > STEADY:
                backoff = FIRST_BACKOFF
            state.restarts += 1
            state.why = f"{state.why}, starts again in {backoff:.1f} s"
            if state.restarting:
                state.restarting = False
            elif not state.halted:
                await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LAST_BACKOFF)

    async def _attend(self, state: State) -> None:
        """Return when the process has ended."""
        assert state.running is not None
        async with asyncio.TaskGroup() as group:
            health = group.create_task(self._check(state))
            await state.running.ended.wait()
            health.cancel()

    async def _check(self, state: State) -> None:
        """Wait for readiness, then ask every now and then, and end what no longer answers."""
        failures = 0
        while True:
            why = await probe.ask(state.spec.ready) if state.spec.ready else ""
            state.why = why
            if not why:
                failures = 0
                state.ready.set()
            elif state.ready.is_set():
                failures += 1
            if failures >= HEALTH_FAILURES and state.running:
                await state.running.terminate(grace=5)
            _shorten(self.log_dir / f"{state.spec.name}.log")
            await asyncio.sleep(HEALTH_PERIOD if state.ready.is_set() else READY_STEP)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = orjson.loads(await reader.readline())
            writer.write(orjson.dumps(await self._answer(request)) + b"\n")
            await writer.drain()
        except (ValueError, OSError) as error:
            writer.write(orjson.dumps({"error": str(error)}) + b"\n")
        finally:
            writer.close()

    async def _answer(self, request: Mapping[str, str]) -> Object:
        match request.get("do"):
            case "status":
                return {"processes": [_shown(state) for state in self.states.values()]}
            case "restart":
                for state in self._named(request.get("name", "")):
                    state.restarting = True
                    if state.running:
                        await state.running.terminate(grace=10)
                return {}
            case "halt":
                await self._halt(self._named(request.get("name", "")))
                return {}
            case "start":
                for state in self._named(request.get("name", "")):
                    if state.halted and self._keepers:
                        state.halted = False
                        self._keepers.append(self._group.create_task(self._keep(state)))
                return {}
            case "stop":
                await self._halt(list(self.states.values()))
                self.done.set()
                return {}
            case "leave":
                self.done.set()
                return {}
            case other:
                raise ValueError(f"unknown request {other!r}")

    def _named(self, name: str) -> list[State]:
        """The process of that name, or all whose names begin with it when it ends in a dash."""
        found = [state for key, state in self.states.items() if key == name or (name[-1:] == "-" and name in key)]
        if not found:
            raise ValueError(f"there is no process {name!r}, only {', '.join(self.states)}")
        return found

    async def _halt(self, states: Sequence[State]) -> None:
        """End processes for good, dependents before what they depend on."""
        left = {state.spec.name: state for state in states}
        for state in states:
            state.halted = True
        while left:
            needed = {name for state in left.values() for name in state.spec.after}
            level = [state for name, state in left.items() if name not in needed]
            await asyncio.gather(*(state.running.terminate(grace=10) for state in level if state.running))
            for state in level:
                (self.run_dir / "pids" / state.spec.name).unlink(missing_ok=True)
                del left[state.spec.name]


def _shown(state: State) -> Object:
    return {
        "name": state.spec.name,
        "pid": state.running.pid if state.running else 0,
        "ready": state.ready.is_set(),
        "restarts": state.restarts,
        "seconds": round(monotonic() - state.since, 1) if state.running else 0,
        "why": state.why,
        "digest": state.spec.digest,
    }


def _shorten(log: Path) -> None:
    """Keep the log's last part when it has grown too large. Its writer appends, so truncating is safe."""
    with contextlib.suppress(OSError):  # no log yet, or no space for a second one
        if log.stat().st_size > MAX_LOG:
            log.with_suffix(".log.1").write_bytes(log.read_bytes())
            os.truncate(log, 0)


async def request(socket: Path, **message: str) -> Object:
    """Ask a supervisor; raises OSError when none listens."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(orjson.dumps(message) + b"\n")
    answer: Object = orjson.loads(await reader.readline() or b'{"error": "the supervisor ended"}')
    writer.close()
    return answer


def main(run_dir: Path, log_dir: Path) -> int:
    """The supervisor's process: what to run is in processes.json, which `up` wrote."""
    specs = from_json((run_dir / "processes.json").read_bytes())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(Supervisor(specs, run_dir=run_dir, log_dir=log_dir).run(run_dir / "supervisor.sock"))
    return 0


def daemonize(run_dir: Path, log_dir: Path) -> None:
    """Start a supervisor that outlives this process."""
    argv = [sys.executable, "-m", "pynetes.cmd.main", "supervise", str(run_dir), str(log_dir)]
    with (log_dir / "supervisor.log").open("ab") as out:
        os.posix_spawn(
            argv[0],
            argv,
            environment(run_dir),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, out.fileno(), 2),
            ],
            setsid=True,
        )
