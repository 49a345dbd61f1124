"""The objects an informer holds, found by key, by namespace and by index.

Updated by difference: a change costs what its own index values cost. Objects are shared with every reader, who must
copy before changing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pynetes.client.controller import Indexer
from pynetes.machinery.meta import Key, Object, controller_of, key_of, owners_of


def _owner_uids(obj: Object) -> Iterable[str]:
    return [ref["uid"] for ref in owners_of(obj)]


def _controller_uid(obj: Object) -> Iterable[str]:
    ref = controller_of(obj)
    return [ref["uid"]] if ref else []


#: The indexes that every store has.
INDEXES: Mapping[str, Indexer] = {"owner": _owner_uids, "controller": _controller_uid}


class _Index:
    def __init__(self, values: Indexer) -> None:
        self._values = values
        self._found: dict[str, dict[Key, Object]] = {}

    def replace(self, key: Key, old: Object | None, new: Object | None) -> None:
        before = set(self._values(old)) if old is not None else set()
        after = set(self._values(new)) if new is not None else set()
        for value in before - after:
            entries = self._found[value]
            del entries[key]
            if not entries:
                del self._found[value]
        if new is not None:
            for value in after:
                self._found.setdefault(value, {})[key] = new

    def find(self, value: str) -> Iterator[tuple[Key, Object]]:
        yield from self._found.get(value, {}).items()


class Store:
    """Objects of one resource."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._indexes: dict[str, _Index] = {"namespace": _Index(lambda obj: [key_of(obj).namespace])}
        self.index(INDEXES)

    def index(self, indexes: Mapping[str, Indexer]) -> None:
        """Add indexes; objects that are here already are found by them too."""
        for name, values in indexes.items():
            if name not in self._indexes:
                added = self._indexes[name] = _Index(values)
                for key, obj in self._objects.items():
                    added.replace(key, None, obj)

    def get(self, key: Key) -> Object | None:
        """The object, None when absent."""
        return self._objects.get(key)

    def listed(self, *, namespace: str = "", index: str = "", value: str = "") -> Sequence[Object]:
        """All objects, those of a namespace, or those an index maps to value (within namespace, if given)."""
        if index:
            found = self._indexes[index].find(value)
            return [obj for key, obj in found if not namespace or key.namespace == namespace]
        if namespace:
            return [obj for _, obj in self._indexes["namespace"].find(namespace)]
        return list(self._objects.values())

    def keys(self) -> list[Key]:
        """The keys of all objects."""
        return list(self._objects)

    def replace(self, key: Key, new: Object | None) -> Object | None:
        """Put (or, with None, remove) an object; what was there before."""
        old = self._objects.pop(key, None) if new is None else self._objects.get(key)
        if new is not None:
            self._objects[key] = new
        for index in self._indexes.values():
            index.replace(key, old, new)
        return old

    def __len__(self) -> int:
        return len(self._objects)
