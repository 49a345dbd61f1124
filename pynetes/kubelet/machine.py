"""What this machine is: its size, its system, its addresses. Read once when the kubelet starts."""

import os
import platform
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts about the machine; sizes in bytes."""

    cpus: int
    memory: int
    swap: int
    disk: int
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str


def read(root: Path) -> Machine:
    """This machine; the disk is that of root."""
    sizes = _meminfo()
    root.mkdir(parents=True, exist_ok=True)
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory=sizes.get("MemTotal", 0),
        swap=sizes.get("SwapTotal", 0),
        disk=shutil.disk_usage(root).total,
        machine_id=_text("/etc/machine-id"),
        system_uuid=_text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        kernel=platform.release(),
        os_image=_os_name(),
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
    )


def free_disk(root: Path) -> tuple[int, int]:
    """Bytes free and in total where root is."""
    usage = shutil.disk_usage(root)
    return usage.free, usage.total


def memory_sizes() -> tuple[int, int]:
    """Bytes that programs could still take, and all there are."""
    sizes = _meminfo()
    return sizes.get("MemAvailable", 0), sizes.get("MemTotal", 0)


def swap_sizes() -> tuple[int, int]:
    """Bytes of swap that there are, and those that are free."""
    sizes = _meminfo()
    return sizes.get("SwapTotal", 0), sizes.get("SwapFree", 0)


def process_slots() -> tuple[int, int]:
    """Process IDs in use and their maximum. Each thread has one; the kernel counts them all in the load's figures."""
    running = int((_text("/proc/loadavg").split() or ["", "", "", "0/0"])[3].partition("/")[2])
    limits = [int(_text(f"/proc/sys/kernel/{name}") or 32768) for name in ("pid_max", "threads-max")]
    return running, min(limits)


def address() -> str:
    """The address that this machine reaches others with."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # A datagram socket's connect sends nothing: it only picks the route.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _meminfo() -> dict[str, int]:
    sizes = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * (1024 if rest.endswith("kB") else 1)
    return sizes


def _os_name() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
