"""Loop devices: an image file as a block device, one device per image however often it is asked for.

Two devices on one image would each have caches of their own and destroy what is in it, so the device of an image is
looked for before one is made. Callers hold the volume's lock meanwhile. The kernel's interface: linux/loop.h.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

CONTROL = "/dev/loop-control"
LOOP_SET_CAPACITY, LOOP_CLR_FD, LOOP_CONFIGURE, LOOP_CTL_GET_FREE = 0x4C07, 0x4C01, 0x4C0A, 0x4C82
LOOP_GET_STATUS64 = 0x4C05
#: struct loop_info64 begins with lo_device and lo_inode.
_INFO_SIZE, _IDENTITY = 232, struct.Struct("=QQ")
#: The kernel's major number of loop devices.
MAJOR = 7
#: struct loop_config is fd, block_size, struct loop_info64 (232 bytes), 64 bytes reserved.
_CONFIG = struct.Struct("=II 232s 64s")
#: Attempts at a free device: others (mount -o loop, other drivers) take the one that was found free.
_ATTEMPTS = 64


class Identity(NamedTuple):
    """What a file is: its filesystem's device, as the kernel encodes it, and its inode."""

    device: int
    inode: int


def attached(*, sys: Path = Path("/sys/block")) -> dict[Identity, Path]:
    """The devices that have a file, by what the file is and not by what it is called: a path that the kernel shows is
    that of the mount through which the file was opened, and of that nothing is left when a driver's pod has ended."""
    found = {}
    for entry in sys.glob("loop*/loop/backing_file"):
        device = _node(entry.parent.parent.name)
        with suppress(OSError):
            handle = os.open(device, os.O_RDONLY)
            try:
                status = fcntl.ioctl(handle, LOOP_GET_STATUS64, bytes(_INFO_SIZE))
            finally:
                os.close(handle)
            number, inode = _IDENTITY.unpack_from(status)
            found[Identity(number, inode)] = device
    return found


def find(image: Path) -> Path | None:
    """The device of an image, if it has one."""
    return attached().get(_identity(image))


def _identity(image: Path) -> Identity:
    stat_ = image.stat()
    major, minor = os.major(stat_.st_dev), os.minor(stat_.st_dev)
    # As the kernel's new_encode_dev.
    return Identity((minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12, stat_.st_ino)


def attach(image: Path) -> Path:
    """The device of an image, made if it has none."""
    if (known := find(image)) is not None:
        return known
    backing = os.open(image, os.O_RDWR)
    try:
        for _ in range(_ATTEMPTS):
            control = os.open(CONTROL, os.O_RDWR)
            try:
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            finally:
                os.close(control)
            device = _node(f"loop{number}")
            handle = os.open(device, os.O_RDWR)
            try:
                fcntl.ioctl(handle, LOOP_CONFIGURE, _CONFIG.pack(backing, 0, _info(image), b""))
                return device
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
            finally:
                os.close(handle)
    finally:
        os.close(backing)
    raise OSError(errno.EBUSY, f"no free loop device for {image}")


def detach(image: Path) -> None:
    """Free an image's device, if it has one; the kernel waits until the last mount of it is gone."""
    if (device := find(image)) is not None:
        _clear(device)


def _clear(device: Path) -> None:
    handle = os.open(device, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, LOOP_CLR_FD)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
    finally:
        os.close(handle)


def detach_all(images: Iterable[Path]) -> int:
    """Free the devices of images that are about to be left or removed; how many there were."""
    devices, done = attached(), 0
    for image in images:
        with suppress(OSError):
            if (device := devices.get(_identity(image))) is not None:
                _clear(device)
                done += 1
    return done


def grow(device: Path) -> None:
    """Let a device see that its image has grown."""
    handle = os.open(device, os.O_RDWR)
    try:
        fcntl.ioctl(handle, LOOP_SET_CAPACITY)
    finally:
        os.close(handle)


def size(device: Path) -> int:
    """A device's bytes."""
    handle = os.open(device, os.O_RDONLY)
    try:
        return os.lseek(handle, 0, os.SEEK_END)
    finally:
        os.close(handle)


def _info(image: Path) -> bytes:
    # lo_device, lo_inode, lo_rdevice, lo_offset, lo_sizelimit (8 each), lo_number … lo_flags (4 each), lo_file_name.
    name = os.fsencode(image)[-63:]
    return struct.pack("=QQQQQ IIII 64s", 0, 0, 0, 0, 0, 0, 0, 0, 0, name)


def _node(name: str) -> Path:
    """The device's file, made where /dev does not make it by itself."""
    path = Path("/dev") / name
    if not path.exists():
        with suppress(FileExistsError):
            os.mknod(path, 0o660 | stat.S_IFBLK, os.makedev(MAJOR, int(name.removeprefix("loop"))))
    return path
