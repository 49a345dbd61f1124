"""The records there are, by who contributed them, and which names exist because something lies below them."""

from collections import Counter
from collections.abc import Iterator, Mapping

from pynetes.dns.records import Name, Records

_NOTHING: Mapping[int, tuple[bytes, ...]] = {}


class Zone:
    """The cluster's zone and the reverse names. Updated by owner; every update says which names it touched."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        #: Grows with every change; the SOA's serial.
        self.serial = 1
        self._owned: dict[str, Records] = {}
        self._sets: dict[str, dict[int, dict[str, tuple[bytes, ...]]]] = {}
        self._existing: Counter[str] = Counter()

    def update(self, owner: str, new: Records) -> set[str]:
        """Replace an owner's records by new ones; returns the names whose answers may have changed."""
        old = self._owned.get(owner, {})
        touched: set[str] = set()
        for name in old.keys() - new.keys():
            self._drop(owner, name)
            touched.update(self._upwards(name.name))
        for name, data in new.items():
            if old.get(name) != data:
                self._put(owner, name, data)
                touched.update(self._upwards(name.name))
        if new:
            self._owned[owner] = new
        else:
            self._owned.pop(owner, None)
        if touched:
            self.serial += 1
        return touched

    def exists(self, name: str) -> bool:
        """Whether the name has records or something below it has."""
        return name in self._existing

    def get(self, name: str, kind: int) -> tuple[bytes, ...]:
        """A record set, all owners' data together; () if there is none."""
        return tuple(data for owned in self._sets.get(name, {}).get(kind, {}).values() for data in owned)

    def types(self, name: str) -> list[int]:
        """The types of records a name has."""
        return sorted(self._sets.get(name, ()))

    def contains(self, name: str) -> bool:
        """Whether we alone answer for the name."""
        return name == self.domain or name.endswith("." + self.domain)

    def __len__(self) -> int:
        return sum(len(types) for types in self._sets.values())

    def _put(self, owner: str, name: Name, data: tuple[bytes, ...]) -> None:
        owners = self._sets.setdefault(name.name, {}).setdefault(name.type, {})
        if owner not in owners:
            self._existing.update(self._upwards(name.name))
        owners[owner] = data

    def _drop(self, owner: str, name: Name) -> None:
        types = self._sets[name.name]
        del types[name.type][owner]
        if not types[name.type]:
            del types[name.type]
            if not types:
                del self._sets[name.name]
        for above in self._upwards(name.name):
            self._existing[above] -= 1
            if not self._existing[above]:
                del self._existing[above]

    def _upwards(self, name: str) -> Iterator[str]:
        """The name and those above it, up to the zone's."""
        yield name
        while self.contains(name) and name != self.domain:
            name = name.partition(".")[2]
            yield name
