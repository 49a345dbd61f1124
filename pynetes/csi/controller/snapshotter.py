"""Snapshots: for each VolumeSnapshot a VolumeSnapshotContent, and for each content a snapshot of the driver's.

Two controllers, as upstream has two programs: `bind` is the common one, which pairs snapshots with contents as the
binder pairs claims with volumes; `carry_out` is the driver's, which makes and deletes what contents stand for.
A finalizer on each keeps either until the driver's snapshot is gone, or is to be kept.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.client.controller import Context, Controller, Foreseen, Lookup, Watch
from pynetes.csi.controller.kinds import CLASSES, CONTENTS, GROUP, SNAPSHOTS
from pynetes.csi.controller.plugin import TIMEOUT, NotReady, Plugin, on_intent, secret
from pynetes.machinery import quantity
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, key_of
from pynetes.machinery.resource import Resource
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import DriverFailure

SNAPSHOT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
CONTENT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"
_SECRET = "csi.storage.k8s.io/snapshotter-secret-"
#: Between looks at a snapshot that the driver is still making.
POLL = timedelta(seconds=5)


class Snapshotter:
    """See the module."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    # The common part.

    async def bind(self, ctx: Context, key: Key) -> timedelta | None:
        """Pair a snapshot with its content, and tell it how that is."""
        snapshot = await ctx.cached(SNAPSHOTS, key)
        if snapshot is None:
            return None
        if is_deleting(snapshot):
            await self._unbind(ctx, snapshot)
            return None
        content = await self._content_of(ctx, snapshot)
        if content is None:
            try:
                content = await self._make_content(ctx, snapshot)
            except NotReady as error:
                ctx.event(snapshot, "Warning", "SnapshotContentCreationFailed", str(error))
                await self._status(ctx, SNAPSHOTS, snapshot, error=_error(ctx, str(error)), readyToUse=False)
                raise
            if content is None:
                return None
        finalizers = snapshot["metadata"].get("finalizers") or []
        if SNAPSHOT_FINALIZER not in finalizers:
            snapshot = await self._finalizers(ctx, SNAPSHOTS, snapshot, [*finalizers, SNAPSHOT_FINALIZER])
        await self._follow(ctx, snapshot, content)
        return None

    async def _follow(self, ctx: Context, snapshot: Object, content: Object) -> None:
        """A snapshot's status is its content's."""
        status = content.get("status") or {}
        wanted: Object = {
            "boundVolumeSnapshotContentName": content["metadata"]["name"],
            "readyToUse": bool(status.get("readyToUse")),
            "error": status.get("error"),
        }
        if status.get("creationTime"):
            wanted["creationTime"] = times.rfc3339(datetime.fromtimestamp(status["creationTime"] / 1e9, UTC))
        if status.get("restoreSize") is not None:
            wanted["restoreSize"] = str(quantity.Quantity(status["restoreSize"] * quantity.NANO, "binary"))
        before = bool((snapshot.get("status") or {}).get("readyToUse"))
        await self._status(ctx, SNAPSHOTS, snapshot, **wanted)
        if wanted["readyToUse"] and not before:
            text = f"Snapshot {key_of(snapshot)} is ready to use."
            ctx.event(snapshot, "Normal", "SnapshotReady", text)

    async def _content_of(self, ctx: Context, snapshot: Object) -> Object | None:
        source = snapshot["spec"]["source"]
        name = source.get("volumeSnapshotContentName") or _content_name(snapshot)
        content = await ctx.cached(CONTENTS, Key("", name))
        if content is None:
            return None
        ref = content["spec"].get("volumeSnapshotRef") or {}
        mine = (ref.get("namespace"), ref.get("name")) == tuple(key_of(snapshot))
        if not mine or ref.get("uid") not in (None, "", snapshot["metadata"]["uid"]):
            return None
        if not ref.get("uid"):
            patch = {"spec": {"volumeSnapshotRef": {"uid": snapshot["metadata"]["uid"]}}}
            content = await ctx.patch(CONTENTS, Key("", name), patch)
        return content

    async def _make_content(self, ctx: Context, snapshot: Object) -> Object | None:
        """Raises NotReady with what is missing; None where another instance's driver has to do it."""
        source = snapshot["spec"]["source"]
        name = source.get("persistentVolumeClaimName")
        if not name:
            text = f"content {source.get('volumeSnapshotContentName')} does not exist or is another snapshot's"
            raise NotReady(text)
        claim = await ctx.cached(claims.RESOURCE, Key(snapshot["metadata"]["namespace"], name))
        if claim is None or not binding.is_bound(claim):
            raise NotReady(f"claim {name} does not exist or has no volume yet")
        volume = await ctx.cached(volumes.RESOURCE, Key("", claim["spec"]["volumeName"]))
        if volume is None or not self._plugin.has(volume):
            return None
        class_ = self._class_of(ctx, snapshot)
        given = class_.get("parameters") or {}
        marks = {}
        if given.get(f"{_SECRET}name"):
            marks = {
                f"{GROUP}/deletion-secret-name": given[f"{_SECRET}name"],
                f"{GROUP}/deletion-secret-namespace": given.get(f"{_SECRET}namespace", ""),
            }
        content = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": _content_name(snapshot), "annotations": marks, "finalizers": [CONTENT_FINALIZER]},
            "spec": {
                "driver": self._plugin.name,
                "deletionPolicy": class_["deletionPolicy"],
                "volumeSnapshotClassName": class_["metadata"]["name"],
                "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]},
                "sourceVolumeMode": volume["spec"].get("volumeMode") or "Filesystem",
                "volumeSnapshotRef": {
                    "apiVersion": f"{GROUP}/v1",
                    "kind": "VolumeSnapshot",
                    "namespace": snapshot["metadata"]["namespace"],
                    "name": snapshot["metadata"]["name"],
                    "uid": snapshot["metadata"]["uid"],
                },
            },
        }
        ctx.event(snapshot, "Normal", "CreatingSnapshot", f"Waiting for a snapshot {key_of(snapshot)} to be created")
        try:
            return await ctx.create(CONTENTS, content)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            return await ctx.live(CONTENTS, Key("", _content_name(snapshot)))

    def _class_of(self, ctx: Context, snapshot: Object) -> Object:
        name = snapshot["spec"].get("volumeSnapshotClassName")
        for class_ in ctx.listed(CLASSES):
            default = (class_["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
            if class_["driver"] == self._plugin.name and (class_["metadata"]["name"] == name or (not name and default)):
                return class_
        wanted = f"VolumeSnapshotClass {name}" if name else "default VolumeSnapshotClass"
        raise NotReady(f"there is no {wanted} for {self._plugin.name}")

    async def _unbind(self, ctx: Context, snapshot: Object) -> None:
        """The snapshot is to go: its content first, if its policy says so."""
        finalizers = snapshot["metadata"].get("finalizers") or []
        if SNAPSHOT_FINALIZER not in finalizers:
            return
        content = await self._content_of(ctx, snapshot)
        if content is not None:
            if content["spec"]["driver"] != self._plugin.name:
                return
            if content["spec"].get("deletionPolicy") == "Delete":
                # Its end wakes the snapshot.
                await ctx.delete(CONTENTS, content)
                return
        kept = [name for name in finalizers if name != SNAPSHOT_FINALIZER]
        await self._finalizers(ctx, SNAPSHOTS, snapshot, kept)

    # The driver's part.

    async def carry_out(self, ctx: Context, key: Key) -> timedelta | None:
        """Make, follow or delete what a content stands for."""
        content = await ctx.cached(CONTENTS, key)
        if content is None or content["spec"]["driver"] != self._plugin.name or not await self._is_here(ctx, content):
            return None
        if is_deleting(content):
            await self._delete(ctx, content)
            return None
        if CONTENT_FINALIZER not in (content["metadata"].get("finalizers") or ()):
            kept = [*(content["metadata"].get("finalizers") or ()), CONTENT_FINALIZER]
            content = await self._finalizers(ctx, CONTENTS, content, kept)
        if (content.get("status") or {}).get("readyToUse"):
            return None
        try:
            made = await self._snapshot(ctx, content)
        except (DriverFailure, NotReady) as error:
            ctx.event(content, "Warning", "SnapshotCreationFailed", str(error))
            await self._status(ctx, CONTENTS, content, error=_error(ctx, str(error)), readyToUse=False)
            raise Foreseen(str(error)) from error
        if made is None:
            return None
        await self._status(
            ctx,
            CONTENTS,
            content,
            snapshotHandle=made.snapshot_id,
            creationTime=made.creation_time.ToNanoseconds() or None,
            restoreSize=made.size_bytes,
            readyToUse=made.ready_to_use,
            error=None,
        )
        return None if made.ready_to_use else POLL

    async def _is_here(self, ctx: Context, content: Object) -> bool:
        """Of a local driver's instances the one that has the volume, or the snapshot, carries it out."""
        if self._plugin.place is None:
            return True
        handle = content["spec"]["source"].get("volumeHandle")
        for volume in ctx.listed(volumes.RESOURCE):
            if (volume["spec"].get("csi") or {}).get("volumeHandle") == handle:
                return self._plugin.has(volume)
        snapshot = (content.get("status") or {}).get("snapshotHandle") or content["spec"]["source"].get(
            "snapshotHandle"
        )
        return bool(snapshot) and await self._find(snapshot) is not None

    async def _snapshot(self, ctx: Context, content: Object) -> pb.Snapshot | None:
        source = content["spec"]["source"]
        if handle := source.get("snapshotHandle"):
            found = await self._find(handle)
            if found is None:
                raise NotReady(f"{self._plugin.name} has no snapshot {handle}")
            return found
        uid = content["spec"]["volumeSnapshotRef"]["uid"]
        request = pb.CreateSnapshotRequest(
            name=f"snapshot-{uid}",
            source_volume_id=source["volumeHandle"],
            secrets=await self._secrets(ctx, content),
            parameters=self._parameters(ctx, content),
        )
        response = await self._plugin.driver.controller("CreateSnapshot", request, timeout=TIMEOUT * 5)
        if not response.snapshot.snapshot_id:
            raise DriverFailure("INTERNAL", "the driver made a snapshot without an ID")
        found_: pb.Snapshot = response.snapshot
        return found_

    def _parameters(self, ctx: Context, content: Object) -> dict[str, str]:
        name = content["spec"].get("volumeSnapshotClassName")
        for class_ in ctx.listed(CLASSES):
            if class_["metadata"]["name"] == name:
                given = class_.get("parameters") or {}
                return {key: value for key, value in given.items() if not key.startswith("csi.storage.k8s.io/")}
        return {}

    async def _find(self, handle: str) -> pb.Snapshot | None:
        if "LIST_SNAPSHOTS" not in self._plugin.can:
            return pb.Snapshot(snapshot_id=handle, ready_to_use=True)
        request = pb.ListSnapshotsRequest(snapshot_id=handle)
        response = await self._plugin.driver.controller("ListSnapshots", request, timeout=TIMEOUT)
        return response.entries[0].snapshot if response.entries else None

    async def _secrets(self, ctx: Context, content: Object) -> dict[str, str]:
        marks = content["metadata"].get("annotations") or {}
        name = marks.get(f"{GROUP}/deletion-secret-name")
        ref = {"name": name, "namespace": marks.get(f"{GROUP}/deletion-secret-namespace")}
        return await secret(ctx, ref if name else None)

    async def _delete(self, ctx: Context, content: Object) -> None:
        finalizers = content["metadata"].get("finalizers") or []
        if CONTENT_FINALIZER not in finalizers:
            return
        handle = _handle(content)
        if handle and content["spec"].get("deletionPolicy") == "Delete":
            try:
                request = pb.DeleteSnapshotRequest(snapshot_id=handle, secrets=await self._secrets(ctx, content))
                await self._plugin.driver.controller("DeleteSnapshot", request, timeout=TIMEOUT)
            except (DriverFailure, NotReady) as error:
                ctx.event(content, "Warning", "SnapshotDeleteError", str(error))
                raise Foreseen(str(error)) from error
        kept = [name for name in finalizers if name != CONTENT_FINALIZER]
        await self._finalizers(ctx, CONTENTS, content, kept)

    # Writing.

    async def _status(self, ctx: Context, resource: Resource, obj: Object, **members: object) -> None:
        present = obj.get("status") or {}
        if all(present.get(name) == value for name, value in members.items()):
            return
        await ctx.patch(resource, key_of(obj), {"status": members}, subresource="status")

    async def _finalizers(self, ctx: Context, resource: Resource, obj: Object, finalizers: list[str]) -> Object:
        metadata = {"finalizers": finalizers, "resourceVersion": obj["metadata"]["resourceVersion"]}
        return await ctx.patch(resource, key_of(obj), {"metadata": metadata})

    def controllers(self) -> tuple[Controller, ...]:
        """One that pairs, one that carries out."""
        return (
            Controller(
                name="snapshot-controller",
                reconcile=self.bind,
                watches=(
                    Watch(SNAPSHOTS, keys=on_intent, indexes={"claim": _by_claim}),
                    Watch(CONTENTS, keys=_of_content),
                    Watch(CLASSES, keys=_unbound_snapshots),
                    Watch(claims.RESOURCE, keys=_of_claim),
                    Watch(volumes.RESOURCE, keys=lambda _lookup, _new, _old: ()),
                ),
            ),
            Controller(
                name="csi-snapshotter",
                reconcile=self.carry_out,
                watches=(
                    Watch(CONTENTS, keys=on_intent),
                    Watch(CLASSES, keys=lambda _lookup, _new, _old: ()),
                    Watch(volumes.RESOURCE, keys=lambda _lookup, _new, _old: ()),
                ),
            ),
        )


def _content_name(snapshot: Object) -> str:
    return f"snapcontent-{snapshot['metadata']['uid']}"


def _handle(content: Object) -> str:
    """The driver's ID of the snapshot, once there is one."""
    made = (content.get("status") or {}).get("snapshotHandle")
    return str(made or content["spec"]["source"].get("snapshotHandle") or "")


def _error(ctx: Context, message: str) -> Object:
    return {"time": times.rfc3339(ctx.now()), "message": message}


def _by_claim(snapshot: Object) -> tuple[str, ...]:
    name = snapshot["spec"]["source"].get("persistentVolumeClaimName")
    return (f"{snapshot['metadata']['namespace']}/{name}",) if name else ()


def _of_claim(lookup: Lookup, claim: Object, _old: Object | None) -> Iterator[Key]:
    for snapshot in lookup.listed(SNAPSHOTS, index="claim", value=str(key_of(claim))):
        yield key_of(snapshot)


def _of_content(_lookup: Lookup, content: Object, _old: Object | None) -> Iterator[Key]:
    ref = content["spec"].get("volumeSnapshotRef") or {}
    if ref.get("name"):
        yield Key(ref.get("namespace") or "", ref["name"])


def _unbound_snapshots(lookup: Lookup, _class: Object, _old: Object | None) -> Iterator[Key]:
    for snapshot in lookup.listed(SNAPSHOTS):
        if not (snapshot.get("status") or {}).get("boundVolumeSnapshotContentName"):
            yield key_of(snapshot)
