"""What devices have in common: capacity that several claims take from one device, and counters that partitions of one
piece of hardware take from a common set (KEP-5075, KEP-4815). Pure.

A device that allows several allocations is never taken as a whole: each request takes some of its capacities. A device
that consumes counters is one of several ways to cut the same hardware: it can be had as long as the counters suffice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pynetes.machinery import quantity
from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import Quantity


class Id(NamedTuple):
    """A device's name in the cluster."""

    driver: str
    pool: str
    device: str


class CounterName(NamedTuple):
    """A counter's name in the cluster."""

    driver: str
    pool: str
    set: str
    counter: str


#: What a request takes of a device's capacities.
Share = dict[str, Quantity]


class Unsuited(Exception):
    """The device has not what the request asks of its capacities."""


@dataclass
class Taken:
    """What claims have: whole devices, how often those that can be shared, and how much of their capacities."""

    whole: set[Id] = field(default_factory=set)
    shares: Counter[Id] = field(default_factory=Counter)
    capacity: dict[Id, Share] = field(default_factory=dict)

    def __contains__(self, device: object) -> bool:
        """Whether anybody has any of it."""
        return device in self.whole or (isinstance(device, Id) and self.shares[device] > 0)

    def copy(self) -> "Taken":
        """A copy to try something with."""
        capacity = {device: dict(share) for device, share in self.capacity.items()}
        return Taken(set(self.whole), Counter(self.shares), capacity)

    def add(self, device: Id, share: Share | None) -> None:
        """Take a device, or a share of it."""
        if share is None:
            self.whole.add(device)
            return
        self.shares[device] += 1
        before = self.capacity.setdefault(device, {})
        for name, amount in share.items():
            before[name] = before[name] + amount if name in before else amount

    def remove(self, device: Id, share: Share | None) -> None:
        """Give it back."""
        if share is None:
            self.whole.discard(device)
            return
        self.shares[device] -= 1
        for name, amount in share.items():
            self.capacity[device][name] -= amount

    def devices(self) -> set[Id]:
        """All of which somebody has some."""
        return self.whole | {device for device, count in self.shares.items() if count > 0}


def count(taken: Taken, claims: Iterable[Object]) -> None:
    """Add what allocated claims have; administrators' access takes nothing away."""
    for claim in claims:
        allocation = (claim.get("status") or {}).get("allocation") or {}
        for one in (allocation.get("devices") or {}).get("results") or ():
            if not one.get("adminAccess"):
                share = None
                if one.get("shareID"):
                    share = {name: quantity.parse(text) for name, text in (one.get("consumedCapacity") or {}).items()}
                taken.add(Id(one["driver"], one["pool"], one["device"]), share)


def share_of(device: Object, wanted: Mapping[str, str], driver: str) -> Share | None:
    """What a request takes of a device, None for the whole of it. Raises Unsuited.

    A capacity that the request does not name is taken whole, or by its policy's default."""
    capacity = {_full(name, driver): one for name, one in (device.get("capacity") or {}).items()}
    asked = {_full(name, driver): quantity.parse(text) for name, text in wanted.items()}
    missing = asked.keys() - capacity.keys()
    if missing:
        raise Unsuited(f"no capacity {', '.join(sorted(missing))}")
    if not device.get("allowMultipleAllocations"):
        if any(quantity.parse(capacity[name]["value"]) < least for name, least in asked.items()):
            raise Unsuited("not enough capacity")
        return None
    return {
        short: _amount(one, asked.get(_full(short, driver))) for short, one in (device.get("capacity") or {}).items()
    }


def _full(name: str, driver: str) -> str:
    return name if "/" in name else f"{driver}/{name}"


def _amount(capacity: Object, asked: Quantity | None) -> Quantity:
    """How much of one capacity a request takes: what it asks for, rounded up to what the policy allows."""
    whole = quantity.parse(capacity["value"])
    policy = capacity.get("requestPolicy") or {}
    if asked is None:
        asked = quantity.parse(policy["default"]) if policy.get("default") is not None else whole
    if values := policy.get("validValues"):
        suited = [each for each in map(quantity.parse, values) if not each < asked]
        if not suited:
            raise Unsuited("more than the largest valid value")
        asked = min(suited)
    elif allowed := policy.get("validRange"):
        asked = _in_range(allowed, asked)
    if whole < asked:
        raise Unsuited("not enough capacity")
    return asked


def _in_range(allowed: Object, asked: Quantity) -> Quantity:
    least = quantity.parse(allowed.get("min") or "0")
    if asked < least:
        asked = least
    if allowed.get("step"):
        step = quantity.parse(allowed["step"])
        # Whole steps from the least; the numbers are exact.
        over = -(-(asked - least).nanos // step.nanos) * step.nanos
        asked = Quantity(least.nanos + over, asked.kind)
    if allowed.get("max") is not None and quantity.parse(allowed["max"]) < asked:
        raise Unsuited("more than the range allows")
    return asked


def has_room(device: Object, share: Share, taken: Share) -> bool:
    """Whether a device has the share left."""
    for name, amount in share.items():
        whole = quantity.parse(device["capacity"][name]["value"])
        if whole < (taken[name] + amount if name in taken else amount):
            return False
    return True


@dataclass(frozen=True)
class Counters:
    """The counters of all pools, and what each device takes of them while anybody has it."""

    limits: dict[CounterName, Quantity] = field(default_factory=dict)
    costs: dict[Id, dict[CounterName, Quantity]] = field(default_factory=dict)

    def add(self, spec: Object) -> None:
        """Learn from a slice's spec."""
        driver, pool = spec["driver"], spec["pool"]["name"]
        for one in spec.get("sharedCounters") or ():
            for name, counter in (one.get("counters") or {}).items():
                self.limits[CounterName(driver, pool, one["name"], name)] = quantity.parse(counter["value"])
        for device in spec.get("devices") or ():
            if device.get("consumesCounters"):
                self.costs[Id(driver, pool, device["name"])] = {
                    CounterName(driver, pool, one["counterSet"], name): quantity.parse(counter["value"])
                    for one in device["consumesCounters"]
                    for name, counter in (one.get("counters") or {}).items()
                }

    def suffice(self, device: Id, taken: Taken) -> bool:
        """Whether a device can be had next to what is taken; a counter that nobody offers never suffices."""
        costs = self.costs.get(device)
        if not costs or device in taken:
            return True
        left = {name: self.limits.get(name, Quantity(0)) for name in costs}
        for other in taken.devices():
            for name, amount in self.costs.get(other, {}).items():
                if name in left:
                    left[name] -= amount
        return all(not left[name] < amount for name, amount in costs.items())
