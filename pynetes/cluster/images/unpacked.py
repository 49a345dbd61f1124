"""Gives a node's containerd an image already unpacked, by hard links to a tree that this machine unpacked once.

containerd takes two and a half seconds of a processor for the 3,000 files of Python, on each node, while everything
else that starts wants the processor too. Layers are the same on all nodes and at every start, and nobody writes to
them: a container's changes go to a layer of its own. So each layer is unpacked once beside its archive, and linked into
a snapshot under the name by which containerd would look for it. Whatever does not work is left to containerd
(docs/decisions/253).
"""

import asyncio
import hashlib
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from pynetes.cluster.containerd import Containerd
from pynetes.component import command

#: How the folder of an unpacked layer ends.
SUFFIX = ".tree"
_LABEL = "containerd.io/gc.ref.snapshot.overlayfs"


class Contents(NamedTuple):
    """Of an archive: the digest of its configuration, and its layers as blob and digest of what is inside."""

    config: str
    layers: tuple[tuple[str, str], ...]


async def give(node: Containerd, archive: Path) -> bool:
    """Make the snapshots of an image that was imported; whether that worked."""
    try:
        contents = await asyncio.to_thread(_contents, archive)
        chain = ""
        for blob, inside in contents.layers:
            tree = archive.parent / f"{inside.removeprefix('sha256:')}{SUFFIX}"
            if not tree.exists():
                await asyncio.to_thread(_unpack, archive, blob, tree)
            tree.touch()
            parent, chain = chain, chain_of(chain, inside)
            await _snapshot(node, chain, parent, tree)
        await _ctr(node, "content", "label", contents.config, f"{_LABEL}={chain}")
    except (command.CommandError, OSError, ValueError, KeyError, tarfile.TarError):
        return False
    return True


def chain_of(parent: str, inside: str) -> str:
    """A snapshot's name: of all layers up to this one (the OCI image specification's ChainID)."""
    return f"sha256:{hashlib.sha256(f'{parent} {inside}'.encode()).hexdigest()}" if parent else inside


async def _snapshot(node: Containerd, chain: str, parent: str, tree: Path) -> None:
    if (await _ctr(node, "snapshots", "info", chain, check=False)).code == 0:
        return
    key = f"pynetes-{chain}"
    await _ctr(node, "snapshots", "rm", key, check=False)
    made = await _ctr(node, "snapshots", "prepare", "--mounts", key, *([parent] if parent else []))
    target = _target(json.loads(made.out))
    linking = ["cp", "--archive", "--link", "--no-target-directory", str(tree), target]
    await command.run([*_beneath(Path(target)), *linking])
    await _ctr(node, "snapshots", "commit", chain, key)


def _target(mounts: list[dict[str, Any]]) -> str:
    """Where a snapshot's files lie. Raises ValueError for another snapshotter than overlayfs."""
    (mount,) = mounts
    if mount["Type"] == "bind":
        return str(mount["Source"])
    for option in mount["Options"]:
        name, _, value = option.partition("=")
        if mount["Type"] == "overlay" and name == "upperdir":
            return str(value)
    raise ValueError("the snapshot's files are nowhere")


def _beneath(target: Path) -> list[str]:
    """What comes before a command that is to see a folder without the mount over it: a cluster's nodes lie in a mount
    of their own, and from one mount to another there are no hard links, though both are of one file system."""
    points = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    over = max((point for point in points if target.is_relative_to(point)), key=lambda point: len(point.parts))
    if over == Path("/"):
        return []
    script = 'umount --lazy "$0" && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(over)]


def _contents(archive: Path) -> Contents:
    with tarfile.open(archive) as tar:

        def read(name: str) -> Any:
            found = tar.extractfile(name)
            assert found is not None
            return json.load(found)

        (manifest,) = read("index.json")["manifests"]
        described = read(_blob(manifest["digest"]))
        config = described["config"]["digest"]
        inside = read(_blob(config))["rootfs"]["diff_ids"]
        return Contents(config, tuple(zip((each["digest"] for each in described["layers"]), inside, strict=True)))


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _unpack(archive: Path, blob: str, tree: Path) -> None:
    """Whole or not at all, also when two do it at once."""
    partial = Path(tempfile.mkdtemp(dir=tree.parent, prefix=f".{tree.name}-"))
    try:
        partial.chmod(0o755)
        with tarfile.open(archive) as tar, tarfile.open(fileobj=tar.extractfile(_blob(blob)), mode="r:gz") as layer:
            layer.extractall(partial, filter="tar")
        partial.rename(tree)
    except OSError:
        if not tree.exists():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


async def _ctr(node: Containerd, *argv: str, check: bool = True) -> command.Result:
    return await command.run(["ctr", "--address", str(node.socket), "--namespace", "k8s.io", *argv], check=check)
