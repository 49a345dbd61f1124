"""The image of the deliverers: Pynetes' Python with kopf and the official client, and Debian's git."""

import asyncio
import hashlib
import pydoc
from pathlib import Path

from pynetes.cluster import config
from pynetes.cluster.images import debian, interpreter, recipes, store
from pynetes.cluster.images.archive import Entry

NAME = "pynetes.io/deliverers:test"
PACKAGES = ("kopf", "kubernetes")


def recipe() -> recipes.Recipe:
    """The base that every cluster has, and two layers more."""
    made_from = hashlib.sha256(interpreter.fingerprint(*PACKAGES).encode()).hexdigest()[:12]
    # The client asks the standard library's pydoc about its own methods; images for pods leave that out.
    documentation = Entry(f"usr/lib/python{interpreter.VERSION}/pydoc.py", source=Path(pydoc.__file__))
    python = recipes.Part(f"deliverers-{made_from}", lambda: [documentation, *interpreter.extra_entries(*PACKAGES)])
    git = recipes.Part(f"git-{debian.fingerprint('git')}", lambda: debian.package_entries("git"))
    base = recipes.RECIPES[recipes.PYNETES]()
    return base._replace(parts=(*base.parts, python, git), entrypoint=())


def bring(cluster: str) -> None:
    """Pack it and give it to the cluster's first node."""
    found = config.load(cluster)
    assert found is not None
    archive = store.packed(found.images, NAME, recipe())
    asyncio.run(store.import_all({NAME: archive}, found.containerd(found.node_names()[0]), unpack=True))
