"""Filesystems of volumes: making, checking, mounting and growing them, with the tools of e2fsprogs and the kernel."""

import asyncio
import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pynetes.component import command

#: What NodeStage can make. ext4 is what every Linux has tools for.
TYPES = ("ext4", "ext3", "ext2")
#: A filesystem smaller than this has no room for its own journal.
SMALLEST = 1 << 20
_TIMEOUT = 120.0
_CAP_SYS_RESOURCE = 24
#: A bit of the features that a kernel must know, byte 96: the journal has something to replay.
_NEEDS_RECOVERY = 4
MS_REMOUNT, MS_BIND, UMOUNT_NOFOLLOW = 32, 4096, 8
#: Options of mount(8) that are the kernel's flags; all others are the filesystem's.
OPTIONS = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "dirsync": 128,
    "noatime": 1024,
    "nodiratime": 2048,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
    "lazytime": 1 << 25,
    "rw": 0,
    "defaults": 0,
}
_libc = ctypes.CDLL(None, use_errno=True)


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo."""

    device: str
    root: str
    target: str
    options: str
    source: str


def _superblock(device: Path) -> bytes:
    """The superblock of an ext2, 3 or 4; empty if there is none."""
    with device.open("rb") as file:
        file.seek(1024)
        block = file.read(1024)
    return block if len(block) == 1024 and block[56:58] == b"\x53\xef" else b""


def is_clean(device: Path) -> bool:
    """Whether a filesystem was unmounted as it should and has seen no errors: the kernel's own word, two bits."""
    block = _superblock(device)
    return bool(block) and int.from_bytes(block[58:60], "little") == 1 and not block[96] & _NEEDS_RECOVERY


def superblock_bytes(device: Path) -> int:
    """How large the filesystem on a device or in an image is; 0 if there is none."""
    block = _superblock(device)
    if not block:
        return 0
    count = int.from_bytes(block[4:8], "little") | int.from_bytes(block[0x150:0x154], "little") << 32
    return count << (10 + int.from_bytes(block[24:28], "little"))


async def make(device: Path, fs_type: str) -> None:
    """Write a new filesystem. Blocks for root's use are not kept: the size asked for is the size got."""
    quiet = ("-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard")
    await command.run([f"mkfs.{fs_type}", *quiet, str(device)], timeout=_TIMEOUT)


async def check(device: Path, *, thoroughly: bool = False) -> None:
    """Repair what an unclean end has left. Raises CommandError for what needs a person."""
    argv = ["e2fsck", "-p", *(["-f"] if thoroughly else []), str(device)]
    result = await command.run(argv, check=False, timeout=_TIMEOUT)
    # 1: repaired; 2: repaired, and a reboot is advised only for a root filesystem.
    if result.code > 2:
        said = (result.out.strip() or result.err.strip()).splitlines()[-1:]
        raise command.CommandError(f"{device} has errors that need repair: {' '.join(said)}", f"run e2fsck {device}")


def can_grow_mounted() -> bool:
    """Whether the kernel lets this process grow an ext4 that is in use: it wants CAP_SYS_RESOURCE for that."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1)


async def grow(device: Path) -> None:
    """Let a filesystem take up its whole device, mounted or not."""
    await command.run(["resize2fs", str(device)], timeout=_TIMEOUT)


async def mount(source: Path, target: Path, fs_type: str, options: Sequence[str] = ()) -> None:
    """Mount a device; options as mount(8) has them."""
    flags, data = _flags(options)
    await asyncio.to_thread(_mount, str(source), target, fs_type, flags, data)


async def bind(source: Path, target: Path, options: Sequence[str] = ()) -> None:
    """Bind a folder or a device's file; options such as ro take a second step."""
    await asyncio.to_thread(_mount, str(source), target, "", MS_BIND, "")
    if options:
        flags, _ = _flags(options)
        try:
            await asyncio.to_thread(_mount, "", target, "", MS_REMOUNT | MS_BIND | flags, "")
        except OSError:
            await unmount(target)
            raise


async def unmount(target: Path) -> None:
    """Unmount everything that is mounted right there. OSError EBUSY while something uses it."""
    await asyncio.to_thread(_unmount, target)


def _unmount(target: Path) -> None:
    # The kernel says itself when nothing is left: its list is long, and shared with all other volumes.
    while _umount(target):
        pass


def _flags(options: Sequence[str]) -> tuple[int, str]:
    """The kernel's flags of options, and those that are the filesystem's own matter."""
    flags = 0
    for option in options:
        flags |= OPTIONS.get(option, 0)
    return flags, ",".join(option for option in options if option not in OPTIONS)


def _mount(source: str, target: Path, kind: str, flags: int, data: str) -> None:
    arguments = [os.fsencode(part) for part in (source, str(target), kind)]
    if _libc.mount(*arguments, flags, data.encode()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(target))


def _umount(target: Path) -> bool:
    """Unmount the topmost mount; False if there is none, or no such path."""
    if _libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW) == 0:
        return True
    error = ctypes.get_errno()
    if error not in (errno.EINVAL, errno.ENOENT):
        raise OSError(error, os.strerror(error), str(target))
    return False


def mounts(holding: str = "") -> list[Mount]:
    """What this process sees mounted; with `holding`, of the kernel's lines those with this text in them.

    A node has a mount or two for every volume and sandbox, so taking each line apart is what this would cost."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if holding not in line:
            continue
        left, _, right = line.partition(" - ")
        parts = left.split(" ")
        found.append(Mount(parts[2], parts[3], _plain(parts[4]), parts[5], right.split(" ")[1]))
    return found


def mounted_at(target: Path) -> Mount | None:
    """The topmost mount at a path."""
    wanted = os.path.realpath(target.parent) + "/" + target.name
    return next((one for one in reversed(mounts(f" {_escaped(wanted)} ")) if one.target == wanted), None)


def mounts_of(device: Path) -> list[Mount]:
    """Where a device's filesystem is mounted."""
    number = device.stat().st_rdev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    return [one for one in mounts(f" {wanted} ") if one.device == wanted]


def _escaped(text: str) -> str:
    """A path as the kernel writes it."""
    return "".join(f"\\{ord(one):03o}" if one in " \t\n\\" else one for one in text)


def _plain(text: str) -> str:
    return text.encode().decode("unicode_escape") if "\\" in text else text


def users_of(device: Path) -> list[str]:
    """Where a device is mounted, or bound as a device."""
    bound = [one.target for one in mounts(f" /{device.name} ") if one.root == f"/{device.name}"]
    return [one.target for one in mounts_of(device)] + bound
