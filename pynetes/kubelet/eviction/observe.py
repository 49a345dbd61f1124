"""What is left of the machine, and what pods use of its disk."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pynetes.kubelet import machine
from pynetes.kubelet.eviction.thresholds import Seen


def signals(root: Path, images: Path | None) -> dict[str, Seen]:
    """Every signal now. images: where the runtime keeps images, None while unknown."""
    sizes = machine.memory_sizes()
    running, most = machine.process_slots()
    seen = {
        "memory.available": Seen(sizes[0], sizes[1]),
        "pid.available": Seen(max(most - running, 0), most),
        **_disk("nodefs", root),
    }
    if images is not None and images.exists():
        seen.update(_disk("imagefs", images))
    return seen


def _disk(name: str, path: Path) -> dict[str, Seen]:
    found = os.statvfs(path)
    room = Seen(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
    seen = {f"{name}.available": room}
    # Some file systems make inodes as they need them, and count none.
    if found.f_files:
        seen[f"{name}.inodesFree"] = Seen(found.f_favail, found.f_files)
    return seen


class Size(NamedTuple):
    """What a folder takes."""

    bytes: int
    inodes: int


def size(paths: Iterable[Path]) -> Size:
    """What folders take on their own file systems, without what is mounted inside. For a thread: it may take long."""
    total = inodes = 0
    for path in paths:
        pending = [path]
        try:
            device = path.lstat().st_dev
        except OSError:
            continue
        while pending:
            try:
                with os.scandir(pending.pop()) as entries:
                    for entry in entries:
                        found = entry.stat(follow_symlinks=False)
                        total += found.st_blocks * 512
                        inodes += 1
                        if entry.is_dir(follow_symlinks=False) and found.st_dev == device:
                            pending.append(Path(entry.path))
            except OSError:
                # Files come and go while they are counted.
                continue
    return Size(total, inodes)
