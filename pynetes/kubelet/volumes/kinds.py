"""Volumes that the kubelet makes itself: emptyDir, hostPath, local, nfs. Making one again is harmless."""

import asyncio
import os
import stat
from pathlib import Path

from pynetes.component import command
from pynetes.component.command import CommandError
from pynetes.kubelet.volumes import mounts, ownership
from pynetes.kubelet.volumes.spec import Spec, VolumeFailure
from pynetes.machinery import quantity
from pynetes.machinery.meta import Object

#: hostPath types: what has to be there already.
CHECKS = {
    "Directory": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}
#: Seconds that an NFS server gets to answer.
NFS_PATIENCE = 60.0


def empty_dir(path: Path, source: Object, group: int | None) -> None:
    """A folder, or a tmpfs of at most sizeLimit."""
    fresh = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    medium = source.get("medium") or ""
    if medium == "Memory":
        limit = quantity.parse(source["sizeLimit"]).value() if source.get("sizeLimit") else 0
        mounts.tmpfs(path, size=limit, mode=0o777)
    elif medium:
        raise VolumeFailure(f"medium {medium!r} of an emptyDir is not supported")
    if fresh:
        path.chmod(0o777)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o2777)


def host_path(path: Path, kind: str) -> None:
    """Check, or make, what is to be there. Raises VolumeFailure."""
    if kind == "DirectoryOrCreate":
        if not path.exists():
            path.mkdir(parents=True, mode=0o755)
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not path.exists():
            path.touch(mode=0o644)
        kind = "File"
    if kind in CHECKS:
        matches, name = CHECKS[kind]
        if not path.exists() or not matches(path.stat().st_mode):
            raise VolumeFailure(f"hostPath type check failed: {path} is not a {name}")


def local(path: Path, spec: Spec, pod: Object) -> None:
    """A folder of the node, bound to the pod's own place; for a block volume there is nothing to do but check."""
    source = Path(spec.source["path"])
    if not source.exists():
        raise VolumeFailure(f"path {source} does not exist")
    if spec.block:
        if not stat.S_ISBLK(source.stat().st_mode):
            raise VolumeFailure(f"path {source} is no block device")
        return
    if not source.is_dir():
        raise VolumeFailure(f"path {source} is no directory; a device needs volumeMode Block")
    if not mounts.is_mount(path):
        path.mkdir(parents=True, exist_ok=True)
        mounts.bind_path(source.resolve(), path)
        ownership.apply(path, pod, read_only=spec.read_only)


async def nfs(path: Path, spec: Spec) -> None:
    """An export of an NFS server. Raises VolumeFailure with what mount said."""
    if await asyncio.to_thread(mounts.is_mount, path):
        return
    path.mkdir(parents=True, exist_ok=True)
    options = [*spec.mount_options, *(["ro"] if spec.read_only else [])]
    export = f"{spec.source['server']}:{spec.source['path']}"
    flags = ["-o", ",".join(options)] if options else []
    try:
        await command.run(["mount", "-t", "nfs", *flags, export, str(path)], timeout=NFS_PATIENCE)
    except CommandError as error:
        path.rmdir()
        raise VolumeFailure(f"mount of {export} failed: {error}; does the node have nfs-common?") from error
