"""Image archives: what the OCI layout asks for, and that the same content gives the same bytes."""

import gzip
import hashlib
import importlib
import io
import json
import os
import shutil
import tarfile
import time
from pathlib import Path

import pytest

from pynetes.cluster.images import debian, interpreter, libraries, recipes, store
from pynetes.cluster.images.archive import Entry, Image, Layer, digest_of, write_archive, write_layer


def archive(folder: Path) -> tarfile.TarFile:
    """A small archive of one layer."""
    layer = Layer(folder / "one.layer")
    write_layer([Entry("etc/motd", data=b"hello\n", mode=0o644), Entry("bin/sh", link="busybox")], layer)
    image = Image(name="example.org/small:1", layers=[layer], entrypoint=("/bin/sh",), command=("-c", "true"))
    write_archive(image, folder / "small.tar")
    return tarfile.open(folder / "small.tar")


def content(tar: tarfile.TarFile, name: str) -> bytes:
    """A file of the archive."""
    member = tar.extractfile(name)
    assert member is not None
    return member.read()


def test_the_index_leads_to_manifest_configuration_and_layers(tmp_path: Path) -> None:
    """Every descriptor names a blob that is there, of that size."""
    tar = archive(tmp_path)
    index = json.loads(content(tar, "index.json"))
    assert index["manifests"][0]["annotations"] == {"io.containerd.image.name": "example.org/small:1"}
    manifest = json.loads(_blob(tar, index["manifests"][0]))
    config = json.loads(_blob(tar, manifest["config"]))
    layer = _blob(tar, manifest["layers"][0])
    assert config["config"]["Entrypoint"] == ["/bin/sh"]
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(gzip.decompress(layer)).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inside:
        assert inside.getnames() == ["bin", "bin/sh", "etc", "etc/motd"]


def _blob(tar: tarfile.TarFile, descriptor: dict[str, str]) -> bytes:
    found = content(tar, "blobs/" + descriptor["digest"].replace(":", "/"))
    assert len(found) == descriptor["size"]
    return found


def test_the_same_entries_give_the_same_layer(tmp_path: Path) -> None:
    """Digests tell whether an image has changed, so order and time of packing must not matter."""
    entries = [Entry("a", data=b"1"), Entry("b/c", data=b"2")]
    write_layer(entries, Layer(tmp_path / "one"))
    write_layer(reversed(entries), Layer(tmp_path / "two"))
    assert digest_of(tmp_path / "one") == digest_of(tmp_path / "two")


def test_the_code_that_runs_is_the_code_that_is_packed() -> None:
    """Pynetes' own layer has its modules, and not the testing package."""
    paths = {entry.path for entry in interpreter.own_entries()}
    assert f"{interpreter.PACKAGES}/pynetes/cmd/main.py" in paths
    assert not any("/testing/" in path for path in paths)


def test_binaries_lose_their_symbols_only(tmp_path: Path) -> None:
    """A large library becomes smaller and stays a library; small files and scripts stay as they are."""
    uvloop = importlib.import_module("uvloop.loop").__file__
    assert uvloop is not None
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n" + "# long\n" * libraries.LARGE)
    given = [Entry("usr/lib/loop.so", source=Path(uvloop)), Entry("bin/script", source=script)]
    library, text = libraries.stripped(given)
    assert text == given[1]
    if shutil.which("strip"):
        assert library.data is not None
        assert library.data.startswith(b"\x7fELF")
        assert len(library.data) < Path(uvloop).stat().st_size


def test_what_no_pod_needs_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library of 50 MB for rules of custom resources, for one; the gRPC image adds what it is named for."""
    # Without binutils nothing is stripped, which would take longer than all the rest.
    (tmp_path / "ldd").symlink_to(shutil.which("ldd") or "/usr/bin/ldd")
    monkeypatch.setenv("PATH", str(tmp_path))
    paths = {entry.path for entry in interpreter.base_entries()}
    assert any(path.startswith(f"{interpreter.PACKAGES}/aiohttp/") for path in paths)
    assert not any(path.startswith(f"{interpreter.PACKAGES}/{name}") for path in paths for name in ("cel_expr", "grpc"))
    more = {entry.path for entry in interpreter.extra_entries("grpcio", "protobuf")}
    assert f"{interpreter.PACKAGES}/grpc/__init__.pyc" in more
    assert not any(path.startswith(f"{interpreter.PACKAGES}/aiohttp/") for path in more)


@pytest.mark.root
def test_a_debian_package_does_not_hide_folders_of_the_image() -> None:
    """Packages list /lib, which is a link to /usr/lib on this machine; the image's /lib stays a folder."""
    found = debian.package_entries("nginx-common")
    assert found
    assert not [entry.path for entry in found if entry.path in ("lib", "bin", "sbin", "lib64")]


def test_what_no_up_has_used_for_long_goes(tmp_path: Path) -> None:
    """Archives and layers of versions that are gone; what is used now stays, however old it is."""
    now = time.time()
    for name in ("old.tar", "old.layer", "old.content", "fresh.tar", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
        if not name.startswith("fresh"):
            os.utime(tmp_path / name, (now - store.UNUSED - 60,) * 2)
    store.tidy(tmp_path, now)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh.tar", "notes.txt"]
    part = recipes.Part("a-part", lambda: [Entry("bin/true", data=b"x")])
    recipe = recipes.Recipe(parts=(part,))
    made = store.packed(tmp_path, "image:1", recipe)
    for path in tmp_path.iterdir():
        os.utime(path, (now - store.UNUSED - 60,) * 2)
    assert store.packed(tmp_path, "image:1", recipe) == made
    store.tidy(tmp_path, now)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-part.tar", "notes.txt"]
