"""Publishes how much room a driver has left, per StorageClass and place, so that the scheduler sends no pod in vain.

The driver is asked once a minute and after volumes came or went. What it says is rounded down: on a disk that others
write to as well, every byte would be a write to the API server a minute, and nobody decides by bytes.
"""

from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256

from pynetes.apis.core import nodes
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.storage import csidrivers, csinodes, csistoragecapacities, storageclasses
from pynetes.client.controller import Context, Controller, Foreseen, Lookup, Watch
from pynetes.csi.controller import parameters, topology
from pynetes.csi.controller.plugin import Plugin
from pynetes.machinery import quantity
from pynetes.machinery.meta import Key, Object
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import DriverFailure, capability

PERIOD = timedelta(minutes=1)
#: Bytes that published room is a multiple of.
GRAIN = 64 << 20
NAMESPACE = "kube-system"
DRIVER_LABEL = "csi.storage.k8s.io/drivername"


class Capacity:
    """See the module."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    async def reconcile(self, ctx: Context, key: Key) -> timedelta | None:
        """Publish the room for a class."""
        driver = await ctx.cached(csidrivers.RESOURCE, Key("", self._plugin.name))
        class_ = await ctx.cached(storageclasses.RESOURCE, key)
        known = {one["metadata"]["name"]: one for one in self._published(ctx, key.name)}
        wanted = class_ is not None and class_["provisioner"] == self._plugin.name
        if not wanted or driver is None or not driver["spec"].get("storageCapacity"):
            for one in known.values():
                await ctx.delete(csistoragecapacities.RESOURCE, one)
            return None
        assert class_ is not None
        for place in await self._places(ctx):
            made = await self._described(class_, place)
            present = known.pop(made["metadata"]["name"], None)
            if present is None:
                await ctx.create(csistoragecapacities.RESOURCE, made)
            elif any(present.get(member) != made.get(member) for member in ("capacity", "maximumVolumeSize")):
                await ctx.update(csistoragecapacities.RESOURCE, present | made | {"metadata": present["metadata"]})
        if self._plugin.place is None:
            for one in known.values():
                await ctx.delete(csistoragecapacities.RESOURCE, one)
        return PERIOD

    def _published(self, ctx: Context, class_: str) -> list[Object]:
        found = ctx.listed(csistoragecapacities.RESOURCE, namespace=NAMESPACE)
        return [
            one
            for one in found
            if one["storageClassName"] == class_
            and (one["metadata"].get("labels") or {}).get(DRIVER_LABEL) == self._plugin.name
        ]

    async def _places(self, ctx: Context) -> list[topology.Segments]:
        if self._plugin.place is not None:
            return [tuple(sorted(self._plugin.place.items()))]
        found = set()
        for csi_node in ctx.listed(csinodes.RESOURCE):
            node = await ctx.cached(nodes.RESOURCE, Key("", csi_node["metadata"]["name"]))
            place = topology.segments_of(node, csi_node, self._plugin.name) if node else None
            if place is not None:
                found.add(place)
        return sorted(found)

    async def _described(self, class_: Object, place: topology.Segments) -> Object:
        given = class_.get("parameters") or {}
        request = pb.GetCapacityRequest(
            volume_capabilities=[capability(["ReadWriteOnce"], fs_type=given.get(parameters.FS_TYPE, ""))],
            parameters=parameters.for_driver(given),
        )
        if place:
            request.accessible_topology.CopyFrom(pb.Topology(segments=dict(place)))
        try:
            response = await self._plugin.driver.controller("GetCapacity", request, timeout=10.0)
        except DriverFailure as error:
            raise Foreseen(f"{self._plugin.name} does not say its capacity: {error}") from error
        name = class_["metadata"]["name"]
        text = f"{self._plugin.name} {name} {place}"
        made: Object = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIStorageCapacity",
            "metadata": {
                "name": f"csisc-{sha256(text.encode()).hexdigest()[:12]}",
                "namespace": NAMESPACE,
                "labels": {DRIVER_LABEL: self._plugin.name, "csi.storage.k8s.io/managed-by": "csi-controller"},
            },
            "storageClassName": name,
            "nodeTopology": {"matchLabels": dict(place)},
            "capacity": _rounded(response.available_capacity),
        }
        if response.HasField("maximum_volume_size"):
            made["maximumVolumeSize"] = _rounded(response.maximum_volume_size.value)
        return made

    def controllers(self) -> tuple[Controller, ...]:
        """One for classes."""
        return (
            Controller(
                name="csi-capacity",
                reconcile=self.reconcile,
                watches=(
                    Watch(storageclasses.RESOURCE),
                    Watch(csidrivers.RESOURCE, keys=_all_classes),
                    Watch(volumes.RESOURCE, keys=self._of_volume),
                    Watch(csinodes.RESOURCE, keys=self._of_csi_node),
                    Watch(nodes.RESOURCE, keys=lambda _lookup, _new, _old: ()),
                    Watch(csistoragecapacities.RESOURCE, keys=lambda _lookup, _new, _old: ()),
                ),
                workers=1,
            ),
        )

    def _of_volume(self, lookup: Lookup, volume: Object, old: Object | None) -> Iterator[Key]:
        came_or_went = old is None or old is volume
        if came_or_went and (volume["spec"].get("csi") or {}).get("driver") == self._plugin.name:
            yield from _all_classes(lookup, volume, None)

    def _of_csi_node(self, lookup: Lookup, csi_node: Object, old: Object | None) -> Iterator[Key]:
        if self._plugin.place is None and (old is None or old["spec"] != csi_node["spec"]):
            yield from _all_classes(lookup, csi_node, None)


def _rounded(size: int) -> str:
    return str(quantity.Quantity(size // GRAIN * GRAIN * quantity.NANO, "binary"))


def _all_classes(lookup: Lookup, _new: Object, _old: Object | None) -> Iterator[Key]:
    for class_ in lookup.listed(storageclasses.RESOURCE):
        yield Key("", class_["metadata"]["name"])
