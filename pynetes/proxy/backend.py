"""Bring rules into the kernel: one transaction per sync, with the difference only.

When the kernel refuses a difference (something else has changed the tables), everything is sent once more, still as
one transaction. A restart of the proxy starts with that too; connections live on, since the kernel tracks them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pynetes.proxy import iptables, kernel, nftables
from pynetes.proxy.kernel import Note
from pynetes.proxy.model import Forward
from pynetes.proxy.nftables import Settings
from pynetes.proxy.rules import Rules, State
from pynetes.proxy.tracker import Changes, PortKey

NFT = ("nft", "-f", "-")
IPTABLES_TABLES = ("nat", "filter")


class Backend(Protocol):
    """One way of telling the kernel, in one address family."""

    async def start(self, changes: Changes) -> str:
        """Replace whatever an earlier process left by these forwards; says what was done."""

    async def sync(self, changes: Changes, *, cause: int) -> str:
        """Bring changes into the kernel; says what was done. Raises KernelError, having changed nothing.

        cause is the revision of the newest object behind the changes."""

    async def present(self) -> bool:
        """Whether our tables are still there."""

    async def cleanup(self) -> None:
        """Remove all of it."""


class Nftables:
    """The table `kube-proxy` of one family."""

    def __init__(self, family: int, settings: Settings) -> None:
        self.family, self.settings = family, settings
        self._state = State()

    async def start(self, changes: Changes) -> str:
        self._state = State()
        difference = self._state.update(self._render(changes))
        lines = [*nftables.base(self.family, self.settings), *nftables.script(self.family, difference)]
        return await self._run(lines, Note(f"replace the table by one of {len(changes)} service ports"))

    async def sync(self, changes: Changes, *, cause: int) -> str:
        difference = self._state.update(self._render(changes))
        if not difference:
            return ""
        return await self._run(nftables.script(self.family, difference), _note(changes, cause))

    async def present(self) -> bool:
        try:
            await kernel.run(["nft", "list", "chain", *nftables.table(self.family).split(), "services"])
        except kernel.KernelError:
            return False
        return True

    async def cleanup(self) -> None:
        t = nftables.table(self.family)
        await kernel.run(NFT, f"add table {t}\ndelete table {t}\n", note=Note("remove the table"))

    def _render(self, changes: Changes) -> Mapping[str, Rules | None]:
        return {_owner(key): nftables.render(new, self.settings) if new else None for key, (_, new) in changes.items()}

    async def _run(self, lines: Iterable[str], note: Note) -> str:
        await kernel.run(NFT, "\n".join([*lines, ""]), note=note)
        return note.action


class Iptables:
    """The KUBE- chains of one family."""

    def __init__(self, family: int, settings: Settings) -> None:
        self.family, self.settings = family, settings
        self._state = State()
        self._program = "ip6tables" if family == 6 else "iptables"

    @property
    def _restore(self) -> Sequence[str]:
        return (f"{self._program}-restore", "-w", "5", "--noflush")

    async def _save(self) -> str:
        saved = [await kernel.run([f"{self._program}-save", "-t", table]) for table in IPTABLES_TABLES]
        return "\n".join(saved)

    async def start(self, changes: Changes) -> str:
        self._state = State()
        difference = self._state.update(self._render(changes))
        text = iptables.full(self.family, self.settings, difference, await self._save())
        note = Note(f"replace the chains by those of {len(changes)} service ports")
        await kernel.run(self._restore, text, note=note)
        return note.action

    async def sync(self, changes: Changes, *, cause: int) -> str:
        difference = self._state.update(self._render(changes))
        if not difference:
            return ""
        note = _note(changes, cause)
        await kernel.run(self._restore, iptables.script(difference), note=note)
        return note.action

    async def present(self) -> bool:
        try:
            await kernel.run([self._program, "-w", "-t", "nat", "-S", "KUBE-SERVICES", "1"])
        except kernel.KernelError:
            return False
        return True

    async def cleanup(self) -> None:
        if text := iptables.removal(await self._save()):
            await kernel.run(self._restore, text, note=Note("remove the chains"))

    def _render(self, changes: Changes) -> Mapping[str, Rules | None]:
        return {_owner(key): iptables.render(new, self.settings) if new else None for key, (_, new) in changes.items()}


MODES: Mapping[str, type[Nftables] | type[Iptables]] = {"nftables": Nftables, "iptables": Iptables}


def _note(changes: Changes, cause: int) -> Note:
    names = sorted({f"{key.namespace}/{key.service}" for key in changes})
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Note(f"sync {shown}", f"services {names[0]}" if len(names) == 1 else "", cause)


def _owner(key: PortKey) -> str:
    return "/".join(map(str, key))


def of_family(changes: Changes, family: int) -> Changes:
    """The changes of one address family."""
    return {key: change for key, change in changes.items() if key.family == family}


def stale_udp(changes: Changes) -> list[tuple[str, ...]]:
    """conntrack's arguments for UDP flows that would outlive what they were sent to.

    A flow goes on to a removed endpoint for as long as its client keeps sending; and a flow that began while there was
    no endpoint is remembered as untranslated."""
    found: list[tuple[str, ...]] = []
    for old, new in changes.values():
        forward = old or new
        if forward is None or forward.protocol != "udp":
            continue
        before = set(old.cluster) if old else set()
        after = set(new.cluster) if new else set()
        for target in sorted(before - after):
            found += [(*front, "--dst-nat", target.ip) for front in _fronts(forward)]
        if not before and after:
            found += _fronts(forward)
    return found


def _fronts(forward: Forward) -> list[tuple[str, ...]]:
    addresses = (forward.cluster_ip, *forward.external_ips, *forward.load_balancer_ips)
    fronts: list[tuple[str, ...]] = [("--orig-dst", ip, "--orig-port-dst", str(forward.port)) for ip in addresses]
    if forward.node_port:
        fronts.append(("--orig-port-dst", str(forward.node_port)))
    return fronts
