"""One supervised process: its declaration, starting it, finding it again, and ending it."""

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from pynetes.cluster.probe import Probe


@dataclass(frozen=True, kw_only=True)
class Process:
    """What the supervisor keeps alive."""

    name: str
    argv: tuple[str, ...]
    #: Names of processes that must be ready before this one starts.
    after: tuple[str, ...] = ()
    ready: Probe | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    #: A fingerprint of the files it reads when it starts: certificates, configuration.
    stamp: str = ""

    @property
    def digest(self) -> str:
        """Changes when the process would be started differently."""
        return hashlib.sha256(orjson.dumps([self.argv, sorted(self.env.items()), self.stamp])).hexdigest()[:16]


def to_json(processes: Sequence[Process]) -> bytes:
    """For the supervisor, which is a process of its own."""
    return orjson.dumps([asdict(process) for process in processes])


def from_json(text: bytes) -> list[Process]:
    """The reverse of to_json."""
    return [
        Process(
            name=item["name"],
            argv=tuple(item["argv"]),
            after=tuple(item["after"]),
            ready=Probe(**item["ready"]) if item["ready"] else None,
            env=item["env"],
            stamp=item["stamp"],
        )
        for item in orjson.loads(text)
    ]


class Running:
    """A live process, held by a pidfd, which stays true when the process id is used again. Needs a running loop."""

    def __init__(self, pid: int, child: "subprocess.Popen[bytes] | None" = None) -> None:
        self.pid, self.child = pid, child
        self.ended = asyncio.Event()
        self._pidfd = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._exited)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; one that has ended is no error."""
        with contextlib.suppress(ProcessLookupError):
            if not self.ended.is_set():
                signal.pidfd_send_signal(self._pidfd, number)

    async def terminate(self, *, grace: float) -> None:
        """TERM, and KILL when it has not ended within grace seconds."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), grace)
            return
        self.signal(signal.SIGKILL)
        await self.ended.wait()

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self.child is not None:
            self.child.wait()
        self.ended.set()


def spawn(spec: Process, run_dir: Path, log_dir: Path) -> Running:
    """Start it in a session of its own, its output appended to its log, and remember it on disk."""
    with (log_dir / f"{spec.name}.log").open("ab") as log:
        child = subprocess.Popen(
            spec.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment(run_dir), **spec.env},
            cwd="/",
            start_new_session=True,
        )
    try:
        note = run_dir / "pids" / spec.name
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{child.pid} {_started(child.pid)} {spec.digest}")
    except OSError:
        # Without the note the next supervisor would start a second one beside it.
        child.kill()
        child.wait()
        raise
    return Running(child.pid, child)


#: In the environment of everything that is started for a cluster, and of what that starts in turn: its run folder.
MARK = "PYNETES_RUN"


def environment(run_dir: Path) -> dict[str, str]:
    """This process's, marked, and without what would make Python compile every module anew at each start."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, MARK: str(run_dir)}


def marked(run_dir: Path) -> Iterator[tuple[int, list[str]]]:
    """Process id and command line of all that carries the cluster's mark, the supervisor first.

    This finds what no note speaks of: what was started just before a supervisor was killed, and shims."""
    mark = f"{MARK}={run_dir}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    found.append((int(entry.name), argv))
    yield from sorted(found, key=lambda item: "supervise" not in item[1])


def adopt(spec: Process, run_dir: Path) -> Running | None:
    """The process an earlier supervisor started and left running, unless it was started differently."""
    pid, digest = noted(run_dir / "pids" / spec.name)
    return Running(pid) if pid and digest == spec.digest else None


def noted(note: Path) -> tuple[int, str]:
    """The process id and digest in a note, if that very process still runs, else (0, "")."""
    with contextlib.suppress(OSError, ValueError):
        pid, started, digest = note.read_text().split()
        if _started(int(pid)) == started:
            return int(pid), digest
    return 0, ""


def leftovers(run_dir: Path, keep: Sequence[Process] = (), *, named: str = "") -> list[Running]:
    """Noted processes that still run and are none of those to keep; named: only those whose names begin so."""
    wanted = {process.name: process.digest for process in keep}
    found = []
    for note in sorted((run_dir / "pids").glob(f"{named}*")):
        pid, digest = noted(note)
        if pid and wanted.get(note.name) != digest:
            found.append(Running(pid))
    return found


def _started(pid: int) -> str:
    """Start time in clock ticks since boot: with the pid it names one process."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    return ""
