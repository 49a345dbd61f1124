"""What was found out about values that come again: the specs of pods made from one template, by their JSON."""

from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """The newest findings by key; the oldest goes when there are too many, so memory is bounded."""

    def __init__(self, most: int) -> None:
        self._found: dict[Hashable, V] = {}
        self._most = most

    def get(self, key: Hashable) -> V | None:
        """What was found, while it is remembered."""
        return self._found.get(key)

    def put(self, key: Hashable, found: V) -> V:
        """Remember it."""
        if key not in self._found and len(self._found) >= self._most:
            del self._found[next(iter(self._found))]
        self._found[key] = found
        return found

    def __len__(self) -> int:
        return len(self._found)
