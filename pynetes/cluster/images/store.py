"""Packs the images that are missing and imports them where they are missing.

An archive's name carries a fingerprint of what it was packed from, so a second `up` packs nothing.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pynetes
from pynetes.cluster.containerd import Containerd
from pynetes.cluster.images import interpreter, recipes
from pynetes.cluster.images.archive import Entry, Image, Layer, write_archive, write_layer
from pynetes.component import command

ENV = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)


def pack(folder: Path) -> dict[str, Path]:
    """All images by name, packed into the folder unless they are there. Takes seconds the first time."""
    folder.mkdir(parents=True, exist_ok=True)
    busybox = _stamp([recipes.busybox_binary()])
    userland = _stamp([recipes.busybox_binary(), *Path("/lib").glob("*/libc.so.6")])
    own = _stamp(path for path in Path(pynetes.__file__).parent.rglob("*.*") if path.suffix != ".pyc")
    base = hashlib.sha256(interpreter.fingerprint().encode()).hexdigest()[:12] + busybox
    return {
        recipes.PAUSE: _image(
            folder,
            f"sandbox-{busybox}",
            {f"sandbox-{busybox}": recipes.pause},
            Image(name=recipes.PAUSE, layers=(), entrypoint=("/bin/busybox", "sleep", "2147483647")),
        ),
        recipes.BUSYBOX: _image(
            folder,
            f"busybox-{userland}",
            {f"busybox-{userland}": recipes.busybox},
            Image(name=recipes.BUSYBOX, layers=(), command=("sh",), env=ENV),
        ),
        recipes.PYNETES: _image(
            folder,
            f"pynetes-{base}-{own}",
            {f"python-{base}": recipes.pynetes_base, f"pynetes-{own}": interpreter.own_entries},
            Image(
                name=recipes.PYNETES,
                layers=(),
                entrypoint=("pynetes",),
                env=(*ENV, "PYTHONHOME=/usr", f"PYTHONPATH=/{interpreter.PACKAGES}", "LD_LIBRARY_PATH=/usr/lib"),
            ),
        ),
    }


def _image(folder: Path, name: str, layers: dict[str, Callable[[], Iterable[Entry]]], image: Image) -> Path:
    target = folder / f"{name}.tar"
    if target.exists():
        return target
    paths = []
    for layer, entries in layers.items():
        written = Layer(folder / f"{layer}.layer")
        if not written.exists():
            write_layer(entries(), written)
        paths.append(written)
    write_archive(
        Image(name=image.name, layers=paths, command=image.command, entrypoint=image.entrypoint, env=image.env),
        target,
    )
    return target


def _stamp(paths: Iterable[Path]) -> str:
    """Changes when one of the files does."""
    known = hashlib.sha256()
    for path in sorted(paths):
        status = path.stat()
        known.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return known.hexdigest()[:12]


async def import_all(archives: dict[str, Path], node: Containerd, *, unpack: bool = False) -> None:
    """Give a node's containerd the images that it does not have in this very form.

    Unpacking now takes seconds of a processor that would else be spent when a pod first waits for the image."""
    address = ("--address", str(node.socket), "--namespace", "k8s.io")
    present = (await command.run(["ctr", *address, "images", "ls", "--quiet"])).out.split()

    async def bring(name: str, archive: Path) -> None:
        note = node.root / f"imported-{archive.stem}"
        if name not in present or not note.exists():
            await command.run(node.import_command(archive, unpack=unpack))
            note.touch()

    # One after the other: containerd locks an archive's index by its name, which all archives share.
    for name, archive in archives.items():
        await bring(name, archive)
