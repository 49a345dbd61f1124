"""The devices of a node and who has them, as values; which ones a container gets is decided here. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Device(NamedTuple):
    """A device as its plugin lists it; nodes are those of NUMA that it is near to."""

    id: str
    healthy: bool
    nodes: tuple[int, ...] = ()


class Shortage(Exception):
    """There are not enough healthy devices."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """What one container of a pod has of one resource; response is the plugin's answer, as it was encoded."""

    uid: str
    container: str
    resource: str
    ids: tuple[str, ...]
    response: bytes = b""


@dataclass(kw_only=True)
class Pool:
    """All devices by resource, and the allocations."""

    devices: dict[str, dict[str, Device]] = field(default_factory=dict)
    allocations: list[Allocation] = field(default_factory=list)

    def listed(self, resource: str, devices: Iterable[Device]) -> bool:
        """A plugin has listed its devices; whether that changes what the node's status says."""
        fresh = {one.id: one for one in devices}
        before = self.devices.get(resource)
        self.devices[resource] = fresh
        return before != fresh

    def lost(self, resource: str) -> None:
        """The plugin is gone: nobody knows how its devices are."""
        known = self.devices.get(resource, {})
        self.devices[resource] = {name: one._replace(healthy=False) for name, one in known.items()}

    def capacity(self) -> dict[str, int]:
        """How many devices there are, by resource."""
        return {resource: len(devices) for resource, devices in self.devices.items()}

    def allocatable(self) -> dict[str, int]:
        """How many of them are healthy."""
        return {resource: sum(one.healthy for one in devices.values()) for resource, devices in self.devices.items()}

    def of_container(self, uid: str, container: str) -> list[Allocation]:
        """What a container has."""
        return [one for one in self.allocations if one.uid == uid and one.container == container]

    def taken(self, resource: str) -> set[str]:
        """Devices that somebody has."""
        return {device for one in self.allocations if one.resource == resource for device in one.ids}

    def release(self, uid: str) -> bool:
        """A pod is over; whether it had any."""
        kept = [one for one in self.allocations if one.uid != uid]
        changed = len(kept) != len(self.allocations)
        self.allocations = kept
        return changed

    def available(self, resource: str, reusable: Iterable[str] = ()) -> list[str]:
        """Healthy devices that nobody has, and those that the pod's init containers leave over."""
        taken = self.taken(resource) - set(reusable)
        return sorted(one.id for one in self.devices.get(resource, {}).values() if one.healthy and one.id not in taken)


def choose(
    resource: str,
    wanted: int,
    available: Sequence[str],
    *,
    first: Iterable[str] = (),
    preferred: Sequence[str] = (),
    near: Mapping[str, bool] | None = None,
) -> tuple[str, ...]:
    """The devices for a container: those of init containers first, then what the plugin prefers, then the near ones.

    Raises Shortage."""
    free = set(available)
    if len(free) < wanted:
        raise Shortage(
            f"requested number of devices unavailable for {resource}. Requested: {wanted}, Available: {len(free)}"
        )
    if preferred and set(preferred) <= free and len(set(preferred)) == wanted and set(first) <= set(preferred):
        return tuple(sorted(preferred))
    near = near or {}
    rest = sorted(free - set(first), key=lambda one: (not near.get(one, True), one))
    return tuple(sorted([*sorted(set(first) & free), *rest][:wanted]))
