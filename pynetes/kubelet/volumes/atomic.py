"""Writes a set of files so that a reader sees either all the old ones or all the new ones.

The layout is the documented one: the files live in a folder named by the time, `..data` is a link to it that is
replaced by rename, and each visible name links through `..data`.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

DATA, DATA_NEW = "..data", "..data_tmp"


class File(NamedTuple):
    """A file's contents and mode."""

    data: bytes
    mode: int = 0o644


def write(folder: Path, files: Mapping[str, File], *, group: int | None = None, owner: int | None = None) -> bool:
    """Make folder show exactly these files (paths may have several parts); False when it already does.

    group may read all of it; an owner alone may read what is shown to nobody else.
    """
    link = folder / DATA
    current = folder / link.readlink() if link.is_symlink() else None
    if current is not None and _same(current, files):
        return False
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix=_prefix()))
    fresh.chmod(0o755)
    for name, file in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(file.mode | 0o440)
        elif owner is not None:
            os.chown(path, owner, -1)
            path.chmod(0o600)
    swap = folder / DATA_NEW
    swap.unlink(missing_ok=True)
    swap.symlink_to(fresh.name)
    swap.replace(link)
    _show(folder, {name.split("/", 1)[0] for name in files})
    if current is not None:
        shutil.rmtree(current, ignore_errors=True)
    return True


def _prefix() -> str:
    return datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")


def _show(folder: Path, names: set[str]) -> None:
    for name in names:
        path = folder / name
        if not path.is_symlink():
            path.symlink_to(f"{DATA}/{name}")
    for path in folder.iterdir():
        if path.is_symlink() and not path.name.startswith("..") and path.name not in names:
            path.unlink()


def _same(current: Path, files: Mapping[str, File]) -> bool:
    found = {}
    for base, _, names in os.walk(current):
        for name in names:
            path = Path(base, name)
            found[str(path.relative_to(current))] = path
    if found.keys() != files.keys():
        return False
    with contextlib.suppress(OSError):
        return all(path.read_bytes() == files[name].data for name, path in found.items())
    return False
