"""Rules as data, and the difference between two states of them.

A forward's rules are chains of its own, sets of its own, and claims on places that all forwards share: an element of a
verdict map (nftables), a rule in a shared chain (iptables). Two Services may claim one place, such as the same external
IP and port; the one whose name sorts first has it, until it goes. Without that, the second claim would fail the whole
transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Place(NamedTuple):
    """A key in a shared container: the map service-ips and "10.96.0.1 . tcp . 443"."""

    container: str
    key: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What one forward needs in the kernel."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Set name → declaration. A set of another declaration has to have another name.
    sets: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[Place, str] = field(default_factory=dict)


@dataclass(slots=True)
class Difference:
    """What has to be done, to be rendered as one transaction."""

    #: Chains to be made or filled anew, with all their rules.
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    new_chains: set[str] = field(default_factory=set)
    gone_chains: set[str] = field(default_factory=set)
    new_sets: dict[str, str] = field(default_factory=dict)
    gone_sets: set[str] = field(default_factory=set)
    #: Claims to be taken back, with the value they had, and to be made; a change of value is both.
    gone_claims: dict[Place, str] = field(default_factory=dict)
    new_claims: dict[Place, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.chains, self.gone_chains, self.new_sets, self.gone_sets, self.gone_claims, self.new_claims))


class State:
    """What the kernel has been told. `update` changes it and says what to tell the kernel now."""

    def __init__(self) -> None:
        self._rules: dict[str, Rules] = {}
        self._claims: dict[Place, dict[str, str]] = {}

    def update(self, changes: Mapping[str, Rules | None]) -> Difference:
        """Replace the rules of owners (None: they have none any more)."""
        found = Difference()
        touched: dict[Place, str | None] = {}
        for owner, new in changes.items():
            old = self._rules.get(owner, _NONE)
            new = new or _NONE
            _chains(found, old, new)
            found.new_sets.update({name: text for name, text in new.sets.items() if name not in old.sets})
            found.gone_sets.update(old.sets.keys() - new.sets.keys())
            self._move_claims(owner, old, new, touched)
            if new is _NONE:
                self._rules.pop(owner, None)
            else:
                self._rules[owner] = new
        for place, before in touched.items():
            after = self._holder(place)
            if before != after:
                if before is not None:
                    found.gone_claims[place] = before
                if after is not None:
                    found.new_claims[place] = after
        return found

    def chains(self) -> Iterable[str]:
        """The names of all chains there are."""
        return (name for rules in self._rules.values() for name in rules.chains)

    def _move_claims(self, owner: str, old: Rules, new: Rules, touched: dict[Place, str | None]) -> None:
        for place in old.claims.keys() | new.claims.keys():
            if old.claims.get(place) == new.claims.get(place):
                continue
            touched.setdefault(place, self._holder(place))
            if place in new.claims:
                self._claims.setdefault(place, {})[owner] = new.claims[place]
            else:
                claimants = self._claims[place]
                del claimants[owner]
                if not claimants:
                    del self._claims[place]

    def _holder(self, place: Place) -> str | None:
        claimants = self._claims.get(place)
        return claimants[min(claimants)] if claimants else None


_NONE = Rules()


def _chains(found: Difference, old: Rules, new: Rules) -> None:
    for name, lines in new.chains.items():
        if old.chains.get(name) != lines:
            found.chains[name] = lines
        if name not in old.chains:
            found.new_chains.add(name)
    found.gone_chains.update(old.chains.keys() - new.chains.keys())
