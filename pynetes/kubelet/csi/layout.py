"""Where CSI volumes lie on a node, and the notes kept beside them: upstream's folders, names and vol_data.json.

The notes are written before a driver is asked for anything, so that a kubelet that dies in the middle knows afterwards
what may have been staged or published, and undoes exactly that.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = "kubernetes.io~csi"
NOTE = "vol_data.json"


@dataclass(frozen=True, kw_only=True)
class Device:
    """A volume as the driver knows it, on this node."""

    driver: str
    handle: str
    spec_name: str
    block: bool = False

    @property
    def key(self) -> str:
        """The same for every pod that uses it."""
        return f"{self.driver}^{self.handle}"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A volume published to a pod, or about to be."""

    uid: str
    device: Device
    persistent: bool


class Layout:
    """Paths below the kubelet's root."""

    def __init__(self, root: Path) -> None:
        self._pods = root / "pods"
        self._csi = root / "plugins" / "kubernetes.io" / "csi"

    def staging(self, device: Device) -> Path:
        """The staging_target_path."""
        if device.block:
            return self._csi / "volumeDevices" / "staging" / device.spec_name
        return self._stage_home(device) / "globalmount"

    def target(self, uid: str, device: Device) -> Path:
        """The target_path of a pod."""
        if device.block:
            return self._csi / "volumeDevices" / "publish" / device.spec_name / uid
        return self._pods / uid / "volumes" / FOLDER / device.spec_name / "mount"

    def note_published(self, published: Published, *, node: str, attachment: str) -> None:
        """Remember a volume of a pod."""
        device = published.device
        note = {
            "specVolID": device.spec_name,
            "volumeHandle": device.handle,
            "driverName": device.driver,
            "nodeName": node,
            "attachmentID": attachment,
            "volumeLifecycleMode": "Persistent" if published.persistent else "Ephemeral",
        }
        _write(self._pod_home(published.uid, device) / NOTE, note)

    def note_staged(self, device: Device) -> None:
        """Remember a staged volume."""
        note = {"driverName": device.driver, "volumeHandle": device.handle, "specVolID": device.spec_name}
        _write(self._stage_home(device) / NOTE, note)

    def forget_published(self, uid: str, device: Device) -> None:
        """Remove a pod's folder for the volume. OSError where something is left in it: never contents of a volume."""
        _remove_empty(self.target(uid, device))
        home = self._pod_home(uid, device)
        (home / NOTE).unlink(missing_ok=True)
        _remove_empty(home)

    def forget_staged(self, device: Device) -> None:
        """Remove the staging folder. OSError as above."""
        _remove_empty(self.staging(device))
        home = self._stage_home(device)
        (home / NOTE).unlink(missing_ok=True)
        _remove_empty(home)

    def published(self) -> Iterator[Published]:
        """Everything noted for pods."""
        for block, kind in ((False, "volumes"), (True, "volumeDevices")):
            for path in self._pods.glob(f"*/{kind}/{FOLDER}/*/{NOTE}"):
                note = _read(path)
                if note is not None:
                    device = _device(note, path.parent.name, block=block)
                    persistent = note.get("volumeLifecycleMode") != "Ephemeral"
                    yield Published(uid=path.parents[3].name, device=device, persistent=persistent)

    def staged(self) -> Iterator[Device]:
        """Every volume noted as staged."""
        for path in self._csi.glob(f"*/*/{NOTE}"):
            if path.parents[1].name != "volumeDevices" and (note := _read(path)) is not None:
                yield _device(note, note.get("specVolID", ""), block=False)
        for path in self._csi.glob(f"volumeDevices/*/data/{NOTE}"):
            if (note := _read(path)) is not None:
                yield _device(note, path.parents[1].name, block=True)

    def _pod_home(self, uid: str, device: Device) -> Path:
        kind = "volumeDevices" if device.block else "volumes"
        return self._pods / uid / kind / FOLDER / device.spec_name

    def _stage_home(self, device: Device) -> Path:
        if device.block:
            return self._csi / "volumeDevices" / device.spec_name / "data"
        return self._csi / device.driver / hashlib.sha256(device.handle.encode()).hexdigest()


def _device(note: dict[str, str], spec_name: str, *, block: bool) -> Device:
    return Device(driver=note["driverName"], handle=note["volumeHandle"], spec_name=spec_name, block=block)


def _write(path: Path, note: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(note)
    if path.exists() and path.read_text() == text:
        return
    fresh = path.with_suffix(".tmp")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _read(path: Path) -> dict[str, str] | None:
    """A note; None for one that a crash of the machine has spoilt."""
    try:
        note = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and "driverName" in note and "volumeHandle" in note else None


def _remove_empty(path: Path) -> None:
    """Remove a folder or file that a mount stood on; one with contents is an error, never emptied."""
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
