"""Several processes on one port: their metrics add up, and none of them knows less than another."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pynetes.apiserver import workers
from pynetes.apiserver.config import Config
from pynetes.apiserver.workers import Worker
from pynetes.component.remedy import RemedyError
from tests.contract.etcd_server import EtcdServer, free_port

ONE = """# HELP a_total Requests.
# TYPE a_total counter
a_total{code="200"} 3
# HELP apiserver_storage_objects Objects.
# TYPE apiserver_storage_objects gauge
apiserver_storage_objects{resource="pods"} 9
# HELP build_info Version.
# TYPE build_info gauge
build_info{v="1"} 1
# HELP process_start_time_seconds Start.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 100.5
"""
TWO = """# HELP a_total Requests.
# TYPE a_total counter
a_total{code="200"} 4
a_total{code="404"} 1
# HELP apiserver_storage_objects Objects.
# TYPE apiserver_storage_objects gauge
apiserver_storage_objects{resource="pods"} 8
# HELP build_info Version.
# TYPE build_info gauge
build_info{v="1"} 1
# HELP process_start_time_seconds Start.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 90.5
"""


def test_counts_add_up_and_facts_do_not() -> None:
    """A family's samples stay together, whichever worker had them first."""
    assert workers.added([ONE, TWO]).splitlines() == [
        "# HELP a_total Requests.",
        "# TYPE a_total counter",
        'a_total{code="200"} 7',
        'a_total{code="404"} 1',
        "# HELP apiserver_storage_objects Objects.",
        "# TYPE apiserver_storage_objects gauge",
        'apiserver_storage_objects{resource="pods"} 9',
        "# HELP build_info Version.",
        "# TYPE build_info gauge",
        'build_info{v="1"} 1',
        "# HELP process_start_time_seconds Start.",
        "# TYPE process_start_time_seconds gauge",
        "process_start_time_seconds 90.5",
    ]


async def test_a_silent_worker_is_left_out(tmp_path: Path) -> None:
    """The others' metrics still come."""
    (tmp_path / "1.sock").touch()
    worker = Worker(0, tmp_path)
    async with worker.telling(lambda: ONE):
        assert 'a_total{code="200"} 3' in await worker.metrics()


def test_workers_share_the_limits_and_not_the_socket() -> None:
    """Half each; no limit stays none."""
    config = Config(max_requests_inflight=401, max_mutating_requests_inflight=0, paths_socket="/run/apiserver.sock")
    first, second = (Worker(number, Path("/x")).configured(config, 2) for number in (0, 1))
    assert (first.max_requests_inflight, first.max_mutating_requests_inflight) == (200, 0)
    assert (first.paths_socket, second.paths_socket) == ("/run/apiserver.sock", "/run/apiserver-1.sock")


def test_an_embedded_store_has_one_worker() -> None:
    """Two would each believe they know all that is in it."""
    with pytest.raises(RemedyError, match="an embedded store belongs to one process"):
        workers.run(Config(workers=2, data_dir="/nowhere"), lambda config, worker: 0)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Three workers on a real etcd."""
    etcd = EtcdServer(tmp_path)
    await etcd.start()
    port = free_port()
    (tmp_path / "tokens.csv").write_text("t,admin,1,system:masters\n")
    argv = (
        f"--secure-port={port}", "--bind-address=127.0.0.1", "--workers=3", f"--cert-dir={tmp_path}/certs",
        f"--etcd-servers={etcd.endpoint}", f"--etcd-cafile={tmp_path}/ca.crt", f"--etcd-certfile={tmp_path}/client.crt",
        f"--etcd-keyfile={tmp_path}/client.key", f"--token-auth-file={tmp_path}/tokens.csv",
        "--authorization-mode=RBAC",
    )  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "pynetes.cmd.main", "apiserver", *argv])  # noqa: ASYNC220 (its wait must end with the test)
    try:
        yield f"https://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(30)
        await etcd.kill()


class Asking:
    """A connection of its own for every request, so that the kernel picks the worker anew."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE

    async def __call__(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        connector = aiohttp.TCPConnector(ssl=self._context, force_close=True)
        headers = {"Authorization": "Bearer t"}
        async with (
            aiohttp.ClientSession(connector=connector, headers=headers) as session,
            session.request(method, self._url + path, json=body) as answer,
        ):
            return answer.status, await answer.text()

    async def until_ready(self) -> None:
        """Within half a minute."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if (await self("GET", "/readyz"))[0] == 200:
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError("not ready")


@pytest.mark.root
async def test_a_read_shows_every_write_whichever_worker_took_it(
    server: tuple[str, "subprocess.Popen[bytes]"],
) -> None:
    """Reads through other workers, right after a write was acknowledged, are never behind it."""
    url, _ = server
    ask = Asking(url)
    await ask.until_ready()
    path = "/api/v1/namespaces/default/configmaps"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {"n": "0"}}
    status, said = await ask("POST", path, made)
    assert status == 201, said
    for number in range(1, 25):
        status, said = await ask("PUT", f"{path}/shared", {**made, "data": {"n": str(number)}})
        assert status == 200, said
        for _, text in await asyncio.gather(*(ask("GET", f"{path}/shared") for _ in range(4))):
            assert f'"n":"{number}"' in text
    _, text = await ask("GET", "/metrics")
    puts = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("apiserver_request_total{") and 'resource="configmaps"' in line and 'verb="PUT"' in line
    ]
    assert sum(puts) == 24


@pytest.mark.root
async def test_a_killed_worker_comes_back_and_the_others_serve_meanwhile(
    server: tuple[str, "subprocess.Popen[bytes]"],
) -> None:
    """And when the first process goes, none stays."""
    url, process = server
    ask = Asking(url)
    await ask.until_ready()
    before = _children(process.pid)
    assert len(before) == 3
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while before[0] in (after := _children(process.pid)) or len(after) < 3:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await ask.until_ready()
    process.kill()
    process.wait()
    while any(Path(f"/proc/{pid}/status").exists() for pid in after) and time.monotonic() < deadline + 20:
        await asyncio.sleep(0.05)
    assert not [pid for pid in after if Path(f"/proc/{pid}/status").exists()]


def _children(pid: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
