"""What the local cloud says to haproxy, and what it waits for: an address is told only when it answers."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pynetes.cloud.localcloud import haproxy
from pynetes.cloud.localcloud.config import Config
from pynetes.cloud.localcloud.plumbing import Host
from pynetes.machinery.meta import Object
from pynetes.paths.scene import eventually
from tests.cloud import clouds


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Sockets in a folder of the test's."""
    given = clouds.config(tmp_path)
    return replace(given, haproxy_master=str(tmp_path / "m.sock"), haproxy_stats=str(tmp_path / "s.sock"))


class Master:
    """Plays haproxy's sockets; `reply` decides what is answered, None closes without a word."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held = asyncio.Event()
        self.held.set()
        self.reply: Callable[[str], str | None] = lambda _question: "done\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = (await reader.readline()).decode().strip()
        self.asked.append(question)
        await self.held.wait()
        said = self.reply(question)
        if said is not None:
            writer.write(said.encode())
        writer.close()

    @asynccontextmanager
    async def at(self, path: str) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self.serve, path)
        try:
            yield
        finally:
            server.close()
            Path(path).unlink(missing_ok=True)


async def test_without_haproxy_the_file_is_enough(config: Config) -> None:
    """It reads it when it starts."""
    host = Host(config)
    await host.balance("one")
    assert Path(config.haproxy_config).read_text() == "one" and await host.health() == {}


async def test_a_reload_is_waited_for(config: Config) -> None:
    """Not before the new configuration is at work is it said to be."""
    host, master = Host(config), Master()
    async with master.at(config.haproxy_master):
        await host.balance("one")
        assert master.asked == ["reload", "show proc"]
        await host.balance("one")
        assert master.asked == ["reload", "show proc"]


async def test_those_that_come_meanwhile_share_the_next_reload(config: Config) -> None:
    """Twenty balancers at once are two reloads, and the last text wins."""
    host, master = Host(config), Master()
    async with master.at(config.haproxy_master), asyncio.TaskGroup() as group:
        master.held.clear()
        group.create_task(host.balance("first"))
        await eventually(lambda: _is(bool(master.asked)), "haproxy was not asked")
        for number in range(20):
            group.create_task(host.balance(f"text {number}"))
        await asyncio.sleep(0)
        master.held.set()
    assert master.asked.count("reload") == 2 and Path(config.haproxy_config).read_text() == "text 19"


async def _is(value: bool) -> bool:
    return value


async def test_a_socket_that_refuses_is_tried_again(config: Config) -> None:
    """While haproxy changes over, its socket is there and refuses."""
    host, master = Host(config), Master()
    with socket.socket(socket.AF_UNIX) as refusing:
        refusing.bind(config.haproxy_master)
        async with asyncio.TaskGroup() as group:
            balancing = group.create_task(host.balance("one"))
            await eventually(lambda: _is(Path(config.haproxy_config).exists()), "no file")
            async with master.at(f"{config.haproxy_master}.new"):
                # In one step: without any socket, haproxy would be taken for one that does not run.
                Path(f"{config.haproxy_master}.new").rename(config.haproxy_master)
                await balancing
    assert master.asked == ["reload", "show proc"]


async def test_a_reload_whose_answer_never_comes_counts(config: Config) -> None:
    """The connection dies with the old process: the reload is under way, and is not asked for twice."""
    host, master = Host(config), Master()
    master.reply = lambda question: None if question == "reload" else "done\n"
    async with master.at(config.haproxy_master):
        await host.balance("one")
    assert master.asked == ["reload", "show proc"]


async def test_a_service_that_starts_again_reloads_nothing(config: Config) -> None:
    """Its file is what it wants: no connection of any balancer is touched."""
    await Host(config).balance("one")
    master = Master()
    async with master.at(config.haproxy_master):
        await Host(config).balance("one")
    assert master.asked == []


async def test_the_health_of_targets_is_haproxys(config: Config) -> None:
    """Section, node, state; what follows the state is left out."""
    host, master = Host(config), Master()
    master.reply = lambda _: "# pxname,svname,status,weight\na:80,n1,UP,1\na:80,n2,DOWN 1/2,1\nb:80,n1,no check,1\n\n"
    async with master.at(config.haproxy_stats):
        assert await host.health() == {"a:80": {"n1": "UP", "n2": "DOWN"}, "b:80": {"n1": "no"}}


def balancer(port: int, node_port: int, health: int, **more: object) -> Object:
    """One on 127.0.0.1."""
    return {
        "name": "a",
        "address": "127.0.0.1",
        "listeners": [{"name": "", "protocol": "TCP", "port": port, "nodePort": node_port}],
        "targets": [{"node": "n1", "instance": "i-n1", "address": "127.0.0.1"}],
        "health": {"port": health, "path": ""},
        **more,
    }


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("haproxy"), reason="needs haproxy")
async def test_a_balancer_answers_as_soon_as_it_is_said_to(config: Config, tmp_path: Path) -> None:
    """A real haproxy: after each change, the first connection is answered by the new configuration."""
    async with _echo() as backend:
        ports = [_free() for _ in range(3)]
        Path(config.haproxy_config).write_text(haproxy.configuration([], stats=config.haproxy_stats))
        argv = ["haproxy", "-W", "-db", "-S", f"{config.haproxy_master},mode,600", "-f", config.haproxy_config]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: ASYNC220 (its wait must end with the test)
            try:
                await eventually(lambda: _is(Path(config.haproxy_stats).exists()), "haproxy does not start")
                host = Host(config)
                for port in ports:
                    text = haproxy.configuration([balancer(port, backend, backend)], stats=config.haproxy_stats)
                    await host.check(text)
                    await host.balance(text)
                    assert await _asked(port) == b"hello"
                refusing = balancer(ports[0], backend, backend, sourceRanges=["192.0.2.0/24"])
                await host.balance(haproxy.configuration([refusing], stats=config.haproxy_stats))
                assert await _asked(ports[0]) == b""
            finally:
                process.terminate()


@asynccontextmanager
async def _echo() -> AsyncIterator[int]:
    async def hello(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _asked(port: int) -> bytes:
    """What comes back; nothing from a balancer that refuses, which resets even while the connection is made."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionResetError:
        return b""
    try:
        return await reader.read(16)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
