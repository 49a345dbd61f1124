"""What the cloud was told, as one JSON document that is replaced in one step at every change."""

import os
from copy import deepcopy
from pathlib import Path

import orjson

from pynetes.machinery.meta import Object

KINDS = ("instances", "balancers", "routes", "volumes", "snapshots")


class State:
    """Kind → name → document. Changes are durable when `save` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document: dict[str, dict[str, Object]] = {kind: {} for kind in KINDS}
        if path.exists():
            self._document |= orjson.loads(path.read_bytes())

    def of(self, kind: str) -> dict[str, Object]:
        """All of a kind; change it only through put and drop."""
        return self._document[kind]

    def get(self, kind: str, name: str) -> Object | None:
        """A copy."""
        found = self._document[kind].get(name)
        return deepcopy(found) if found is not None else None

    def put(self, kind: str, name: str, document: Object) -> None:
        """Keep it."""
        self._document[kind][name] = document
        self._save()

    def drop(self, kind: str, name: str) -> None:
        """Forget it."""
        if self._document[kind].pop(name, None) is not None:
            self._save()

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(self._document))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
