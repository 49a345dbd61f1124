"""Packs the images that are missing and imports them where they are missing.

An archive's name carries a fingerprint of what it was packed from, so a second `up` packs nothing. Those that no
`up` has used for two weeks go.
"""

import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pynetes.cluster.containerd import Containerd
from pynetes.cluster.images import recipes, unpacked
from pynetes.cluster.images.archive import Image, Layer, write_archive, write_layer
from pynetes.component import command

#: Seconds after which what no `up` has used goes.
UNUSED = 14 * 86400.0


def pack(folder: Path, wanted: Iterable[str] = ()) -> dict[str, Path]:
    """The essential images and those wanted, by name, packed into the folder unless they are there.

    Takes seconds the first time. Raises ClusterError when what an image is made from is not installed."""
    folder.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys((*recipes.ESSENTIAL, *wanted))
    made = {name: packed(folder, name, recipes.RECIPES[name]()) for name in names}
    tidy(folder, time.time())
    return made


def tidy(folder: Path, now: float) -> None:
    """Remove archives and layers that were not used for long."""
    for path in folder.iterdir():
        if now - path.stat().st_mtime > UNUSED:
            if path.suffix == unpacked.SUFFIX:
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix in (".tar", ".layer", ".content"):
                path.unlink(missing_ok=True)


def packed(folder: Path, name: str, recipe: recipes.Recipe) -> Path:
    """One image, packed into the folder unless it is there."""
    # The last part alone tells images apart that share the rest, but not a change of what they share.
    target = folder / f"{'+'.join(part.name for part in recipe.parts)}.tar"
    if not target.exists():
        image = Image(
            name=name,
            layers=_layers(folder, recipe.parts),
            command=recipe.command,
            entrypoint=recipe.entrypoint,
            env=recipe.env,
        )
        write_archive(image, target)
    target.touch()
    return target


def _layers(folder: Path, parts: Sequence[recipes.Part]) -> list[Layer]:
    layers = []
    for part in parts:
        layer = Layer(folder / f"{part.name}.layer")
        if not layer.exists():
            write_layer(part.entries(), layer)
        for kept in (layer.path, layer.content):
            kept.touch()
        layers.append(layer)
    return layers


async def import_all(archives: dict[str, Path], node: Containerd, *, unpack: bool = False) -> None:
    """Give a node's containerd the images that it does not have in this very form.

    Where they cannot be linked, unpacking takes seconds of a processor: now, or when a pod first waits for one."""
    address = ("--address", str(node.socket), "--namespace", "k8s.io")
    present = (await command.run(["ctr", *address, "images", "ls", "--quiet"])).out.split()

    async def bring(name: str, archive: Path) -> None:
        note = node.root / f"imported-{archive.stem}"
        if name not in present or not note.exists():
            await command.run(node.import_command(archive))
            if not await unpacked.give(node, archive) and unpack:
                await command.run(node.import_command(archive, unpack=True))
            note.touch()

    # One after the other: containerd locks an archive's index by its name, which all archives share.
    for name, archive in archives.items():
        await bring(name, archive)
