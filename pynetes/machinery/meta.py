"""The names every layer shares: an object, the key that finds it, its identity and its revision."""

from collections.abc import Iterator
from typing import Any, NamedTuple, NewType, TypeAlias

#: An API object as plain JSON: what is on the wire, in the store and in caches. camelCase lives only inside it.
Object: TypeAlias = dict[str, Any]

UID = NewType("UID", str)
#: A store revision; metadata.resourceVersion is its decimal text.
Revision = NewType("Revision", int)


class Key(NamedTuple):
    """Finds an object among those of its resource; namespace is "" for cluster-scoped ones."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Object) -> Key:
    """The key of an object that has metadata.name."""
    metadata = obj["metadata"]
    return Key(metadata.get("namespace") or "", metadata["name"])


def parse_key(text: str) -> Key:
    """Read "ns/name" or "name" back into a Key."""
    namespace, slash, name = text.partition("/")
    return Key(namespace, name) if slash else Key("", text)


def uid_of(obj: Object) -> UID:
    """metadata.uid, "" while the object has none."""
    return UID(obj["metadata"].get("uid") or "")


def is_deleting(obj: Object) -> bool:
    """Whether deletion was requested and waits for finalizers or a grace period."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def controller_of(obj: Object) -> Object | None:
    """The owner reference with controller: true, of which an object has at most one."""
    return next((ref for ref in owners_of(obj) if ref.get("controller")), None)


def owners_of(obj: Object) -> Iterator[Object]:
    """All owner references."""
    yield from obj["metadata"].get("ownerReferences") or ()
