"""What is kept of a stored object: its encoded bytes first, and the little that selecting it needs.

The store holds JSON without metadata.resourceVersion, as upstream does; a reader's bytes have it. Putting it in is a
splice at one known place, because everything kept begins {"kind":…,"apiVersion":…,"metadata":{ — what somebody else
wrote in another order is brought into this one when it is read.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from pynetes.machinery.meta import Key, Object, Revision
from pynetes.machinery.resource import Cell, Resource

#: The canonical beginning; group 1 is what a list item leaves out. Upstream's JSON of built-in kinds has it too.
_HEAD = re.compile(rb'\{("kind":"[^"\\]*","apiVersion":"[^"\\]*",)"metadata":\{')
#: How an item of a list begins, and what is spliced in behind that.
_BEGIN, _VERSION = b'{"metadata":{', b'"resourceVersion":"%d",'
_DIGITS = tuple(b"%d" % digit for digit in range(10))
_EPOCH = datetime.fromtimestamp(0, UTC)


class Undecodable(Exception):
    """A stored value is not a JSON object of Kubernetes."""


class Parsed:
    """Bounds how many parsed objects live: parsing is cheap, a parsed pod is five times its bytes."""

    def __init__(self, limit: int = 512) -> None:
        self._entries: deque[Entry] = deque()
        self._limit = limit

    def note(self, entry: "Entry") -> None:
        """The entry now holds a parsed object; the one that has held it longest lets go."""
        self._entries.append(entry)
        if len(self._entries) > self._limit:
            self._entries.popleft().forget()


class Encoded:
    """Bounds the bytes of objects that are kept in another encoding than the stored one."""

    def __init__(self, limit: int = 64 << 20) -> None:
        self._entries: deque[Entry] = deque()
        self._left = limit

    def note(self, entry: "Entry", message: bytes) -> None:
        """The entry now holds its message; the ones that have held theirs longest let go."""
        entry.message = message
        self._entries.append(entry)
        self._left -= len(message)
        while self._left < 0:
            oldest = self._entries.popleft()
            self._left += len(oldest.message or b"")
            oldest.message = None


class Entry:
    """One version of an object. Immutable and shared by all readers; `obj` must not be changed."""

    __slots__ = ("_obj", "_parsed", "fields", "head", "item", "key", "labels", "message", "revision", "storage_key")

    def __init__(
        self,
        storage_key: str,
        revision: Revision,
        value: bytes,
        obj: Object,
        parsed: Parsed,
        fields: Callable[[Object], Mapping[str, str]],
    ) -> None:
        self.storage_key = storage_key
        self.revision = revision
        #: kind and apiVersion, shared by all of a kind; and the bytes as an item of a list has them, without the two.
        self.head, self.item = splice(value, obj, revision)
        metadata = obj["metadata"]
        self.key = Key(metadata.get("namespace") or "", metadata["name"])
        self.labels: Mapping[str, str] = metadata.get("labels") or _NONE
        self.fields: Mapping[str, str] = fields(obj)
        self._parsed = parsed
        self._obj: Object | None = None
        #: The object in protobuf, without its envelope, while `Encoded` keeps it.
        self.message: bytes | None = None

    @property
    def body(self) -> bytes:
        """The object's bytes."""
        return b"".join((b"{", self.head, memoryview(self.item)[1:]))

    @property
    def obj(self) -> Object:
        """The object with resourceVersion, parsed when asked for. Shared: copy before changing, or use `copy`."""
        if self._obj is None:
            self._obj = self.copy()
            self._parsed.note(self)
        return self._obj

    def copy(self) -> Object:
        """The object, parsed anew: the caller's own."""
        parsed: Object = orjson.loads(self.body)
        return parsed

    def at(self, revision: Revision) -> "Entry":
        """The same object with another resourceVersion: the last state of a deleted one carries the deletion's."""
        obj = self.copy()
        del obj["metadata"]["resourceVersion"]
        return Entry(self.storage_key, revision, encode(obj), obj, self._parsed, lambda _: self.fields)

    def forget(self) -> None:
        """Let go of the parsed object."""
        self._obj = None

    def stores(self, obj: Object, value: bytes) -> bool:
        """Whether writing obj, encoded as value, would change nothing, its keys' order aside."""
        head = _HEAD.match(value)
        at = len(_BEGIN) + len(_VERSION % self.revision)
        if head is None or len(value) - head.end() != len(self.item) - at:
            return False
        # What comes again and again (a Lease, a status) differs in its times, of the same length: a look at the digits
        # tells, mostly, what else takes parsing.
        now, before = value[head.end() :], self.item[at:]
        if now == before:
            return head[1] == self.head
        if any(now.count(digit) != before.count(digit) for digit in _DIGITS):
            return False
        revision = str(self.revision)
        if obj["metadata"].get("resourceVersion") != revision:
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": revision}}
        return obj == self.obj


_NONE: Mapping[str, str] = {}


def encode(obj: Object) -> bytes:
    """The bytes to store: kind, apiVersion and metadata first, no resourceVersion."""
    metadata = obj["metadata"]
    if "resourceVersion" in metadata:
        metadata = {name: value for name, value in metadata.items() if name != "resourceVersion"}
    ordered = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": metadata}
    return orjson.dumps({**ordered, **{name: value for name, value in obj.items() if name not in ordered}})


def decode(value: bytes) -> Object:
    """Parse a stored value. Raises Undecodable."""
    try:
        obj = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        if value.startswith(b"k8s\x00"):
            raise Undecodable(
                "stored as protobuf; its API server needs --storage-media-type=application/json"
            ) from None
        raise Undecodable(f"not JSON: {error}") from None
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise Undecodable("not an object with metadata")
    if missing := [n for n in ("kind", "apiVersion") if not obj.get(n)] + ["name"] * ("name" not in obj["metadata"]):
        raise Undecodable(f"without {', '.join(missing)}")
    return obj


def splice(value: bytes, obj: Object, revision: Revision) -> tuple[bytes, bytes]:
    """Put resourceVersion into the stored bytes; what a list item leaves out at the front, and the item."""
    head = _HEAD.match(value)
    if head is None or "resourceVersion" in obj["metadata"]:
        value = encode(obj)
        head = _HEAD.match(value)
        if head is None:
            raise Undecodable("kind or apiVersion is not a plain string")
    view = memoryview(value)
    item = b"".join((_BEGIN, _VERSION % revision, view[head.end() : len(value.rstrip())]))
    return _shared(head[1]), item


@lru_cache(maxsize=1024)
def _shared(head: bytes) -> bytes:
    return head


class Fields:
    """Reads the values that field selectors of one resource may ask for."""

    def __init__(self, resource: Resource) -> None:
        self._cells: list[tuple[str, Callable[[Object], Any]]] = [
            (name, _reader(cell)) for name, cell in (resource.fields or {}).items()
        ]

    def __call__(self, obj: Object) -> Mapping[str, str]:
        metadata = obj["metadata"]
        found = {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace") or ""}
        for name, read in self._cells:
            found[name] = _text(read(obj))
        return found


def _reader(cell: Cell) -> Callable[[Object], Any]:
    if callable(cell):
        return lambda obj: cell(obj, _EPOCH)
    steps = cell.lstrip(".").split(".")

    def read(obj: Any) -> Any:
        for step in steps:
            obj = obj.get(step) if isinstance(obj, dict) else None
        return obj

    return read


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
