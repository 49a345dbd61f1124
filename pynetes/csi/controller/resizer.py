"""Makes volumes larger when their claims ask for more, and gives them other attributes when claims name another class.

What is under way is written on the claim before the driver is asked, so that quota counts it and a restart goes on. The
node's part, where the driver wants one, is the kubelet's: it finishes the claim.
"""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.storage import volumeattributesclasses as classes
from pynetes.client.controller import Context, Controller, Foreseen, Lookup, Watch
from pynetes.csi.controller.plugin import TIMEOUT, NotReady, Plugin, capability_of, on_intent, secret
from pynetes.machinery import quantity
from pynetes.machinery import time as times
from pynetes.machinery.meta import Key, Object, is_deleting, key_of
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import DriverFailure

#: A driver's certain no: asking for the same again would end the same.
INFEASIBLE = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND"})
#: How long until what is infeasible is tried again all the same, for a disk may have been made larger.
LATER = timedelta(minutes=5)


class Resizer:
    """See the module."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    async def resize(self, ctx: Context, key: Key) -> timedelta | None:
        """Let a claim's volume grow to what the claim asks for."""
        found = await self._bound(ctx, key)
        if found is None:
            return None
        claim, volume = found
        wanted, has = binding.requested(claim), _has(claim)
        if wanted <= has:
            return None
        status = claim.get("status") or {}
        stage = (status.get("allocatedResourceStatuses") or {}).get("storage", "")
        if binding.capacity(volume) >= wanted:
            if stage in ("NodeResizePending", "NodeResizeInProgress", "NodeResizeInfeasible"):
                return None  # the kubelet's turn
            if stage != "ControllerResizeInProgress":
                return None  # the volume was this large from its making; the binder has told the claim
        claim = await self._begin(ctx, claim)
        try:
            response = await self._expand(ctx, claim, volume, wanted)
        except (DriverFailure, NotReady) as error:
            return await self._failed(ctx, claim, error)
        await self._grown(ctx, claim, volume, response)
        return None

    async def _bound(self, ctx: Context, key: Key) -> tuple[Object, Object] | None:
        claim = await ctx.cached(claims.RESOURCE, key)
        if claim is None or is_deleting(claim) or not binding.is_bound(claim):
            return None
        volume = await ctx.cached(volumes.RESOURCE, Key("", claim["spec"]["volumeName"]))
        if volume is None or not self._plugin.has(volume) or not binding.is_of(volume, claim):
            return None
        return claim, volume

    async def _begin(self, ctx: Context, claim: Object) -> Object:
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        status = {**(claim.get("status") or {})}
        status["allocatedResources"] = {**(status.get("allocatedResources") or {}), "storage": wanted}
        status["allocatedResourceStatuses"] = {"storage": "ControllerResizeInProgress"}
        status["conditions"] = _with(status, _condition(ctx, "Resizing"), without=("FileSystemResizePending",))
        return await ctx.update_status(claims.RESOURCE, claim | {"status": status})

    async def _expand(
        self, ctx: Context, claim: Object, volume: Object, wanted: int
    ) -> pb.ControllerExpandVolumeResponse:
        csi = volume["spec"]["csi"]
        if "EXPAND_VOLUME" not in self._plugin.can:
            return pb.ControllerExpandVolumeResponse(capacity_bytes=wanted, node_expansion_required=True)
        request = pb.ControllerExpandVolumeRequest(
            volume_id=csi["volumeHandle"],
            capacity_range=pb.CapacityRange(required_bytes=wanted),
            secrets=await secret(ctx, csi.get("controllerExpandSecretRef")),
            volume_capability=capability_of(
                self._plugin, volume["spec"], csi.get("fsType") or "", list(volume["spec"].get("mountOptions") or ())
            ),
        )
        ctx.event(claim, "Normal", "Resizing", f"External resizer is resizing volume {volume['metadata']['name']}")
        response: pb.ControllerExpandVolumeResponse = await self._plugin.driver.controller(
            "ControllerExpandVolume", request, timeout=TIMEOUT
        )
        if response.capacity_bytes < wanted:
            text = f"the driver made the volume {response.capacity_bytes} bytes large, not {wanted}"
            raise DriverFailure("INTERNAL", text)
        return response

    async def _failed(self, ctx: Context, claim: Object, error: Foreseen | DriverFailure) -> timedelta | None:
        ctx.event(claim, "Warning", "VolumeResizeFailed", str(error))
        if not isinstance(error, DriverFailure) or error.code not in INFEASIBLE:
            raise Foreseen(str(error)) from error
        status = {**(claim.get("status") or {})}
        status["allocatedResourceStatuses"] = {"storage": "ControllerResizeInfeasible"}
        failed = _condition(ctx, "ControllerResizeError", message=str(error))
        status["conditions"] = _with(status, failed, without=("Resizing",))
        await ctx.update_status(claims.RESOURCE, claim | {"status": status})
        return LATER

    async def _grown(
        self, ctx: Context, claim: Object, volume: Object, response: pb.ControllerExpandVolumeResponse
    ) -> None:
        size = str(quantity.Quantity(response.capacity_bytes * quantity.NANO, "binary"))
        spec = volume["spec"] | {"capacity": {"storage": size}}
        await ctx.update(volumes.RESOURCE, volume | {"spec": spec})
        status = {**(claim.get("status") or {})}
        if response.node_expansion_required:
            status["allocatedResourceStatuses"] = {"storage": "NodeResizePending"}
            text = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
            pending = _condition(ctx, "FileSystemResizePending", message=text)
            status["conditions"] = _with(status, pending, without=("Resizing", "ControllerResizeError"))
            ctx.event(claim, "Normal", "FileSystemResizeRequired", "Require file system resize of volume on node")
        else:
            status["capacity"] = {**(status.get("capacity") or {}), "storage": size}
            status.pop("allocatedResourceStatuses", None)
            status["conditions"] = _with(status, None, without=("Resizing", "ControllerResizeError"))
            ctx.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        await ctx.update_status(claims.RESOURCE, claim | {"status": status})

    # Attributes.

    async def modify(self, ctx: Context, key: Key) -> timedelta | None:
        """Give a claim's volume the attributes of the class that the claim names."""
        found = await self._bound(ctx, key)
        if found is None:
            return None
        claim, volume = found
        wanted = claim["spec"].get("volumeAttributesClassName")
        status = claim.get("status") or {}
        if not wanted or wanted == status.get("currentVolumeAttributesClassName"):
            return None
        class_ = await ctx.cached(classes.RESOURCE, Key("", wanted))
        if class_ is None or class_["driverName"] != self._plugin.name:
            text = f"VolumeAttributesClass {wanted} does not exist or is not for {self._plugin.name}"
            ctx.event(claim, "Warning", "VolumeModifyFailed", text)
            await self._modification(ctx, claim, wanted, "Pending")
            return None
        claim = await self._modification(ctx, claim, wanted, "InProgress")
        csi = volume["spec"]["csi"]
        request = pb.ControllerModifyVolumeRequest(
            volume_id=csi["volumeHandle"], mutable_parameters=class_.get("parameters") or {}
        )
        try:
            await self._plugin.driver.controller("ControllerModifyVolume", request, timeout=TIMEOUT)
        except DriverFailure as error:
            ctx.event(claim, "Warning", "VolumeModifyFailed", str(error))
            if error.code not in INFEASIBLE:
                raise Foreseen(str(error)) from error
            await self._modification(ctx, claim, wanted, "Infeasible")
            return LATER
        spec = volume["spec"] | {"volumeAttributesClassName": wanted}
        await ctx.update(volumes.RESOURCE, volume | {"spec": spec})
        done = {**(claim.get("status") or {}), "currentVolumeAttributesClassName": wanted}
        done.pop("modifyVolumeStatus", None)
        await ctx.update_status(claims.RESOURCE, claim | {"status": done})
        ctx.event(claim, "Normal", "VolumeModifySuccessful", f"external resizer modified volume to class {wanted}")
        return None

    async def _modification(self, ctx: Context, claim: Object, target: str, state: str) -> Object:
        state_ = {"targetVolumeAttributesClassName": target, "status": state}
        status = {**(claim.get("status") or {}), "modifyVolumeStatus": state_}
        return await ctx.update_status(claims.RESOURCE, claim | {"status": status})

    def controllers(self) -> tuple[Controller, ...]:
        """One for sizes, one for attributes, as far as the driver can."""
        made = []
        if "EXPAND_VOLUME" in self._plugin.can or self._plugin.services & {"ONLINE", "OFFLINE"}:
            watches = (Watch(claims.RESOURCE, keys=on_intent), Watch(volumes.RESOURCE, keys=_of_volume))
            made.append(Controller(name="csi-resizer", reconcile=self.resize, watches=watches))
        if "MODIFY_VOLUME" in self._plugin.can:
            watched = (
                Watch(claims.RESOURCE, keys=on_intent, indexes={"attributes-class": _by_attributes}),
                Watch(volumes.RESOURCE, keys=_of_volume),
                Watch(classes.RESOURCE, keys=_of_class),
            )
            made.append(Controller(name="csi-modifier", reconcile=self.modify, watches=watched))
        return tuple(made)


def _has(claim: Object) -> int:
    text = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return quantity.parse(text).value() if text else 0


def _condition(ctx: Context, kind: str, *, message: str = "") -> Object:
    now = times.rfc3339(ctx.now())
    return {
        "type": kind,
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
        **({"message": message} if message else {}),
    }


def _with(status: Object, condition: Object | None, *, without: tuple[str, ...]) -> list[Object]:
    """The conditions with one more, and without those that it ends."""
    gone = {*without, *([condition["type"]] if condition else [])}
    kept = [one for one in status.get("conditions") or () if one["type"] not in gone]
    return [*kept, condition] if condition else kept


def _of_volume(_lookup: Lookup, volume: Object, _old: Object | None) -> Iterator[Key]:
    ref = volume["spec"].get("claimRef")
    if ref:
        yield Key(ref.get("namespace") or "", ref["name"])


def _by_attributes(claim: Object) -> tuple[str, ...]:
    name = claim["spec"].get("volumeAttributesClassName")
    return (name,) if name else ()


def _of_class(lookup: Lookup, class_: Object, _old: Object | None) -> Iterator[Key]:
    for claim in lookup.listed(claims.RESOURCE, index="attributes-class", value=class_["metadata"]["name"]):
        yield key_of(claim)
