"""Makes, refreshes and removes the volumes of pods below ROOT/pods/UID/volumes, in upstream's layout."""

import asyncio
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from pynetes.kubelet import env, podspec
from pynetes.kubelet.volumes import atomic, mounts, sources, subpath
from pynetes.kubelet.volumes.sources import Inputs, VolumeFailure
from pynetes.machinery import quantity
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

FOLDERS = {
    "configMap": "kubernetes.io~configmap",
    "secret": "kubernetes.io~secret",
    "projected": "kubernetes.io~projected",
    "downwardAPI": "kubernetes.io~downward-api",
    "emptyDir": "kubernetes.io~empty-dir",
}
#: Contents that must not reach a disk.
IN_MEMORY = ("secret", "projected", "downwardAPI")
#: hostPath types: what has to be there already, and what is made.
CHECKS = {
    "Directory": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}
PROPAGATION = {
    "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}


class Volumes:
    """The volumes of all pods of the node."""

    def __init__(self, root: Path) -> None:
        self._pods = root / "pods"

    def home(self, uid: str) -> Path:
        """A pod's folder."""
        return self._pods / uid

    def known(self) -> set[str]:
        """UIDs of pods that have a folder."""
        return {path.name for path in self._pods.iterdir()} if self._pods.is_dir() else set()

    def paths(self, pod: Object) -> dict[str, Path]:
        """Where each volume is on the node."""
        return {volume["name"]: self._path(pod, volume) for volume in pod["spec"].get("volumes") or ()}

    async def mount(self, pod: Object, inputs: Inputs) -> None:
        """Make or refresh every volume. Raises VolumeFailure naming the volume."""
        for volume in pod["spec"].get("volumes") or ():
            try:
                await self._make(pod, volume, inputs)
            except (VolumeFailure, StatusError, OSError) as failure:
                raise VolumeFailure(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {failure}') from failure

    async def unmount(self, uid: str) -> None:
        """Remove a pod's volumes and their contents."""
        await asyncio.to_thread(self._remove, self.home(uid))

    def container_mounts(
        self, pod: Object, container: Object, environment: Mapping[str, str], *, group: int | None = None
    ) -> list[pb.Mount]:
        """A container's volumeMounts as the runtime takes them. Raises env.BadConfig."""
        paths = self.paths(pod)
        made = []
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            host = paths.get(mount["name"])
            if host is None:
                raise env.BadConfig(f"volumeMount {mount['name']} has no volume")
            inner = _sub_path(mount, environment)
            if inner:
                place = self.home(pod["metadata"]["uid"]) / "volume-subpaths" / mount["name"]
                host = subpath.prepare(host, inner, place / container["name"] / str(index))
            made.append(
                pb.Mount(
                    container_path=_absolute(mount["mountPath"]),
                    host_path=str(host),
                    readonly=bool(mount.get("readOnly")),
                    propagation=PROPAGATION.get(mount.get("mountPropagation", ""), pb.PROPAGATION_PRIVATE),
                )
            )
        return made

    def _path(self, pod: Object, volume: Object) -> Path:
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        kind = next((kind for kind in FOLDERS if kind in volume), "emptyDir")
        return self.home(pod["metadata"]["uid"]) / "volumes" / FOLDERS[kind] / str(volume["name"])

    async def _make(self, pod: Object, volume: Object, inputs: Inputs) -> None:
        path = self._path(pod, volume)
        if "hostPath" in volume:
            _host_path(path, volume["hostPath"].get("type") or "")
            return
        kind = next((kind for kind in FOLDERS if kind in volume), "")
        if not kind:
            kinds = [name for name in volume if name != "name"]
            raise VolumeFailure(f"volumes of type {', '.join(kinds)} are not supported")
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if kind == "emptyDir":
            _empty_dir(path, volume["emptyDir"] or {}, group)
            return
        # Asked for first: a missing object shall leave nothing half-made.
        shown = await sources.files(pod, volume, inputs)
        owner = _token_owner(pod)
        path.mkdir(parents=True, exist_ok=True)
        if kind in IN_MEMORY:
            mounts.tmpfs(path)
        await asyncio.to_thread(atomic.write, path, shown, group=group, owner=owner if kind == "projected" else None)

    def _remove(self, home: Path) -> None:
        for place in mounts.below(home):
            mounts.unmount(Path(place))
        for part in ("volumes", "volume-subpaths"):
            shutil.rmtree(home / part, ignore_errors=True)


def _sub_path(mount: Object, environment: Mapping[str, str]) -> str:
    if mount.get("subPathExpr"):
        inner = env.expand(mount["subPathExpr"], environment)
        if "$(" in inner:
            raise env.BadConfig(f"cannot expand subPathExpr {mount['subPathExpr']!r}: missing value")
        if inner.startswith("/") or ".." in inner.split("/"):
            raise env.BadConfig(f"subPathExpr {inner!r} must not be absolute or lead upwards")
        return inner
    return str(mount.get("subPath") or "")


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


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


def _empty_dir(path: Path, source: Object, group: int | None) -> None:
    fresh = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    if source.get("medium") == "Memory":
        limit = quantity.parse(source["sizeLimit"]).value() if source.get("sizeLimit") else 0
        mounts.tmpfs(path, size=limit, mode=0o777)
    if fresh:
        path.chmod(0o777)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o2777)


def _host_path(path: Path, kind: str) -> None:
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not path.exists():
            path.touch(mode=0o644)
        kind = "File"
    if kind in CHECKS:
        matches, name = CHECKS[kind]
        if not path.exists() or not matches(path.stat().st_mode):
            raise VolumeFailure(f"hostPath type check failed: {path} is not a {name}")
