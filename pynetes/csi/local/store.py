"""What the driver keeps: one folder per volume and per snapshot, its description and its image beside each other.

    ROOT/machine                    the identity that topology names
    ROOT/volumes/ID/volume.json     a Volume
    ROOT/volumes/ID/image           its bytes
    ROOT/snapshots/ID/…             the same for Snapshots
    ROOT/making/…                   not finished; of a crash, removed at the next start or attempt
    ROOT/nodes/NODE                 the nodes of this machine that have a driver
    ROOT/locks/ID                   who works on ID; several drivers of one machine share ROOT

A volume exists from the rename that moves its folder out of making/, and is gone from the one that moves it back: a
crash leaves a whole volume, or none. An ID follows from the name it was created under, so asking twice is one volume.
"""

import dataclasses
import fcntl
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson

from pynetes.csi.local import images


class Busy(Exception):
    """Another call, here or in another driver of the machine, works on this volume."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume; sizes in bytes. `published` maps node IDs to whether they may only read."""

    id: str
    name: str
    size: int
    #: Whether it is a device and not a filesystem; then fs_type is "".
    block: bool = False
    fs_type: str = "ext4"
    #: Space is taken when it is written, not when the volume is made.
    thin: bool = False
    #: Snapshot or volume that it began as a copy of.
    source_snapshot: str = ""
    source_volume: str = ""
    #: Made by NodePublishVolume for one pod; goes with it.
    ephemeral: bool = False
    published: dict[str, bool] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    mutable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A volume as it was; created in nanoseconds since the epoch."""

    id: str
    name: str
    size: int
    volume: str
    created: int
    block: bool = False
    fs_type: str = "ext4"


Kept = TypeVar("Kept", Volume, Snapshot)
_FOLDERS: dict[type, tuple[str, str]] = {Volume: ("volumes", "volume.json"), Snapshot: ("snapshots", "snapshot.json")}


def volume_id(name: str) -> str:
    """The ID of the volume of this name."""
    return f"v-{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def snapshot_id(name: str) -> str:
    """The ID of the snapshot of this name."""
    return f"s-{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def is_id(text: str) -> bool:
    """Whether it can be an ID of ours; others must not become part of a path."""
    return bool(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", text))


class Store:
    """The folder. Its methods block; call them from a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("volumes", "snapshots", "nodes", "making", "locks"):
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.machine = self._identity()

    def _identity(self) -> str:
        path = self.root / "machine"
        if not path.exists():
            made = self.root / f"making/machine-{uuid.uuid4()}"
            made.write_text(uuid.uuid4().hex)
            # A link does not replace what another driver of the machine has put there meanwhile.
            with suppress(FileExistsError):
                os.link(made, path)
            made.unlink()
        return path.read_text().strip()

    def recover(self) -> int:
        """Remove what a crash left half made; how much that was."""
        found = 0
        for entry in (self.root / "making").iterdir():
            if not entry.is_dir():
                continue
            identity = entry.name.split(".")[0]
            with suppress(Busy), self.locked(identity):
                shutil.rmtree(entry, ignore_errors=True)
                found += 1
        return found

    @contextmanager
    def locked(self, identity: str) -> Iterator[None]:
        """Be the only one on this machine to work on a volume or snapshot. Raises Busy at once if one is not."""
        path = self.root / "locks" / identity
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(identity) from None
            if not path.exists() or os.fstat(handle).st_ino != path.stat().st_ino:
                # Its last holder has removed what it was about.
                raise Busy(identity)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Hold the machine's space still while a volume is measured and given its room."""
        handle = os.open(self.root / "locks" / "space", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    # Reading.

    def image(self, kept: Volume | Snapshot) -> Path:
        """The file with its bytes."""
        return self._folder(type(kept), kept.id) / "image"

    def volume(self, identity: str) -> Volume | None:
        """The volume with this ID."""
        return self._read(Volume, identity)

    def snapshot(self, identity: str) -> Snapshot | None:
        """The snapshot with this ID."""
        return self._read(Snapshot, identity)

    def volumes(self) -> list[Volume]:
        """All volumes, by ID."""
        return self._all(Volume)

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, by ID."""
        return self._all(Snapshot)

    def available(self) -> int:
        """Bytes that new volumes can be promised: free, less what thin volumes are still owed."""
        stat = os.statvfs(self.root)
        owed = 0
        for kept in self.volumes():
            if kept.thin:
                with suppress(FileNotFoundError):
                    owed += max(0, kept.size - images.taken(self.image(kept)))
        return max(0, stat.f_bavail * stat.f_frsize - owed)

    # Writing, each in one step that a crash cannot halve.

    @contextmanager
    def making(self, kept: Volume | Snapshot) -> Iterator[Path]:
        """Make a new one: the block fills the image whose path it is given; then it exists. Needs the lock."""
        folder = self.root / "making" / f"{kept.id}.{time.time_ns()}"
        for old in (self.root / "making").glob(f"{kept.id}.*"):
            shutil.rmtree(old, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder / "image"
            self._describe(folder, kept)
            images.sync(folder / "image")
            images.sync(folder)
            target = self._folder(type(kept), kept.id)
            folder.rename(target)
            images.sync(target.parent)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def change(self, kept: Kept, **members: Any) -> Kept:
        """Replace members of a description. Needs the lock."""
        new = dataclasses.replace(kept, **members)
        self._describe(self._folder(type(kept), kept.id), new)
        return new

    def remove(self, kept: Volume | Snapshot) -> None:
        """It is gone. Needs the lock."""
        away = self.root / "making" / f"{kept.id}.{time.time_ns()}"
        self._folder(type(kept), kept.id).rename(away)
        shutil.rmtree(away, ignore_errors=True)
        (self.root / "locks" / kept.id).unlink(missing_ok=True)

    # Nodes of the machine.

    def add_node(self, name: str) -> None:
        """A driver serves this node."""
        (self.root / "nodes" / name).touch()

    def has_node(self, name: str) -> bool:
        """Whether a node is one of this machine."""
        return is_id(name) and (self.root / "nodes" / name).is_file()

    def _describe(self, folder: Path, kept: Volume | Snapshot) -> None:
        name = _FOLDERS[type(kept)][1]
        partial = folder / f".{name}.partial"
        partial.write_bytes(orjson.dumps(dataclasses.asdict(kept)))
        images.sync(partial)
        partial.rename(folder / name)

    def _folder(self, kind: type, identity: str) -> Path:
        return self.root / _FOLDERS[kind][0] / identity

    def _read(self, kind: type[Kept], identity: str) -> Kept | None:
        # IDs come from requests: only what is one of ours may become part of a path.
        if not is_id(identity):
            return None
        try:
            text = (self._folder(kind, identity) / _FOLDERS[kind][1]).read_bytes()
        except (FileNotFoundError, OSError):
            return None
        return kind(**orjson.loads(text))

    def _all(self, kind: type[Kept]) -> list[Kept]:
        found = (self._read(kind, entry.name) for entry in sorted((self.root / _FOLDERS[kind][0]).iterdir()))
        return [one for one in found if one is not None]
