"""Loop devices: an image file as a block device, one device per image however often it is asked for.

Two devices on one image would each have caches of their own and destroy what is in it, so the device of an image is
looked for before one is made. Callers hold the volume's lock meanwhile. The kernel's interface: linux/loop.h.
"""

import errno
import fcntl
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path

CONTROL = "/dev/loop-control"
LOOP_SET_CAPACITY, LOOP_CLR_FD, LOOP_CONFIGURE, LOOP_CTL_GET_FREE = 0x4C07, 0x4C01, 0x4C0A, 0x4C82
#: The kernel's major number of loop devices.
MAJOR = 7
#: struct loop_config is fd, block_size, struct loop_info64 (232 bytes), 64 bytes reserved.
_CONFIG = struct.Struct("=II 232s 64s")
#: Attempts at a free device: others (mount -o loop, other drivers) take the one that was found free.
_ATTEMPTS = 64


def find(image: Path, *, sys: Path = Path("/sys/block")) -> Path | None:
    """The device of an image, if it has one."""
    wanted = str(image)
    for entry in sys.glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if entry.read_text().rstrip("\n") == wanted:
                return _node(entry.parent.parent.name)
    return None


def attach(image: Path) -> Path:
    """The device of an image, made if it has none."""
    if (found := find(image)) is not None:
        return found
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


def detach_below(folder: Path, *, sys: Path = Path("/sys/block")) -> list[str]:
    """Free the devices of all images below a folder, of removed ones too; which they were."""
    done = []
    for entry in sys.glob("loop*/loop/backing_file"):
        with suppress(OSError):
            image = entry.read_text().rstrip("\n").removesuffix(" (deleted)")
            if image.startswith(f"{os.path.realpath(folder)}/"):
                _clear(_node(entry.parent.parent.name))
                done.append(f"loop device of {image}")
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
