"""The device plugin's configuration."""

from dataclasses import dataclass

from pynetes.component.config import option

FOLDER = "/var/lib/kubelet/device-plugins"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which devices are handed out, under which name, and how many containers may have one at the same time."""

    resource: str = option("--resource", "pynetes.io/fuse", "The resource's name, as containers ask for it.")
    device: tuple[str, ...] = option("--device", ("/dev/fuse",), "Device files, or patterns as /dev/loop[0-9].")
    shares: int = option("--shares", 1, "How many containers may use one device at the same time.")
    permissions: str = option("--permissions", "rw", "What a container may do: r read, w write, m make the file.")
    folder: str = option("--folder", FOLDER, "The kubelet's device-plugins folder.")
    v: int = option("-v", 0, "Verbosity of the log, 0 to 10.")
