"""What the local cloud does to the machine: haproxy, routes, the wall before the metadata service, disks, instances."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from pynetes.cloud.localcloud.config import Config, Machine
from pynetes.component import logs
from pynetes.component.command import CommandError, run

_LOG = logging.getLogger(__name__)
#: rtnetlink's protocol number on routes of ours, the same as on those that the cluster makes.
ROUTE_PROTOCOL = "80"
#: Where disks have names of their own, as udev gives them.
BY_ID = Path("/dev/disk/by-id")
#: How often haproxy is asked again while it reloads, and how many seconds apart.
ATTEMPTS, STEP = 40, 0.1
ALIVE = "show proc"
#: Seconds that an answer may take; one that was asked for just before a reload never comes.
ANSWER = 0.5


class Plumbing(Protocol):
    """Everything can be repeated. Raises CommandError where the machine will not."""

    async def check(self, text: str) -> None:
        """Whether haproxy would take this configuration."""

    async def balance(self, text: str) -> None:
        """Make haproxy run this configuration, without dropping a connection."""

    async def health(self) -> dict[str, dict[str, str]]:
        """Section → node → state, as haproxy sees it."""

    async def route(self, cidr: str, via: Machine | None, nodes: Sequence[Machine]) -> None:
        """On every node: the network leads to the instance, or (None) nowhere."""

    async def shield(self, machine: Machine, *, open_to_pods: bool) -> None:
        """Keep pods of the instance from its metadata service, or let them."""

    async def instance(self, action: str, machine: Machine) -> None:
        """stop, start or terminate."""

    async def disk(self, path: Path, size: int) -> None:
        """Make the file, or make it larger."""

    async def copy(self, source: Path, target: Path) -> None:
        """Copy a disk, sparse where it is."""

    async def attach(self, path: Path) -> str:
        """A block device over the file; the one that is there already, if there is one."""

    async def detach(self, path: Path) -> None:
        """No block device over the file any more."""

    async def grown(self, device: str) -> None:
        """Tell the device that its file has grown."""

    async def sweep(self, folder: Path, owned: Collection[str]) -> None:
        """Remove the disks of a folder that have no owner: what a crash has left."""


class Host:
    """The machine this runs on."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._loaded = self._wanted = ""
        self._loading = asyncio.Lock()

    async def check(self, text: str) -> None:
        trial = Path(self._config.haproxy_config).with_suffix(".trial")
        trial.parent.mkdir(parents=True, exist_ok=True)
        trial.write_text(text)
        await run(["haproxy", "-c", "-q", "-f", str(trial)])

    async def balance(self, text: str) -> None:
        # Those that come while haproxy reloads share the next reload.
        self._wanted = text
        async with self._loading:
            if self._wanted != self._loaded:
                await self._load(self._wanted)

    async def _load(self, text: str) -> None:
        path = Path(self._config.haproxy_config)
        same = path.exists() and path.read_text() == text
        path.parent.mkdir(parents=True, exist_ok=True)
        if not same:
            fresh = path.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(path)
            if await self._ask(self._config.haproxy_master, "reload") is not None:
                # It answers again when the new configuration is at work.
                await self._ask(self._config.haproxy_master, ALIVE)
        self._loaded = text

    async def _ask(self, socket: str, question: str) -> str | None:
        """haproxy's answer; None when it does not run: it will read its configuration when it starts.

        While it reloads, its socket is there and refuses."""
        for _ in range(ATTEMPTS):
            sent = False
            try:
                async with asyncio.timeout(ANSWER):
                    reader, writer = await asyncio.open_unix_connection(socket)
                    writer.write(f"{question}\n".encode())
                    sent = True
                    # The master's socket stays open after an answer; whether it answers is all that is asked of it.
                    answer = await (reader.read(1 << 16) if question == ALIVE else reader.read())
                    writer.close()
                    return answer.decode()
            except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
                if question == "reload" and sent:
                    return ""
                await asyncio.sleep(STEP)
            except OSError as error:
                _LOG.info(logs.fact("haproxy does not answer", question=question, error=error))
                return None
        _LOG.warning(logs.fact("haproxy refuses", question=question, seconds=ATTEMPTS * STEP))
        return None

    async def health(self) -> dict[str, dict[str, str]]:
        answer = await self._ask(self._config.haproxy_stats, "show stat -1 4 -1") or ""
        rows = [line.split(",") for line in answer.splitlines() if line]
        if not rows:
            return {}
        status = rows[0].index("status")
        found: dict[str, dict[str, str]] = {}
        for row in rows[1:]:
            found.setdefault(row[0], {})[row[1]] = row[status].partition(" ")[0]
        return found

    async def route(self, cidr: str, via: Machine | None, nodes: Sequence[Machine]) -> None:
        for node in nodes:
            if via is None:
                await run(_on(node, "ip", "route", "del", cidr, "proto", ROUTE_PROTOCOL), check=False)
            elif via.name != node.name and via.namespace:
                argv = ("ip", "route", "replace", cidr, "via", via.address, "proto", ROUTE_PROTOCOL)
                await run(_on(node, *argv))

    async def shield(self, machine: Machine, *, open_to_pods: bool) -> None:
        table = f"ip {self._config.table}"
        rules = [f"add table {table}", f"delete table {table}", f"add table {table}"]
        if not open_to_pods:
            rules += [
                f"add chain {table} forward {{ type filter hook forward priority filter - 5; }}",
                f"add rule {table} forward oifname {machine.node_interface} reject with icmp type admin-prohibited",
            ]
        await run(_on(machine, "nft", "; ".join(rules)))

    async def instance(self, action: str, machine: Machine) -> None:
        if self._config.hook:
            await run([*self._config.hook, action, machine.name])

    async def disk(self, path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if file.tell() < size:
                file.truncate(size)

    async def copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        await run(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)])

    async def attach(self, path: Path) -> str:
        known = await self._devices(path)
        device = known[0] if known else (await run(["losetup", "--find", "--show", str(path)])).out.strip()
        # A name of the disk's own: after a reboot its number may be another disk's.
        link = link_of(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(device)
        fresh.replace(link)
        return str(link)

    async def detach(self, path: Path) -> None:
        link_of(path).unlink(missing_ok=True)
        for device in await self._devices(path):
            await run(["losetup", "--detach", device])

    async def _devices(self, path: Path) -> list[str]:
        return (await run(["losetup", "--noheadings", "--output", "NAME", "--associated", str(path)])).out.split()

    async def sweep(self, folder: Path, owned: Collection[str]) -> None:
        for path in folder.glob("*.img"):
            if path.stem not in owned:
                _LOG.warning(logs.fact("removing a disk that nobody owns", path=path))
                await self.detach(path)
                path.unlink(missing_ok=True)

    async def grown(self, device: str) -> None:
        await run(["losetup", "--set-capacity", device])


def link_of(path: Path) -> Path:
    """The name of a disk's device, from its file."""
    return BY_ID / f"pynetes-{path.stem}"


def _on(machine: Machine, *argv: str) -> list[str]:
    """The command line on an instance."""
    return ["nsenter", f"--net=/run/netns/{machine.namespace}", "--", *argv] if machine.namespace else list(argv)


class Paper:
    """Does nothing but note it: the cloud without a machine, for tests of its API."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.text = ""
        self.failing = ""

    def _note(self, sentence: str) -> None:
        if self.failing and sentence.startswith(self.failing):
            raise CommandError(f"{sentence}: no")
        self.done.append(sentence)

    async def check(self, text: str) -> None:
        if self.failing == "check":
            raise CommandError("check: no")

    async def balance(self, text: str) -> None:
        if text != self.text:
            self._note("balance")
            self.text = text

    async def health(self) -> dict[str, dict[str, str]]:
        return {}

    async def route(self, cidr: str, via: Machine | None, nodes: Sequence[Machine]) -> None:
        self._note(f"route {cidr} {via.name if via else 'gone'}")

    async def shield(self, machine: Machine, *, open_to_pods: bool) -> None:
        self._note(f"shield {machine.name} {'open' if open_to_pods else 'closed'}")

    async def instance(self, action: str, machine: Machine) -> None:
        self._note(f"{action} {machine.name}")

    async def disk(self, path: Path, size: int) -> None:
        self._note(f"disk {path.name} {size}")

    async def copy(self, source: Path, target: Path) -> None:
        self._note(f"copy {source.name} {target.name}")

    async def attach(self, path: Path) -> str:
        self._note(f"attach {path.name}")
        return f"/dev/{path.stem}"

    async def detach(self, path: Path) -> None:
        self._note(f"detach {path.name}")

    async def grown(self, device: str) -> None:
        self._note(f"grown {device}")

    async def sweep(self, folder: Path, owned: Collection[str]) -> None:
        self._note(f"sweep {' '.join(sorted(owned))}".strip())
