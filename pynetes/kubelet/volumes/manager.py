"""The volume manager: what pods are to have (desired), what is there (actual), and the steps from one to the other.

Each pod's worker calls `mount` whenever it looks at its pod, so desired state is never stored: it is the pod. What is
there is known from memory, and after a restart from disk. `decide` is the pure middle; the rest carries it out. In
upstream's layout: ROOT/pods/UID/volumes/KIND/NAME.
"""

import asyncio
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pynetes.apis.core import persistentvolumeclaims
from pynetes.client.rest import Client
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.kubelet import metrics, podspec, rootdir
from pynetes.kubelet.csi.volumes import OPERATIONS, CsiVolumes
from pynetes.kubelet.volumes import atomic, kinds, mounts, sources, spec
from pynetes.kubelet.volumes.images import ImageViews
from pynetes.kubelet.volumes.sources import Inputs
from pynetes.kubelet.volumes.spec import Spec, VolumeFailure
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

log = logging.getLogger(__name__)

FOLDERS = {
    "configMap": "kubernetes.io~configmap",
    "secret": "kubernetes.io~secret",
    "projected": "kubernetes.io~projected",
    "downwardAPI": "kubernetes.io~downward-api",
    "emptyDir": "kubernetes.io~empty-dir",
    "local": "kubernetes.io~local-volume",
    "nfs": "kubernetes.io~nfs",
    "image": "kubernetes.io~image",
}
#: Contents that must not reach a disk.
IN_MEMORY = ("secret", "projected", "downwardAPI")
#: Kinds whose mounts show what is not the pod's own: unmounted in the end, never emptied.
FOREIGN = ("local", "nfs", "image")
#: Seconds between looks at whether a claim's volume has grown.
GROWTH = 20.0
#: Claims that are read at the same time: each more would open, and greet, one more connection to the API server.
READERS = 24


class Action(StrEnum):
    """What a volume of a pod needs."""

    KEEP = "keep"
    MOUNT = "mount"
    REFRESH = "refresh"
    CHECK = "check"


@dataclass(kw_only=True)
class Mounted:
    """A volume that is there. looked: when its claim was last read."""

    spec: Spec
    looked: float


def decide(volume: Object, mounted: Mounted | None, now: float) -> Action:
    """What a volume needs now: the first mount, new contents, or a look at whether it has grown. Pure."""
    if mounted is None:
        return Action.MOUNT
    if mounted.spec.kind in sources.ATOMIC or mounted.spec.kind == "csi":
        grows = mounted.spec.persistent and now - mounted.looked >= GROWTH
        return Action.CHECK if grows else Action.REFRESH
    return Action.KEEP


class Volumes:
    """The volumes of all pods of the node."""

    def __init__(self, root: Path, client: Client, clock: Clock, csi: CsiVolumes, images: ImageViews) -> None:
        self._root, self._pods, self._client, self._clock, self.csi = root, root / "pods", client, clock, csi
        self.images = images
        self._mounted: dict[str, dict[str, Mounted]] = {}
        self._reading = asyncio.Semaphore(READERS)

    def home(self, uid: str) -> Path:
        """A pod's folder."""
        return self._pods / uid

    def known(self) -> set[str]:
        """UIDs of pods that have a folder, or a volume of a driver."""
        folders = {path.name for path in self._pods.iterdir()} if self._pods.is_dir() else set()
        return folders | self.csi.owners()

    def specs(self, uid: str) -> dict[str, Spec]:
        """What a pod's volumes are, by their names in the pod: those that are mounted."""
        return {name: one.spec for name, one in self._mounted.get(uid, {}).items()}

    def path(self, pod: Object, one: Spec) -> Path:
        """Where a volume is on the node."""
        if one.kind == "csi":
            return self.csi.path(pod, one)
        if one.kind == "hostPath":
            return rootdir.real(one.source["path"], self._root)
        if one.kind == "local" and one.block:
            return Path(one.source["path"])
        return self.home(pod["metadata"]["uid"]) / "volumes" / FOLDERS.get(one.kind, one.kind) / one.spec_name

    async def mount(self, pod: Object, inputs: Inputs) -> None:
        """Have every volume there, with its newest contents. Raises VolumeFailure of the first that is not.

        All at the same time: one that waits must not hold up the others."""
        wanted = list(spec.used(pod))
        results = await asyncio.gather(*(self._one(pod, one, inputs) for one in wanted), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def unmount(self, uid: str) -> None:
        """Unmount a pod's volumes and remove what was the pod's own. Raises VolumeFailure where one stays."""
        results = await asyncio.gather(
            *(self.csi.tear_down(one) for one in self.csi.of_pod(uid)), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        self.csi.forget_pod(uid)
        views = list((self.home(uid) / "volumes" / FOLDERS["image"]).glob("*"))
        await asyncio.to_thread(self._remove, self.home(uid))
        for view in views:
            await self.images.release(view)
        self._mounted.pop(uid, None)

    async def _one(self, pod: Object, volume: Object, inputs: Inputs) -> None:
        uid, name, now = pod["metadata"]["uid"], volume["name"], self._clock.monotonic()
        known = self._mounted.get(uid, {}).get(name)
        action = decide(volume, known, now)
        if action == Action.KEEP:
            return
        fresh = known.spec if known and action == Action.REFRESH else await self._resolve(pod, volume)
        began, status = self._clock.monotonic(), "fail-unknown"
        try:
            await self._make(pod, volume, fresh, inputs)
            status = "success"
            if action != Action.REFRESH:
                await self._grow(pod, fresh)
        except (VolumeFailure, StatusError, OSError) as failure:
            raise _named(fresh, failure) from failure
        finally:
            # Those of drivers are counted step by step where they happen.
            if fresh.kind != "csi":
                took = self._clock.monotonic() - began
                OPERATIONS.observe(took, metrics.plugin(fresh.kind), "volume_mount", status)
        looked = known.looked if known and action == Action.REFRESH else now
        self._mounted.setdefault(uid, {})[name] = Mounted(spec=fresh, looked=looked)

    async def _resolve(self, pod: Object, volume: Object) -> Spec:
        try:
            async with self._reading:
                return await spec.resolve(self._client, pod, volume)
        except VolumeFailure as failure:
            text = f"Unable to attach or mount volumes: unmounted volumes=[{volume['name']}]: {failure}"
            raise VolumeFailure(text) from failure

    async def _make(self, pod: Object, volume: Object, one: Spec, inputs: Inputs) -> None:
        path = self.path(pod, one)
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if one.kind == "csi":
            await self.csi.set_up(pod, one)
        elif one.kind == "hostPath":
            kinds.host_path(path, one.source.get("type") or "")
        elif one.kind == "emptyDir":
            kinds.empty_dir(path, one.source, group)
        elif one.kind == "local":
            await asyncio.to_thread(kinds.local, path, one, pod)
        elif one.kind == "nfs":
            await kinds.nfs(path, one)
        elif one.kind in sources.ATOMIC:
            # Asked for first: a missing object shall leave nothing half-made.
            shown = await sources.files(pod, volume, inputs)
            owner = _token_owner(pod) if one.kind == "projected" else None
            await asyncio.to_thread(_write, path, shown, group, owner, memory=one.kind in IN_MEMORY)
        elif one.kind != "image":
            raise VolumeFailure(f"volumes of type {one.kind} are not supported")

    async def _grow(self, pod: Object, one: Spec) -> None:
        """Grow the file system of a volume that has grown, and say so in the claim."""
        if one.kind != "csi" or one.claim is None or not 0 < one.claimed < one.capacity:
            return
        await self.csi.expand(pod, one)
        claim = await self._client.get(persistentvolumeclaims.RESOURCE, one.claim)
        patch = grown(claim, one.size)
        await self._client.patch(persistentvolumeclaims.RESOURCE, one.claim, patch, subresource="status")
        log.info(logs.fact("volume grown", volume=one.spec_name, size=one.size))

    def _remove(self, home: Path) -> None:
        """Remove a pod's own volumes. What is mounted there is let go first; if anything stays, nothing is emptied."""
        for place in mounts.below(home):
            mounts.unmount(Path(place))
        left = list(mounts.below(home))
        if left:
            raise VolumeFailure(f"{left[0]} could not be unmounted")
        for kind in FOREIGN:
            for folder in (home / "volumes" / FOLDERS[kind]).glob("*"):
                folder.rmdir()
        for part in ("volumes", "volume-subpaths"):
            shutil.rmtree(home / part, ignore_errors=True)


def grown(claim: Object, size: str) -> Object:
    """The merge patch for a claim whose volume's file system has been grown to size. Pure."""
    conditions: Iterable[Object] = (claim.get("status") or {}).get("conditions") or ()
    done = ("FileSystemResizePending", "Resizing", "NodeResizeError", "ControllerResizeError")
    kept = [one for one in conditions if one["type"] not in done]
    return {
        "status": {
            "capacity": {"storage": size},
            "conditions": kept,
            "allocatedResourceStatuses": {"storage": None},
        }
    }


def _named(one: Spec, failure: Exception) -> VolumeFailure:
    """The failure as an event tells it, with the volume's name."""
    text, reason = str(failure), getattr(failure, "reason", "")
    if one.kind == "csi" and isinstance(failure, VolumeFailure) and "failed for volume" in text:
        return failure
    reason = reason if isinstance(failure, VolumeFailure) else "FailedMount"
    return VolumeFailure(f'MountVolume.SetUp failed for volume "{one.spec_name}" : {text}', reason=reason)


def _write(path: Path, shown: dict[str, atomic.File], group: int | None, owner: int | None, *, memory: bool) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if memory:
        mounts.tmpfs(path)
    atomic.write(path, shown, group=group, owner=owner)


def _token_owner(pod: Object) -> int | None:
    """The user that all containers run as, who then owns the token alone."""
    whole = pod["spec"].get("securityContext") or {}
    if whole.get("fsGroup") is not None:
        return None
    users = {
        (one.get("securityContext") or {}).get("runAsUser", whole.get("runAsUser"))
        for one in [*podspec.inits(pod), *podspec.regulars(pod)]
    }
    return users.pop() if len(users) == 1 else None
