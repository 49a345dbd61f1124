"""What a new volume begins as a copy of: another claim's volume, or a snapshot."""

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.client.controller import Context
from pynetes.csi.controller import kinds
from pynetes.csi.controller.plugin import NotReady, Plugin
from pynetes.machinery import quantity
from pynetes.machinery.meta import Key, Object
from pynetes.rpc.csi import csi_pb2 as pb


async def of(ctx: Context, plugin: Plugin, claim: Object) -> pb.VolumeContentSource | None:
    """The source that a claim names; None if it names none. Raises NotReady with what is wrong with it."""
    given = claim["spec"].get("dataSourceRef") or claim["spec"].get("dataSource")
    if not given:
        return None
    namespace = claim["metadata"]["namespace"]
    if given.get("namespace") not in (None, "", namespace):
        raise NotReady("dataSourceRef: sources in other namespaces are not supported")
    key = Key(namespace, given["name"])
    match given.get("apiGroup") or "", given["kind"]:
        case "", "PersistentVolumeClaim":
            return await _claim(ctx, plugin, claim, key)
        case kinds.GROUP, "VolumeSnapshot":
            return await _snapshot(ctx, plugin, claim, key)
    raise NotReady(f"dataSource: volumes are not made from {given['kind']}")


async def _claim(ctx: Context, plugin: Plugin, claim: Object, key: Key) -> pb.VolumeContentSource:
    if "CLONE_VOLUME" not in plugin.can:
        raise NotReady(f"{plugin.name} cannot clone volumes")
    source = await ctx.live(claims.RESOURCE, key)
    if source is None or not binding.is_bound(source):
        raise NotReady(f"dataSource: claim {key} does not exist or has no volume yet")
    if binding.class_of(source) and (source["spec"].get("volumeMode") or "") != (claim["spec"].get("volumeMode") or ""):
        raise NotReady(f"dataSource: claim {key} has volume mode {source['spec'].get('volumeMode')}")
    volume = await ctx.live(volumes.RESOURCE, Key("", source["spec"]["volumeName"]))
    if volume is None or (volume["spec"].get("csi") or {}).get("driver") != plugin.name:
        raise NotReady(f"dataSource: the volume of claim {key} is not {plugin.name}'s")
    if binding.requested(claim) < binding.capacity(volume):
        raise NotReady(f"dataSource: claim {key} has {volume['spec']['capacity']['storage']}, ask for no less")
    handle = volume["spec"]["csi"]["volumeHandle"]
    return pb.VolumeContentSource(volume=pb.VolumeContentSource.VolumeSource(volume_id=handle))


async def _snapshot(ctx: Context, plugin: Plugin, claim: Object, key: Key) -> pb.VolumeContentSource:
    if "CREATE_DELETE_SNAPSHOT" not in plugin.can:
        raise NotReady(f"{plugin.name} has no snapshots")
    snapshot = await ctx.live(kinds.SNAPSHOTS, key)
    status = (snapshot or {}).get("status") or {}
    if not status.get("readyToUse"):
        raise NotReady(f"dataSource: snapshot {key} does not exist or is not ready")
    content = await ctx.live(kinds.CONTENTS, Key("", status["boundVolumeSnapshotContentName"]))
    handle = ((content or {}).get("status") or {}).get("snapshotHandle")
    if content is None or not handle or content["spec"]["driver"] != plugin.name:
        raise NotReady(f"dataSource: snapshot {key} is not {plugin.name}'s")
    size = status.get("restoreSize")
    if size and binding.requested(claim) < quantity.parse(size).value():
        raise NotReady(f"dataSource: snapshot {key} needs {size}, ask for no less")
    return pb.VolumeContentSource(snapshot=pb.VolumeContentSource.SnapshotSource(snapshot_id=handle))
