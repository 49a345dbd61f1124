"""Images that containerd finds unpacked, though it has not unpacked them."""

import asyncio
import json
import subprocess
import uuid
from pathlib import Path

import pytest

from pynetes.cluster.containerd import Containerd
from pynetes.cluster.images import store, unpacked
from pynetes.cluster.images.archive import Entry, Image, Layer, write_archive, write_layer

pytestmark = pytest.mark.root


def packed(folder: Path, name: str) -> Path:
    """Two layers, of which the second changes a file of the first."""
    below, above = Layer(folder / f"{name}-0.layer"), Layer(folder / f"{name}-1.layer")
    write_layer([Entry("bin/tool", data=b"#!tool\n"), Entry("etc/word", data=b"below\n", mode=0o644)], below)
    write_layer([Entry("etc/word", data=name.encode(), mode=0o640), Entry("usr/tool", link="/bin/tool")], above)
    archive = folder / f"{name}.tar"
    write_archive(Image(name=f"pynetes.test/{name}:1", layers=[below, above], command=("/bin/tool",)), archive)
    return archive


def ctr(node: Containerd, *argv: str) -> str:
    command = ["ctr", "--address", str(node.socket), "--namespace", "k8s.io", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def committed(node: Containerd) -> int:
    return ctr(node, "snapshots", "ls").count(" Committed")


def files(node: Containerd, chain: str) -> list[Path]:
    """Where the layers of a snapshot lie, the upper one first."""
    # Its own name each time; containerd's collector may be sooner to remove it than we are.
    (mount,) = json.loads(ctr(node, "snapshots", "view", "--mounts", f"look-{uuid.uuid4()}", chain))
    (lower,) = (option for option in mount["Options"] if option.startswith("lowerdir="))
    return [Path(folder) for folder in lower.removeprefix("lowerdir=").split(":")]


async def test_layers_are_linked(containerd: Containerd, tmp_path: Path) -> None:
    """Under the names by which containerd looks for them, with modes and links; nothing is left to be unpacked."""
    folder = Path(containerd.root).parent / "linked"
    folder.mkdir()
    archive = packed(folder, "linked")
    await store.import_all({"pynetes.test/linked:1": archive}, containerd, unpack=True)
    config, layers = unpacked._contents(archive)
    chain = ""
    for _, inside in layers:
        chain = unpacked.chain_of(chain, inside)
    above, below = files(containerd, chain)
    assert (above / "etc/word").read_text() == "linked" and (above / "etc/word").stat().st_mode & 0o777 == 0o640
    assert (above / "usr/tool").readlink() == Path("/bin/tool")
    assert (below / "bin/tool").stat().st_mode & 0o777 == 0o755 and (below / "bin/tool").stat().st_uid == 0
    tree = folder / f"{layers[0][1].removeprefix('sha256:')}{unpacked.SUFFIX}"
    assert (below / "bin/tool").stat().st_ino == (tree / "bin/tool").stat().st_ino
    assert f"gc.ref.snapshot.overlayfs={chain}" in ctr(containerd, "content", "ls").partition(config)[2].split("\n")[0]
    before = committed(containerd)
    # What containerd would do for itself finds everything there.
    await asyncio.to_thread(subprocess.run, containerd.import_command(archive, unpack=True), check=True)
    assert committed(containerd) == before


async def test_what_cannot_be_linked_is_unpacked(
    containerd: Containerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By containerd, as ever."""
    monkeypatch.setattr(unpacked, "_target", lambda mounts: str(tmp_path / "no" / "where"))
    archive = packed(tmp_path, "refused")
    await store.import_all({"pynetes.test/refused:1": archive}, containerd, unpack=True)
    chain = ""
    for _, inside in unpacked._contents(archive).layers:
        chain = unpacked.chain_of(chain, inside)
    assert (files(containerd, chain)[0] / "etc/word").read_text() == "refused"
