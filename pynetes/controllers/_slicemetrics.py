"""What the two controllers that write EndpointSlices count, under upstream's names."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pynetes.component.metrics import REGISTRY, exponential
from pynetes.controllers import _slices as slices
from pynetes.machinery.meta import Key, Object

_PER_SYNC = exponential(2, 2, 15)


class Planned(NamedTuple):
    """What the last look at a Service wanted of it."""

    endpoints: int
    #: Slices that would do, and those that there are after the plan.
    needed: int
    slices: int
    distribution: str


class SliceMetrics:
    """Of one controller; subsystem begins the names."""

    def __init__(self, subsystem: str) -> None:
        self._planned: dict[Key, Planned] = {}
        self._added = REGISTRY.histogram(
            f"{subsystem}_endpoints_added_per_sync", "Number of endpoints added on each Service sync", buckets=_PER_SYNC
        )
        self._removed = REGISTRY.histogram(
            f"{subsystem}_endpoints_removed_per_sync",
            "Number of endpoints removed on each Service sync",
            buckets=_PER_SYNC,
        )
        self._changes = REGISTRY.counter(f"{subsystem}_changes", "Number of EndpointSlice changes", "operation")
        for name, text, member in (
            ("endpoints_desired", "Number of endpoints desired", "endpoints"),
            ("desired_endpoint_slices", "Number of EndpointSlices that would exist with perfect allocation", "needed"),
            ("num_endpoint_slices", "Number of EndpointSlices", "slices"),
        ):
            REGISTRY.gauge(f"{subsystem}_{name}", text).reads(partial(self._sum, member))

    def _sum(self, member: str) -> Iterable[tuple[tuple[str, ...], float]]:
        return [((), float(sum(getattr(each, member) for each in self._planned.values())))]

    def distributions(self) -> Iterable[tuple[tuple[str, ...], float]]:
        """How many Services distribute their traffic in which way, of those that say so."""
        return Counter((each.distribution,) for each in self._planned.values() if each.distribution).items()

    def planned(
        self,
        key: Key,
        existing: Sequence[Object],
        wanted: Mapping[slices.Group, Sequence[Object]],
        plan: slices.Plan,
        distribution: str = "",
    ) -> None:
        """Count a plan that was carried out."""
        before = {identity for slice_ in existing for identity in map(slices.identity, slice_.get("endpoints") or ())}
        after = {identity for endpoints in wanted.values() for identity in map(slices.identity, endpoints)}
        self._added.observe(len(after - before))
        self._removed.observe(len(before - after))
        for operation, changed in zip(("create", "update", "delete"), plan, strict=True):
            if changed:
                self._changes.inc(operation, by=len(changed))
        self._planned[key] = Planned(
            sum(map(len, wanted.values())),
            sum(max(1, -(-len(endpoints) // slices.LARGEST)) for endpoints in wanted.values()),
            len(existing) + len(plan.create) - len(plan.delete),
            distribution,
        )

    def forget(self, key: Key) -> None:
        """The Service is gone."""
        self._planned.pop(key, None)
