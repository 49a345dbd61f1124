"""Bring rules into the kernel: one transaction with what differs from what it was told last.

When the kernel refuses (somebody else has changed the table), everything is sent anew, as one transaction too, so that
no packet ever meets a half-made table.
"""

from collections.abc import Iterator

from pynetes.component import command
from pynetes.networkpolicy.model import FIXED, Rules

TABLE = "inet pynetes-network-policy"
NFT = ("nft", "-f", "-")
TIMEOUT = 60.0
#: Replies pass, as policies are about who may begin; what the node itself sends or gets never is forwarded.
_BASE = (
    "ct state established,related accept",
    "ip saddr . ip daddr @self-4 accept",
    "ip6 saddr . ip6 daddr @self-6 accept",
    *(
        f"{ip} {side} @local-{family} {ip} {side} != @known-{family} drop"
        for ip, family in (("ip", 4), ("ip6", 6))
        for side in ("saddr", "daddr")
    ),
    "ip saddr vmap @egress-4",
    "ip6 saddr vmap @egress-6",
    "ip daddr vmap @ingress-4",
    "ip6 daddr vmap @ingress-6",
)
NOTHING = Rules()


class Kernel:
    """The table, and what it holds as far as we know."""

    def __init__(self) -> None:
        self._known: Rules | None = None

    async def sync(self, wanted: Rules) -> bool:
        """Make the table what is wanted; whether anything had to be done. Raises CommandError."""
        if self._known is not None:
            lines = list(difference(self._known, wanted))
            if not lines:
                return False
            try:
                await _run(lines)
            except command.CommandError:
                self._known = None
            else:
                self._known = wanted
                return True
        await _run(
            [
                *_fresh(),
                *difference(Rules(sets={name: wanted.sets[name]._replace(elements={}) for name in FIXED}), wanted),
            ]
        )
        self._known = wanted
        return True

    async def verify(self) -> None:
        """Forget what we know if somebody has removed the table."""
        found = await command.run(["nft", "list", "chain", *TABLE.split(), "forward"], check=False, timeout=TIMEOUT)
        if found.code:
            self._known = None


async def remove() -> None:
    """Take the table away, if it is there. Raises CommandError."""
    await _run([f"add table {TABLE}", f"delete table {TABLE}"])


def _fresh() -> Iterator[str]:
    yield from (f"add table {TABLE}", f"delete table {TABLE}", f"add table {TABLE}")
    yield from (_declaration(name, type_) for name, type_ in FIXED.items())
    yield f"add chain {TABLE} forward {{ type filter hook forward priority 0; policy accept; }}"
    yield from (f"add rule {TABLE} forward {rule}" for rule in _BASE)


def _declaration(name: str, type_: str) -> str:
    kind, _, rest = type_.partition(" ")
    return f"add {kind} {TABLE} {name} {{ type {rest}; }}"


def difference(old: Rules, new: Rules) -> Iterator[str]:
    """The commands from one state to the other, each thing made before it is used and unused before it goes."""
    yield from (_declaration(name, each.type) for name, each in new.sets.items() if name not in old.sets)
    yield from (f"add chain {TABLE} {name}" for name in new.chains if name not in old.chains)
    for name, before in old.sets.items():
        after = new.sets[name].elements if name in new.sets else {}
        gone = [key for key, value in before.elements.items() if after.get(key) != value]
        if gone and name in new.sets:
            yield f"delete element {TABLE} {name} {{ {', '.join(gone)} }}"
    for name, lines in new.chains.items():
        if old.chains.get(name) != lines:
            yield f"flush chain {TABLE} {name}"
            yield from (f"add rule {TABLE} {name} {' '.join(line.split())}" for line in lines)
    gone_chains = [name for name in old.chains if name not in new.chains]
    yield from (f"flush chain {TABLE} {name}" for name in gone_chains)
    yield from (f"delete chain {TABLE} {name}" for name in gone_chains)
    yield from (f"delete set {TABLE} {name}" for name in old.sets if name not in new.sets)
    for name, wanted in new.sets.items():
        known = old.sets[name].elements if name in old.sets else {}
        added = [
            f"{key} : {value}" if value else key for key, value in wanted.elements.items() if known.get(key) != value
        ]
        if added:
            yield f"add element {TABLE} {name} {{ {', '.join(added)} }}"


async def _run(lines: list[str]) -> None:
    await command.run(NFT, given="\n".join([*lines, ""]), timeout=TIMEOUT)
