"""OCI image archives: a tar file with an index, a manifest, a configuration and layers, all named by their digests.

Layers are lightly compressed: a quarter of the bytes to copy into each node's content store, for little time. What a
layer holds is given as entries; their order does not matter, and the same entries give the same bytes, so that digests
tell whether an image has changed.
"""

import gzip
import hashlib
import io
import platform
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import orjson

from pynetes.machinery.meta import Object

MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True)
class Entry:
    """A path of an image: a file of this machine, bytes, a link, or (with none of them) a folder."""

    path: str
    source: Path | None = None
    data: bytes | None = None
    link: str = ""
    mode: int = 0o755


@dataclass(frozen=True)
class Layer:
    """A compressed tar file, and the digest of what is inside before compression, which beside it lies in a file."""

    path: Path

    @property
    def content(self) -> Path:
        """The file that holds the digest of the uncompressed tar."""
        return self.path.with_suffix(".content")

    @property
    def content_digest(self) -> str:
        """sha256 of the uncompressed tar."""
        return self.content.read_text()

    def exists(self) -> bool:
        """Whether it has been written whole; the digest comes last."""
        return self.path.exists() and self.content.exists()


class _Tee:
    """Compresses what is written and keeps the digest of what came in."""

    def __init__(self, target: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=1, mtime=0)

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._gzip.write(data)

    def close(self) -> None:
        self._gzip.close()


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image's name, its run-time defaults and its layers as tar files."""

    name: str
    layers: Sequence["Layer"]
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)


def architecture() -> str:
    """This machine's architecture under the OCI's name."""
    return MACHINES.get(platform.machine(), platform.machine())


def write_layer(entries: Iterable[Entry], layer: Layer) -> None:
    """Write a layer. Parent folders come by themselves; everything belongs to root."""
    by_path = {entry.path.strip("/"): entry for entry in entries}
    for path in list(by_path):
        for parent in PurePosixPath(path).parents:
            if parent.name and str(parent) not in by_path:
                by_path[str(parent)] = Entry(str(parent))
    partial = layer.path.with_suffix(".partial")
    with partial.open("wb") as file:
        tee = _Tee(file)
        with tarfile.open(fileobj=cast(BinaryIO, tee), mode="w|", bufsize=1 << 20, format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(by_path):
                _add(tar, path, by_path[path])
        tee.close()
    partial.rename(layer.path)
    layer.content.write_text(tee.digest.hexdigest())


def _add(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    info = tarfile.TarInfo(path)
    info.mode = entry.mode
    if entry.link:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(info)
    elif entry.source is not None:
        status = entry.source.stat()
        info.size, info.mtime = status.st_size, int(status.st_mtime)
        info.mode = 0o755 if status.st_mode & 0o100 else 0o644
        with entry.source.open("rb") as content:
            tar.addfile(info, content)
    elif entry.data is not None:
        info.size = len(entry.data)
        tar.addfile(info, io.BytesIO(entry.data))
    else:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)


def digest_of(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_archive(image: Image, target: Path) -> None:
    """Write the archive that `ctr images import` and `docker load` read."""
    digests = [digest_of(layer.path) for layer in image.layers]
    config = orjson.dumps(_config(image), option=orjson.OPT_SORT_KEYS)
    manifest = orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": f"sha256:{digest}",
                    "size": layer.path.stat().st_size,
                }
                for digest, layer in zip(digests, image.layers, strict=True)
            ],
        },
        option=orjson.OPT_SORT_KEYS,
    )
    index = {
        "schemaVersion": 2,
        "manifests": [
            _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
            | {
                "annotations": {"io.containerd.image.name": image.name},
                "platform": {"os": "linux", "architecture": architecture()},
            }
        ],
    }
    partial = target.with_suffix(".partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", Entry("", data=b'{"imageLayoutVersion":"1.0.0"}', mode=0o644))
        _add(tar, "index.json", Entry("", data=orjson.dumps(index), mode=0o644))
        for blob in (config, manifest):
            _add(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", Entry("", data=blob, mode=0o644))
        for digest, layer in sorted(
            {digest: layer.path for digest, layer in zip(digests, image.layers, strict=True)}.items()
        ):
            _add(tar, f"blobs/sha256/{digest}", Entry("", source=layer))
    partial.rename(target)


def _config(image: Image) -> Object:
    return {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Env": list(image.env), "Entrypoint": list(image.entrypoint), "Cmd": list(image.command)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.content_digest}" for layer in image.layers]},
    }


def _descriptor(media_type: str, blob: bytes) -> Object:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}
