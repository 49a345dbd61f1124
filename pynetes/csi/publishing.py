"""What every node service does with a volume that has its device: bind it to a pod, say how full it is, clean up.

What is true is read from the kernel's list of mounts every time.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from pynetes.csi.local import filesystem, requests
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.server import Failure


def is_on(mounted: filesystem.Mount, device: Path) -> bool:
    """Whether the device's filesystem is what is mounted there."""
    number = device.stat().st_rdev
    return mounted.device == f"{os.major(number)}:{os.minor(number)}"


async def bind(source: Path, device: Path, target: Path, request: pb.NodePublishVolumeRequest) -> None:
    """Bind a staged folder, or the device itself, to where a pod will see it. Raises ALREADY_EXISTS and others."""
    only_read = request.readonly or request.volume_capability.access_mode.mode in requests.READ_ONLY_MODES
    mounted = filesystem.mounted_at(target)
    if mounted is not None:
        if not is_on(mounted, device) and mounted.root != f"/{device.name}":
            raise Failure("ALREADY_EXISTS", f"{target} has something else mounted: {mounted.source}")
        if source != device and ("ro" in mounted.options.split(",")) != only_read:
            raise Failure("ALREADY_EXISTS", f"{target} is published with another access mode")
        return
    mode = request.volume_capability.access_mode.mode
    others = [one for one in filesystem.users_of(device) if one != request.staging_target_path]
    if others and mode == requests.MODES.SINGLE_NODE_SINGLE_WRITER:
        raise Failure("FAILED_PRECONDITION", f"the volume is for one pod only, and is published at {others[0]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source == device:
        target.touch()
    else:
        target.mkdir(exist_ok=True)
    await filesystem.bind(source, target, ["ro"] if only_read else [])


async def usage(path: Path) -> list[pb.VolumeUsage]:
    """Bytes and inodes of the filesystem at a path."""
    units = pb.VolumeUsage.Unit
    stat = await asyncio.to_thread(os.statvfs, path)
    unit = stat.f_frsize
    return [
        pb.VolumeUsage(
            unit=units.BYTES,
            total=stat.f_blocks * unit,
            available=stat.f_bavail * unit,
            used=(stat.f_blocks - stat.f_bfree) * unit,
        ),
        pb.VolumeUsage(
            unit=units.INODES, total=stat.f_files, available=stat.f_favail, used=stat.f_files - stat.f_ffree
        ),
    ]


def remove(target: Path) -> None:
    """Remove an empty mount point. Never what is in it: what is still there is somebody's data."""
    with suppress(FileNotFoundError):
        if target.is_dir() and not target.is_symlink():
            target.rmdir()
        elif target.stat().st_size == 0:
            target.unlink()
