"""The driver that is controlled: its client, name, abilities and place, asked once when the component starts."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pynetes.apis.core import secrets
from pynetes.client.controller import Context, Foreseen, Lookup
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import Driver, DriverFailure, capability

#: Seconds for one call; what takes longer goes on in the driver and is asked for again.
TIMEOUT = 60.0


class NotReady(Foreseen):
    """Something that a call needs is not there, or not yet; the text names it."""


@dataclass(frozen=True)
class Plugin:
    """See the module. `place` is the topology of the instance's node, for a local one; None controls everywhere."""

    driver: Driver
    name: str
    services: frozenset[str]
    can: frozenset[str]
    place: Mapping[str, str] | None = None
    #: The node that the instance runs on, for a local one.
    node: str = ""
    #: Adds who asks for a volume to its parameters, as upstream's --extra-create-metadata.
    extra_metadata: bool = field(default=False)

    @property
    def topological(self) -> bool:
        """Whether volumes are reachable from some nodes only."""
        return "VOLUME_ACCESSIBILITY_CONSTRAINTS" in self.services

    @property
    def finalizer(self) -> str:
        """A domain-like name without dots, as finalizers of the attacher have it."""
        return self.name.replace(".", "-")

    def is_here(self, node: Object | None) -> bool:
        """Whether a node is in this instance's place."""
        if self.place is None:
            return True
        labels = (node or {"metadata": {}})["metadata"].get("labels") or {}
        return node is not None and self.place.items() <= labels.items()

    def has(self, volume: Object) -> bool:
        """Whether a PersistentVolume is this driver's, and in this instance's place."""
        csi = volume["spec"].get("csi")
        if not csi or csi["driver"] != self.name:
            return False
        return self.place is None or self.place in places_of(volume)


def on_intent(_lookup: Lookup, new: Object, old: Object | None) -> Iterator[Key]:
    """An object's key, unless only its status changed: what these controllers write about a failure must not make them
    try again at once."""
    if old is None or old is new or _intent(new) != _intent(old):
        yield key_of(new)


def _intent(obj: Object) -> tuple[object, ...]:
    members = ("deletionTimestamp", "finalizers", "annotations")
    return obj.get("spec"), *(obj["metadata"].get(name) for name in members)


async def connect(driver: Driver, *, local: bool = False, node: str = "", extra_metadata: bool = False) -> Plugin:
    """Ask the driver what it is. Raises DriverFailure."""
    name = await driver.plugin_name()
    services = await driver.plugin_capabilities()
    can = await driver.controller_capabilities() if "CONTROLLER_SERVICE" in services else frozenset()
    place = None
    if local:
        info = await driver.node("NodeGetInfo", pb.NodeGetInfoRequest())
        place = dict(info.accessible_topology.segments)
        if not place:
            raise DriverFailure("FAILED_PRECONDITION", f"{name} says no topology, so it cannot be controlled per place")
    return Plugin(driver, name, services, can, place, node, extra_metadata)


def places_of(volume: Object) -> list[dict[str, str]]:
    """The topologies from which a PersistentVolume is reachable, as its node affinity says."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    found = []
    for term in required.get("nodeSelectorTerms") or ():
        expressions = term.get("matchExpressions") or ()
        if all(one["operator"] == "In" and len(one["values"]) == 1 for one in expressions):
            found.append({one["key"]: one["values"][0] for one in expressions})
    return found


def affinity(topologies: list[pb.Topology]) -> Object | None:
    """The node affinity of a volume that is reachable from these topologies."""
    terms = [
        {
            "matchExpressions": [
                {"key": key, "operator": "In", "values": [value]} for key, value in sorted(topology.segments.items())
            ]
        }
        for topology in topologies
        if topology.segments
    ]
    return {"required": {"nodeSelectorTerms": terms}} if terms else None


def capability_of(plugin: Plugin, spec: Object, fs_type: str, mount_options: list[str]) -> pb.VolumeCapability:
    """The capability that a claim or volume asks for."""
    return capability(
        spec.get("accessModes") or ("ReadWriteOnce",),
        block=spec.get("volumeMode") == "Block",
        fs_type=fs_type,
        mount_flags=mount_options,
        fine="SINGLE_NODE_MULTI_WRITER" in plugin.can,
    )


async def secret(ctx: Context, ref: Object | None) -> dict[str, str]:
    """What a SecretReference refers to, as a driver gets it. Raises NotReady if it is not there."""
    if not ref or not ref.get("name"):
        return {}
    key = Key(ref.get("namespace") or "", ref["name"])
    # Read when it is needed and never kept: no cache of this component holds a secret.
    found = await ctx.live(secrets.RESOURCE, key)
    if found is None:
        raise NotReady(f"secret {key} does not exist")
    return {name: base64.b64decode(value).decode() for name, value in (found.get("data") or {}).items()}
