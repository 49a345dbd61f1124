"""Makes volumes for claims that ask this driver, and deletes them when nobody wants them any more.

A volume's name follows from its claim's UID, so asking again after a crash or an unanswered call finds what is there.
A claim that is deleted while the driver may still be at work is remembered until the driver has answered, so that what
it has made is deleted and not forgotten.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import nodes
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.storage import csinodes, storageclasses, volumeattachments, volumeattributesclasses
from pynetes.client.controller import Context, Controller, Foreseen, Lookup, Watch
from pynetes.component import logs
from pynetes.csi.controller import parameters, sources, topology
from pynetes.csi.controller.parameters import BadParameters
from pynetes.csi.controller.plugin import TIMEOUT, NotReady, Plugin, affinity, capability_of, secret
from pynetes.machinery import quantity
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, key_of
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import DriverFailure

FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
DELETION_SECRET = "volume.kubernetes.io/provisioner-deletion-secret"
_LOG = logging.getLogger(__name__)


@dataclass
class _Asked:
    """A volume that the driver may be making."""

    uid: str
    request: pb.CreateVolumeRequest


class Provisioner:
    """See the module."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._asked: dict[Key, _Asked] = {}

    async def reconcile(self, ctx: Context, key: Key) -> timedelta | None:
        """Make the volume of a claim."""
        claim = await ctx.cached(claims.RESOURCE, key)
        asked = self._asked.get(key)
        if asked is not None and (claim is None or claim["metadata"]["uid"] != asked.uid):
            await self._forget(key, asked)
        if claim is None or not self._is_asked(claim):
            return None
        class_ = await ctx.cached(storageclasses.RESOURCE, Key("", binding.class_of(claim)))
        if class_ is None or class_["provisioner"] != self._plugin.name:
            return None
        selected = binding.annotations(claim).get(binding.SELECTED_NODE)
        if selected is None and class_.get("volumeBindingMode") == "WaitForFirstConsumer":
            return None
        if self._plugin.place is not None:
            if selected is None:
                # Every place sees the claim; the one whose write comes first makes the volume.
                await self._select(ctx, claim, self._plugin.node)
                return None
            if not self._plugin.is_here(await ctx.cached(nodes.RESOURCE, Key("", selected))):
                return None
        if await ctx.live(volumes.RESOURCE, Key("", _name(claim))) is None:
            await self._provision(ctx, claim, class_, selected)
        return None

    def _is_asked(self, claim: Object) -> bool:
        marks = binding.annotations(claim)
        asked = marks.get(binding.PROVISIONER) or marks.get(binding.BETA_PROVISIONER)
        return asked == self._plugin.name and not claim["spec"].get("volumeName") and not is_deleting(claim)

    async def _select(self, ctx: Context, claim: Object, node: str) -> None:
        metadata = {
            "annotations": {binding.SELECTED_NODE: node or None},
            "resourceVersion": claim["metadata"]["resourceVersion"],
        }
        await ctx.patch(claims.RESOURCE, key_of(claim), {"metadata": metadata})

    async def _provision(self, ctx: Context, claim: Object, class_: Object, selected: str | None) -> None:
        ctx.event(
            claim, "Normal", "Provisioning", f'External provisioner is provisioning volume for claim "{key_of(claim)}"'
        )
        try:
            request = await self._request(ctx, claim, class_, selected)
            volume = await self._create(claim, request)
            made = await self._described(ctx, claim, class_, volume)
        except (DriverFailure, BadParameters, NotReady) as error:
            name = class_["metadata"]["name"]
            text = f'failed to provision volume with StorageClass "{name}": {error}'
            ctx.event(claim, "Warning", "ProvisioningFailed", text)
            exhausted = isinstance(error, DriverFailure) and error.code == "RESOURCE_EXHAUSTED"
            if exhausted and selected is not None:
                # There is no room for it at this node: the scheduler chooses again.
                await self._select(ctx, claim, "")
                return
            raise Foreseen(text) from error
        try:
            await ctx.create(volumes.RESOURCE, made)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
        self._asked.pop(key_of(claim), None)
        text = f"Successfully provisioned volume {made['metadata']['name']}"
        ctx.event(claim, "Normal", "ProvisioningSucceeded", text)

    async def _create(self, claim: Object, request: pb.CreateVolumeRequest) -> pb.Volume:
        key = key_of(claim)
        self._asked[key] = _Asked(claim["metadata"]["uid"], request)
        try:
            response = await self._plugin.driver.controller("CreateVolume", request, timeout=TIMEOUT)
        except DriverFailure as error:
            # RESOURCE_EXHAUSTED is a driver's certain no, but upstream counts it as uncertain; so does what follows.
            if not error.uncertain or error.code == "RESOURCE_EXHAUSTED":
                self._asked.pop(key, None)
            raise
        volume: pb.Volume = response.volume
        if not volume.volume_id:
            raise DriverFailure("INTERNAL", "the driver made a volume without an ID")
        required = request.capacity_range.required_bytes
        if 0 < volume.capacity_bytes < required:
            await self._delete_volume(volume.volume_id, dict(request.secrets))
            text = f"the driver made a volume of {volume.capacity_bytes} bytes, not of {required}"
            raise DriverFailure("INTERNAL", text)
        return volume

    async def _forget(self, key: Key, asked: _Asked) -> None:
        """The claim is gone: wait for what the driver has begun for it, and delete that."""
        request = asked.request
        try:
            response = await self._plugin.driver.controller("CreateVolume", request, timeout=TIMEOUT)
        except DriverFailure as error:
            if not error.uncertain:
                self._asked.pop(key, None)
                return
            raise
        await self._delete_volume(response.volume.volume_id, dict(request.secrets))
        self._asked.pop(key, None)
        _LOG.info(logs.fact("volume deleted, its claim was gone before it was made", claim=key))

    async def _delete_volume(self, handle: str, secrets: dict[str, str]) -> None:
        request = pb.DeleteVolumeRequest(volume_id=handle, secrets=secrets)
        await self._plugin.driver.controller("DeleteVolume", request, timeout=TIMEOUT)

    async def _request(
        self, ctx: Context, claim: Object, class_: Object, selected: str | None
    ) -> pb.CreateVolumeRequest:
        given, name = class_.get("parameters") or {}, _name(claim)
        spec = claim["spec"]
        ref = parameters.secret_ref("provisioner", given, volume=name, claim=claim)
        options = list(class_.get("mountOptions") or ())
        capability = capability_of(self._plugin, spec, given.get(parameters.FS_TYPE, ""), options)
        required = binding.requested(claim)
        source = await sources.of(ctx, self._plugin, claim)
        to_driver = parameters.for_driver(given)
        if self._plugin.extra_metadata:
            to_driver |= {
                f"{parameters.PREFIX}pvc/name": claim["metadata"]["name"],
                f"{parameters.PREFIX}pvc/namespace": claim["metadata"]["namespace"],
                f"{parameters.PREFIX}pv/name": name,
            }
        request = pb.CreateVolumeRequest(
            name=name,
            capacity_range=pb.CapacityRange(required_bytes=required),
            volume_capabilities=[capability],
            parameters=to_driver,
            secrets=await secret(ctx, ref),
            mutable_parameters=await self._attributes(ctx, claim),
        )
        if source is not None:
            request.volume_content_source.CopyFrom(source)
        if (wanted := await self._topology(ctx, class_, selected)) is not None:
            request.accessibility_requirements.CopyFrom(wanted)
        return request

    async def _attributes(self, ctx: Context, claim: Object) -> dict[str, str]:
        name = claim["spec"].get("volumeAttributesClassName")
        if not name:
            return {}
        class_ = await ctx.live(volumeattributesclasses.RESOURCE, Key("", name))
        if class_ is None:
            raise NotReady(f"volume attributes class {name} does not exist")
        if class_["driverName"] != self._plugin.name:
            raise NotReady(f"volume attributes class {name} is for {class_['driverName']}")
        return dict(class_.get("parameters") or {})

    async def _topology(self, ctx: Context, class_: Object, selected: str | None) -> pb.TopologyRequirement | None:
        if not self._plugin.topological:
            return None
        places: dict[str, topology.Segments] = {}
        for csi_node in ctx.listed(csinodes.RESOURCE):
            name = csi_node["metadata"]["name"]
            node = await ctx.cached(nodes.RESOURCE, Key("", name))
            found = topology.segments_of(node, csi_node, self._plugin.name) if node else None
            if found:
                places[name] = found
        if selected is not None and selected not in places:
            raise NotReady(f"node {selected} has no driver {self._plugin.name} (yet)")
        strict = self._plugin.place is not None
        mine = places.get(selected or "")
        return topology.requirement(mine, list(places.values()), class_.get("allowedTopologies") or (), strict=strict)

    async def _described(self, ctx: Context, claim: Object, class_: Object, volume: pb.Volume) -> Object:
        """The PersistentVolume of what the driver has made."""
        given, name, spec = class_.get("parameters") or {}, _name(claim), claim["spec"]
        size = quantity.Quantity((volume.capacity_bytes or binding.requested(claim)) * quantity.NANO, "binary")
        block = spec.get("volumeMode") == "Block"
        csi: Object = {"driver": self._plugin.name, "volumeHandle": volume.volume_id}
        if not block and given.get(parameters.FS_TYPE):
            csi["fsType"] = given[parameters.FS_TYPE]
        if volume.volume_context:
            csi["volumeAttributes"] = dict(volume.volume_context)
        for kind, member in _SECRET_MEMBERS.items():
            if ref := parameters.secret_ref(kind, given, volume=name, claim=claim):
                csi[member] = ref
        marks = {binding.PROVISIONED_BY: self._plugin.name}
        if ref := parameters.secret_ref("provisioner", given, volume=name, claim=claim):
            marks |= {f"{DELETION_SECRET}-name": ref["name"], f"{DELETION_SECRET}-namespace": ref["namespace"]}
        delete = class_.get("reclaimPolicy", "Delete") == "Delete"
        made_spec: Object = {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": str(size)},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim["metadata"]["namespace"],
                "name": claim["metadata"]["name"],
                "uid": claim["metadata"]["uid"],
                "resourceVersion": claim["metadata"]["resourceVersion"],
            },
            "csi": csi,
            "persistentVolumeReclaimPolicy": class_.get("reclaimPolicy", "Delete"),
            "storageClassName": class_["metadata"]["name"],
            "volumeMode": spec.get("volumeMode") or "Filesystem",
        }
        if class_.get("mountOptions") and not block:
            made_spec["mountOptions"] = class_["mountOptions"]
        if spec.get("volumeAttributesClassName"):
            made_spec["volumeAttributesClassName"] = spec["volumeAttributesClassName"]
        if where := affinity(list(volume.accessible_topology)):
            made_spec["nodeAffinity"] = where
        metadata = {"name": name, "annotations": marks, **({"finalizers": [FINALIZER]} if delete else {})}
        return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": made_spec}

    # Deleting.

    async def reclaim(self, ctx: Context, key: Key) -> timedelta | None:
        """Delete a released volume of this driver, if its policy says so."""
        volume = await ctx.cached(volumes.RESOURCE, key)
        if volume is None or not self._plugin.has(volume):
            return None
        policy = volume["spec"].get("persistentVolumeReclaimPolicy")
        finalizers = volume["metadata"].get("finalizers") or []
        if binding.annotations(volume).get(binding.PROVISIONED_BY) != self._plugin.name:
            return None
        if policy != "Delete":
            if FINALIZER in finalizers:
                await self._unfinalize(ctx, volume)
            return None
        if not is_deleting(volume) and FINALIZER not in finalizers:
            # Somebody changed the policy: what is deleted with its volume must not be forgotten without it.
            await ctx.update(volumes.RESOURCE, _with_finalizers(volume, [*finalizers, FINALIZER]))
        if not await self._is_free(ctx, volume):
            return None
        if attached := ctx.listed(volumeattachments.RESOURCE, index="volume", value=key.name):
            text = f"persistentvolume {key.name} is still attached to node {attached[0]['spec']['nodeName']}"
            ctx.event(volume, "Warning", "VolumeFailedDelete", text)
            return None  # the attachment's end wakes the volume
        await self._delete(ctx, volume)
        return None

    async def _is_free(self, ctx: Context, volume: Object) -> bool:
        """Whether the volume has lost its claim: released, or deleted by its user after it was."""
        phase = (volume.get("status") or {}).get("phase")
        if phase == "Released" or (phase == "Failed" and is_deleting(volume)):
            ref = volume["spec"].get("claimRef") or {}
            claim = await ctx.live(claims.RESOURCE, Key(ref.get("namespace") or "", ref.get("name") or ""))
            return claim is None or claim["metadata"]["uid"] != ref.get("uid") or _has_another(claim, volume)
        return is_deleting(volume) and phase in ("Available", "Pending")

    async def _delete(self, ctx: Context, volume: Object) -> None:
        marks = binding.annotations(volume)
        ref = {"name": marks.get(f"{DELETION_SECRET}-name"), "namespace": marks.get(f"{DELETION_SECRET}-namespace")}
        try:
            await self._delete_volume(volume["spec"]["csi"]["volumeHandle"], await secret(ctx, ref))
        except (DriverFailure, NotReady) as error:
            ctx.event(volume, "Warning", "VolumeFailedDelete", str(error))
            raise Foreseen(str(error)) from error
        await ctx.delete(volumes.RESOURCE, volume)
        left = await ctx.live(volumes.RESOURCE, key_of(volume))
        if left is not None and left["metadata"]["uid"] == volume["metadata"]["uid"]:
            await self._unfinalize(ctx, left)

    async def _unfinalize(self, ctx: Context, volume: Object) -> None:
        kept = [name for name in volume["metadata"].get("finalizers") or () if name != FINALIZER]
        await ctx.update(volumes.RESOURCE, _with_finalizers(volume, kept))

    # The records.

    def controllers(self) -> tuple[Controller, ...]:
        """One for claims, one for volumes."""
        return (
            Controller(
                name="csi-provisioner",
                reconcile=self.reconcile,
                watches=(
                    Watch(claims.RESOURCE, indexes={"class": _by_class}),
                    Watch(storageclasses.RESOURCE, keys=_of_class),
                    Watch(csinodes.RESOURCE, keys=self._of_csi_node),
                    Watch(nodes.RESOURCE, keys=_nothing),
                    Watch(volumes.RESOURCE, keys=_nothing),
                ),
                workers=10,
            ),
            Controller(
                name="csi-deleter",
                reconcile=self.reclaim,
                watches=(
                    Watch(volumes.RESOURCE),
                    Watch(volumeattachments.RESOURCE, keys=_of_attachment, indexes={"volume": _by_volume}),
                ),
                workers=10,
            ),
        )

    def _of_csi_node(self, lookup: Lookup, csi_node: Object, _old: Object | None) -> Iterator[Key]:
        """A driver that has come to a node can make what waits for that node."""
        name = csi_node["metadata"]["name"]
        for claim in lookup.listed(claims.RESOURCE):
            if binding.annotations(claim).get(binding.SELECTED_NODE) == name and self._is_asked(claim):
                yield key_of(claim)


_SECRET_MEMBERS = {
    "controller-publish": "controllerPublishSecretRef",
    "node-stage": "nodeStageSecretRef",
    "node-publish": "nodePublishSecretRef",
    "controller-expand": "controllerExpandSecretRef",
    "node-expand": "nodeExpandSecretRef",
}


def _name(claim: Object) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def _has_another(claim: Object, volume: Object) -> bool:
    name = claim["spec"].get("volumeName")
    return bool(name) and name != volume["metadata"]["name"]


def _with_finalizers(volume: Object, finalizers: list[str]) -> Object:
    return volume | {"metadata": volume["metadata"] | {"finalizers": finalizers}}


def _by_class(claim: Object) -> tuple[str, ...]:
    return () if claim["spec"].get("volumeName") else (binding.class_of(claim),)


def _of_class(lookup: Lookup, class_: Object, _old: Object | None) -> Iterator[Key]:
    for claim in lookup.listed(claims.RESOURCE, index="class", value=class_["metadata"]["name"]):
        yield key_of(claim)


def _by_volume(attachment: Object) -> tuple[str, ...]:
    return (attachment["spec"]["source"].get("persistentVolumeName") or "",)


def _of_attachment(_lookup: Lookup, attachment: Object, old: Object | None) -> Iterator[Key]:
    if old is attachment:
        yield Key("", _by_volume(attachment)[0])


def _nothing(_lookup: Lookup, _new: Object, _old: Object | None) -> Iterator[Key]:
    yield from ()
