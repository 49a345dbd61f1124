"""Several processes that serve one port: `--workers N`, for machines with more processors than one interpreter can use.

Each worker is a whole API server on the same etcd, as several servers of a cluster are, so nothing is shared but the
store, and all that keeps servers consistent keeps workers so. The kernel spreads connections (SO_REUSEPORT). The
first process only forks, restarts what dies, and passes SIGTERM on; modules that were imported before forking are in
memory once. /metrics, whichever worker answers it, adds the workers up: a scrape that met one of them by chance would
see counters jump back and forth.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pynetes.apiserver.config import Config
from pynetes.apiserver.identity import FEATURE
from pynetes.component import logs
from pynetes.component.remedy import RemedyError

log = logging.getLogger(__name__)
#: A worker that ended sooner than this, so many times in a row, will not come up by itself. Seconds.
SHORT, HOPELESS = 5.0, 5
PR_SET_PDEATHSIG = 1
#: How long a worker waits for another's metrics, in seconds.
WITHIN = 1.0


@dataclass(frozen=True)
class Worker:
    """Which one of the workers this process is, and where they find each other."""

    number: int
    folder: Path

    def configured(self, config: Config, workers: int) -> Config:
        """Its share of what one server may do at once, and a socket of its own for `pynetes paths`."""
        path = Path(config.paths_socket)
        own = str(path.with_stem(f"{path.stem}-{self.number}")) if config.paths_socket and self.number else str(path)
        return replace(
            config,
            max_requests_inflight=_share(config.max_requests_inflight, workers),
            max_mutating_requests_inflight=_share(config.max_mutating_requests_inflight, workers),
            paths_socket=own if config.paths_socket else "",
            feature_gates=(*config.feature_gates, *((f"{FEATURE}=false",) if self.number else ())),
        )

    @contextlib.asynccontextmanager
    async def telling(self, text: Callable[[], str]) -> AsyncIterator[None]:
        """Tell the other workers this one's metrics for as long as the context lasts."""

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(text().encode())
            writer.close()

        server = await asyncio.start_unix_server(answer, self.folder / f"{self.number}.sock")
        async with server:
            yield

    async def metrics(self) -> str:
        """All workers' metrics, added up. One that does not answer is left out."""
        found = await asyncio.gather(*(_told(path) for path in sorted(self.folder.glob("*.sock"))))
        return added(filter(None, found))


def _share(limit: int, workers: int) -> int:
    """0 means no limit, for all of them too."""
    return max(limit // workers, 1) if limit else 0


async def _told(path: Path) -> str:
    try:
        async with asyncio.timeout(WITHIN):
            reader, writer = await asyncio.open_unix_connection(str(path))
            text = await reader.read()
            writer.close()
            return text.decode()
    except (OSError, TimeoutError):
        return ""


def added(expositions: Iterable[str]) -> str:
    """Sum of expositions, sample by sample; of moments the first, of facts (`_info`) each one once."""
    comments: dict[str, list[str]] = {}
    samples: dict[str, dict[str, float]] = {}
    for text in expositions:
        family = ""
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                comments.setdefault(family, [line])
            elif line.startswith("# "):
                if len(comments[family]) < 2:
                    comments[family].append(line)
            elif line:
                name, _, value = line.rpartition(" ")
                known = samples.setdefault(family, {})
                known[name] = _sum(family, known.get(name), float(value))
    out = []
    for family in sorted(comments):
        out += comments[family]
        out += [f"{name} {_number(value)}" for name, value in samples.get(family, {}).items()]
    return "\n".join([*out, ""])


#: What each worker knows of the whole cluster: the same, but for what one has not heard yet.
OF_ALL = {"apiserver_storage_size_bytes", "apiserver_storage_objects", "apiserver_resource_objects",
          "apiserver_resource_size_estimate_bytes"}  # fmt: skip


def _sum(family: str, known: float | None, value: float) -> float:
    if known is None:
        return value
    if family.endswith(("_info", "_enabled")) or family in OF_ALL:
        return max(known, value)
    return min(known, value) if family.endswith("_time_seconds") else known + value


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def run(config: Config, serve: Callable[[Config, Worker], int]) -> int:
    """Fork the workers and wait until SIGTERM; the exit status. Raises RemedyError where there cannot be several."""
    if not config.etcd_servers:
        raise RemedyError(
            f"--workers {config.workers}: an embedded store belongs to one process",
            "give --etcd-servers, or leave --workers out",
        )
    folder = Path(tempfile.mkdtemp(prefix="pynetes-workers-"))
    with _reserved(config) as port:
        try:
            return _Parent(replace(config, secure_port=port), serve, folder).run()
        finally:
            # Workers never come here: they leave by os._exit.
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _reserved(config: Config) -> Iterator[int]:
    """The port, found if any free one will do, and ours for as long as the context lasts: bound, never listened on."""
    family = socket.AF_INET6 if ":" in config.bind_address else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((config.bind_address, config.secure_port))
        except OSError as error:
            where = f"{config.bind_address}:{config.secure_port}"
            raise RemedyError(f"{where}: {error.strerror}", "choose another --secure-port") from None
        yield held.getsockname()[1]


class _Parent:
    """Forks, waits, forks again."""

    def __init__(self, config: Config, serve: Callable[[Config, Worker], int], folder: Path) -> None:
        self._config, self._serve, self._folder = config, serve, folder
        self._workers: dict[int, tuple[int, float]] = {}
        self._stopping = False
        self._short = 0

    def run(self) -> int:
        # What is there now is shared by all of them until somebody writes to it, and the collector would.
        gc.collect()
        gc.freeze()
        for asked in (signal.SIGTERM, signal.SIGINT):
            signal.signal(asked, self._stop)
        for number in range(self._config.workers):
            self._fork(number)
        status = 0
        while self._workers:
            pid, code = os.wait()
            number, began = self._workers.pop(pid)
            if not self._stopping:
                status = self._restart(number, began, os.waitstatus_to_exitcode(code))
        return status

    def _restart(self, number: int, began: float, code: int) -> int:
        log.error(logs.fact("worker ended", worker=number, code=code))
        self._short = self._short + 1 if time.monotonic() - began < SHORT else 0
        if self._short >= HOPELESS:
            self._stop()
            return code or 1
        (self._folder / f"{number}.sock").unlink(missing_ok=True)
        self._fork(number)
        return 0

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _fork(self, number: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._workers[pid] = number, time.monotonic()
            return
        code = 1
        try:
            # No worker outlives the first process, however that ends.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() == parent:
                worker = Worker(number, self._folder)
                code = self._serve(worker.configured(self._config, self._config.workers), worker)
        except RemedyError as error:
            sys.stderr.write(f"error: {error}\nremedy: {error.remedy}\n" if error.remedy else f"error: {error}\n")
        finally:
            sys.stderr.flush()
            os._exit(code)
