"""subPath: a part of a volume, mounted safely although containers can write to the volume meanwhile.

The path is walked once, ends in an open descriptor, and is checked by where that descriptor points; the descriptor is
then bound to a place outside of the volume. A container that swaps a folder for a symbolic link between the check and
the mount gains nothing (CVE-2017-1002101, CVE-2021-25741).
"""

import os
import stat
from pathlib import Path

from pynetes.kubelet.env import BadConfig
from pynetes.kubelet.volumes import mounts


def prepare(volume: Path, path: str, target: Path) -> Path:
    """Bind volume/path to target, making the folder if it is missing; returns target."""
    if path.startswith("/") or ".." in path.split("/"):
        raise BadConfig(f"subPath {path!r} must stay inside the volume")
    descriptor = _open_within(volume, path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mounts.unmount(target)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        mounts.bind(descriptor, target)
    finally:
        os.close(descriptor)
    return target


def _open_within(volume: Path, path: str) -> int:
    base = volume.resolve()
    wanted = base / path
    if not os.path.lexists(wanted):
        _make(base, path)
    descriptor = os.open(wanted, os.O_PATH | os.O_CLOEXEC)
    real = Path(f"/proc/self/fd/{descriptor}").readlink()
    if real != base and base not in real.parents:
        os.close(descriptor)
        raise BadConfig(f"subPath {path!r} leads out of the volume")
    return descriptor


def _make(base: Path, path: str) -> None:
    """Make the missing folders, one at a time and never through a symbolic link."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.open(base, flags)
    try:
        for part in filter(None, path.split("/")):
            mode = os.fstat(current).st_mode & 0o777
            try:
                os.mkdir(part, dir_fd=current)
                os.chmod(part, mode, dir_fd=current)
            except FileExistsError:
                pass
            following = os.open(part, flags, dir_fd=current)
            os.close(current)
            current = following
    finally:
        os.close(current)
