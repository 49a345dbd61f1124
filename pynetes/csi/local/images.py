"""Image files: room that is really there, copies that keep holes, and data that survives a loss of power."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

#: linux/fs.h: the whole file becomes another name for the same blocks, where the filesystem can do that.
FICLONE = 0x40049409
#: Freeze and thaw a mounted filesystem.
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
_PIECE = 8 << 20


def allocate(path: Path, size: int, *, thin: bool = False) -> None:
    """Make a file this large, or make it grow; its room is taken now unless thin. OSError ENOSPC if there is none."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        before = os.fstat(handle).st_size
        if not thin and size > 0:
            try:
                os.posix_fallocate(handle, 0, size)
            except OSError:
                # What was there stays as it was.
                os.ftruncate(handle, before)
                raise
        elif size > before:
            os.ftruncate(handle, size)
    finally:
        os.close(handle)


def taken(path: Path) -> int:
    """Bytes that a file takes on the disk."""
    return path.stat().st_blocks * 512


def copy(source: Path, target: Path) -> None:
    """Copy an image: shared blocks where the filesystem has them, else only what is not a hole."""
    reader = os.open(source, os.O_RDONLY)
    writer = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with suppress(OSError):
            fcntl.ioctl(writer, FICLONE, reader)
            return
        size = os.fstat(reader).st_size
        os.ftruncate(writer, size)
        at = 0
        while at < size:
            try:
                start = os.lseek(reader, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
            at = os.lseek(reader, start, os.SEEK_HOLE)
            _copy_range(reader, writer, start, at)
    finally:
        os.close(reader)
        os.close(writer)


def can_share(folder: Path) -> bool:
    """Whether copies in this folder's filesystem share blocks, and so take no time."""
    source, target = folder / f".share-{os.getpid()}.a", folder / f".share-{os.getpid()}.b"
    source.write_bytes(b"\0" * 4096)
    writer = os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with source.open("rb") as reader:
            fcntl.ioctl(writer, FICLONE, reader.fileno())
        return True
    except OSError:
        return False
    finally:
        os.close(writer)
        source.unlink()
        target.unlink()


def _copy_range(reader: int, writer: int, start: int, end: int) -> None:
    at = start
    while at < end:
        done = os.copy_file_range(reader, writer, min(_PIECE, end - at), at, at)
        if not done:
            return
        at += done


def sync(path: Path) -> None:
    """What was written to a file, or renamed in a folder, is on the disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def freeze(mountpoint: Path, *, thaw: bool = False) -> None:
    """Stop writes to a mounted filesystem and make its image consistent; or let them go on."""
    handle = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(handle, FITHAW if thaw else FIFREEZE, 0)
    finally:
        os.close(handle)
