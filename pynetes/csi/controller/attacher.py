"""Carries VolumeAttachments out: ControllerPublishVolume when one is made, ControllerUnpublishVolume when it goes.

A finalizer keeps the attachment, and another the volume, until the driver has let go; what is needed for that (the
node's ID) is written on the attachment, for the node may be gone by then.
"""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import nodes
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.storage import csinodes, volumeattachments
from pynetes.client.controller import Context, Controller, Foreseen, Lookup, Watch
from pynetes.csi.controller.plugin import TIMEOUT, NotReady, Plugin, capability_of, on_intent, secret
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import DriverFailure

NODE_ID = "csi.alpha.kubernetes.io/node-id"
_MESSAGE_LIMIT = 1024


class Attacher:
    """See the module."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._finalizer = f"external-attacher/{plugin.finalizer}"

    async def reconcile(self, ctx: Context, key: Key) -> timedelta | None:
        """Attach or detach."""
        attachment = await ctx.cached(volumeattachments.RESOURCE, key)
        if attachment is None or attachment["spec"]["attacher"] != self._plugin.name:
            return None
        if not await self._is_here(ctx, attachment):
            return None
        if is_deleting(attachment):
            if self._finalizer in (attachment["metadata"].get("finalizers") or ()):
                await self._detach(ctx, attachment)
        elif not (attachment.get("status") or {}).get("attached"):
            await self._attach(ctx, attachment)
        return None

    async def _is_here(self, ctx: Context, attachment: Object) -> bool:
        if self._plugin.place is None:
            return True
        if self._plugin.is_here(await ctx.cached(nodes.RESOURCE, Key("", attachment["spec"]["nodeName"]))):
            return True
        volume = await self._volume(ctx, attachment)
        return volume is not None and self._plugin.has(volume)

    async def _volume(self, ctx: Context, attachment: Object) -> Object | None:
        name = attachment["spec"]["source"].get("persistentVolumeName")
        return await ctx.cached(volumes.RESOURCE, Key("", name)) if name else None

    async def _attach(self, ctx: Context, attachment: Object) -> None:
        try:
            volume = await self._volume(ctx, attachment)
            if volume is None:
                raise NotReady(f"volume {attachment['spec']['source'].get('persistentVolumeName')} does not exist")
            if is_deleting(volume):
                raise NotReady(f"volume {volume['metadata']['name']} is being deleted")
            node_id = await self._node_id(ctx, attachment["spec"]["nodeName"])
            attachment = await self._hold(ctx, attachment, volume, node_id)
            context = await self._publish(ctx, volume, node_id)
        except (DriverFailure, NotReady) as error:
            await self._report(ctx, attachment, attachError=_error(ctx, error))
            raise Foreseen(str(error)) from error
        status = {"attached": True, "attachmentMetadata": context or None, "attachError": None}
        await self._report(ctx, attachment, **status)

    async def _publish(self, ctx: Context, volume: Object, node_id: str) -> dict[str, str]:
        if "PUBLISH_UNPUBLISH_VOLUME" not in self._plugin.can:
            return {}
        spec, csi = volume["spec"], volume["spec"]["csi"]
        only_read = bool(csi.get("readOnly")) and "PUBLISH_READONLY" in self._plugin.can
        request = pb.ControllerPublishVolumeRequest(
            volume_id=csi["volumeHandle"],
            node_id=node_id,
            volume_capability=capability_of(
                self._plugin, spec, csi.get("fsType") or "", list(spec.get("mountOptions") or ())
            ),
            readonly=only_read,
            secrets=await secret(ctx, csi.get("controllerPublishSecretRef")),
            volume_context=csi.get("volumeAttributes") or {},
        )
        response = await self._plugin.driver.controller("ControllerPublishVolume", request, timeout=TIMEOUT)
        return dict(response.publish_context)

    async def _node_id(self, ctx: Context, node: str) -> str:
        csi_node = await ctx.cached(csinodes.RESOURCE, Key("", node))
        for one in ((csi_node or {}).get("spec") or {}).get("drivers") or ():
            if one["name"] == self._plugin.name:
                return str(one["nodeID"])
        raise NotReady(f"node {node} has no driver {self._plugin.name} (yet)")

    async def _hold(self, ctx: Context, attachment: Object, volume: Object, node_id: str) -> Object:
        """Finalizers first: what may be attached must not be forgotten."""
        name = volume["metadata"]["name"]
        finalizers = volume["metadata"].get("finalizers") or []
        if self._finalizer not in finalizers:
            patch = {
                "metadata": {
                    "finalizers": [*finalizers, self._finalizer],
                    "resourceVersion": volume["metadata"]["resourceVersion"],
                }
            }
            await ctx.patch(volumes.RESOURCE, Key("", name), patch)
        metadata = attachment["metadata"]
        held = metadata.get("finalizers") or []
        if self._finalizer in held and (metadata.get("annotations") or {}).get(NODE_ID) == node_id:
            return attachment
        wanted = {
            "finalizers": held if self._finalizer in held else [*held, self._finalizer],
            "annotations": {NODE_ID: node_id},
        }
        return await ctx.patch(volumeattachments.RESOURCE, Key("", metadata["name"]), {"metadata": wanted})

    async def _detach(self, ctx: Context, attachment: Object) -> None:
        try:
            volume = await self._volume(ctx, attachment)
            if volume is not None and "PUBLISH_UNPUBLISH_VOLUME" in self._plugin.can:
                csi = volume["spec"]["csi"]
                node_id = (attachment["metadata"].get("annotations") or {}).get(NODE_ID)
                request = pb.ControllerUnpublishVolumeRequest(
                    volume_id=csi["volumeHandle"],
                    node_id=node_id or await self._node_id(ctx, attachment["spec"]["nodeName"]),
                    secrets=await secret(ctx, csi.get("controllerPublishSecretRef")),
                )
                await self._unpublish(request)
        except (DriverFailure, NotReady) as error:
            await self._report(ctx, attachment, detachError=_error(ctx, error))
            raise Foreseen(str(error)) from error
        kept = [name for name in attachment["metadata"]["finalizers"] if name != self._finalizer]
        patch = {"metadata": {"finalizers": kept, "resourceVersion": attachment["metadata"]["resourceVersion"]}}
        try:
            await ctx.patch(volumeattachments.RESOURCE, Key("", attachment["metadata"]["name"]), patch)
        except StatusError as error:
            if error.reason != "NotFound":
                raise

    async def _unpublish(self, request: pb.ControllerUnpublishVolumeRequest) -> None:
        try:
            await self._plugin.driver.controller("ControllerUnpublishVolume", request, timeout=TIMEOUT)
        except DriverFailure as error:
            # A volume or a node that is no more is not attached.
            if not error.absent:
                raise

    async def _report(self, ctx: Context, attachment: Object, **members: object) -> None:
        status = {"attached": (attachment.get("status") or {}).get("attached", False), **members}
        key = Key("", attachment["metadata"]["name"])
        await ctx.patch(volumeattachments.RESOURCE, key, {"status": status}, subresource="status")

    async def free(self, ctx: Context, key: Key) -> timedelta | None:
        """Let a volume go that is to be deleted and is attached nowhere."""
        volume = await ctx.cached(volumes.RESOURCE, key)
        if volume is None or not is_deleting(volume):
            return None
        finalizers = volume["metadata"].get("finalizers") or []
        if self._finalizer not in finalizers:
            return None
        if ctx.listed(volumeattachments.RESOURCE, index="volume", value=key.name):
            return None
        kept = [name for name in finalizers if name != self._finalizer]
        await ctx.update(volumes.RESOURCE, volume | {"metadata": volume["metadata"] | {"finalizers": kept}})
        return None

    def controllers(self) -> tuple[Controller, ...]:
        """One for attachments, one for volumes that wait for theirs to end."""
        index = {"volume": _by_volume}
        return (
            Controller(
                name="csi-attacher",
                reconcile=self.reconcile,
                watches=(
                    Watch(volumeattachments.RESOURCE, keys=on_intent, indexes=index),
                    Watch(volumes.RESOURCE, keys=_of_volume),
                    Watch(csinodes.RESOURCE, keys=_of_csi_node),
                    Watch(nodes.RESOURCE, keys=_nothing),
                ),
                workers=10,
            ),
            Controller(
                name="csi-attacher-volumes",
                reconcile=self.free,
                watches=(
                    Watch(volumes.RESOURCE),
                    Watch(volumeattachments.RESOURCE, keys=_ended, indexes=index),
                ),
            ),
        )


def _error(ctx: Context, error: Exception) -> Object:
    return {"time": times.rfc3339(ctx.now()), "message": str(error)[:_MESSAGE_LIMIT]}


def _by_volume(attachment: Object) -> tuple[str, ...]:
    return (attachment["spec"]["source"].get("persistentVolumeName") or "",)


def _of_volume(lookup: Lookup, volume: Object, old: Object | None) -> Iterator[Key]:
    if old is None:
        for one in lookup.listed(volumeattachments.RESOURCE, index="volume", value=volume["metadata"]["name"]):
            yield Key("", one["metadata"]["name"])


def _of_csi_node(lookup: Lookup, csi_node: Object, _old: Object | None) -> Iterator[Key]:
    for one in lookup.listed(volumeattachments.RESOURCE):
        if one["spec"]["nodeName"] == csi_node["metadata"]["name"]:
            yield Key("", one["metadata"]["name"])


def _ended(_lookup: Lookup, attachment: Object, old: Object | None) -> Iterator[Key]:
    if old is attachment:
        yield Key("", _by_volume(attachment)[0])


def _nothing(_lookup: Lookup, _new: Object, _old: Object | None) -> Iterator[Key]:
    yield from ()
