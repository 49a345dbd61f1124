"""metadata.managedFields: who set which field, kept up to date at every write.

An entry belongs to a manager, an operation (Apply or Update), a subresource and, for updates, an apiVersion. An update
takes over what it changes; an apply owns what it names. Server-side apply itself is in `apply`.
"""

from collections.abc import Iterable, Set
from datetime import datetime
from typing import NamedTuple

import orjson

from pynetes.machinery import fieldset, time
from pynetes.machinery.fieldset import FieldSet, Path
from pynetes.machinery.meta import Object
from pynetes.machinery.recent import Recent
from pynetes.machinery.schema import decode
from pynetes.machinery.schema.types import Type

_SERVER_METADATA = (
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:clusterName",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
)
#: Fields that the server keeps itself, and nobody owns.
_SERVER_OWNED: frozenset[Path] = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", name) for name in _SERVER_METADATA)}
)
#: What each type has when nothing is set; read only.
_EMPTY: dict[Type, Object] = {}
#: The fields of specs that were created lately, by what they were: a few megabytes at most.
_SPECS: Recent[Object] = Recent(256)
_LARGEST_SPEC = 16 << 10
#: Records as they were read, and as they were written: most updates leave all of an object's alone.
_PATHS: Recent[Set[Path]] = Recent(512)
_FIELDS: Recent[Object] = Recent(512)
#: Owner of all that was there before the first apply, when nobody was recorded.
BEFORE_FIRST_APPLY = "before-first-apply"
#: Distinct updaters beyond this are merged into one, so that the list cannot grow without end.
MAX_UPDATERS = 10


class Manager(NamedTuple):
    """Whose entry it is. api_version is "" for Apply, where the version does not tell managers apart."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


class Entry(NamedTuple):
    """What a manager owns, in which version's terms, and since when."""

    paths: Set[Path]
    api_version: str
    time: str | None


Managers = dict[Manager, Entry]


def read(obj: Object | None) -> Managers:
    """The managers of an object."""
    managers: Managers = {}
    for entry in ((obj or {}).get("metadata") or {}).get("managedFields") or ():
        operation, version = entry.get("operation", "Update"), entry.get("apiVersion", "")
        manager = Manager(
            entry.get("manager", ""), operation, "" if operation == "Apply" else version, entry.get("subresource", "")
        )
        managers[manager] = Entry(_decoded(entry.get("fieldsV1")), version, entry.get("time"))
    return managers


def write(obj: Object, managers: Managers) -> None:
    """Put the managers into an object, oldest first, applies before updates."""
    entries = [_entry(manager, entry) for manager, entry in managers.items() if entry.paths]
    entries.sort(key=lambda entry: (entry["operation"], entry.get("time") or "", entry["manager"], entry["apiVersion"]))
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def _entry(manager: Manager, entry: Entry) -> Object:
    result: Object = {"manager": manager.name, "operation": manager.operation, "apiVersion": entry.api_version}
    if entry.time:
        result["time"] = entry.time
    result["fieldsType"] = "FieldsV1"
    result["fieldsV1"] = _encoded(entry.paths)
    if manager.subresource:
        result["subresource"] = manager.subresource
    return result


def _decoded(fields: Object | None) -> Set[Path]:
    """The paths of FieldsV1. A record stays the same over most updates of an object, and is then the same set again."""
    written = orjson.dumps(fields or {})
    known = _PATHS.get(written)
    if known is None:
        known = frozenset(fieldset.decode(fields))
        if len(written) <= _LARGEST_SPEC:
            _PATHS.put(written, known)
    return known


def _encoded(paths: Set[Path]) -> Object:
    """FieldsV1 of the paths. Not to be changed."""
    kept = frozenset(paths)
    known = _FIELDS.get(kept)
    return _FIELDS.put(kept, fieldset.encode(kept)) if known is None else known


def empty_of(type_: Type) -> Object:
    """The object that a create is compared with: what the type has when nothing is set."""
    return decode.zero_struct(type_)


def owned(paths: FieldSet, reset: Iterable[Path] = ()) -> FieldSet:
    """Without what no manager can own: the server's fields, and those that this endpoint resets."""
    prefixes = tuple(reset)
    return {
        path
        for path in paths
        if path not in _SERVER_OWNED and not any(path[: len(prefix)] == prefix for prefix in prefixes)
    }


def update(
    old: Object | None,
    new: Object,
    *,
    type_: Type,
    manager: str,
    now: datetime,
    subresource: str = "",
    reset: Iterable[Path] = (),
) -> None:
    """Record in new's managedFields, in place, that the manager wrote what differs from old (None on create).

    A client may edit the record through the main endpoint, as kubectl does when it goes over to server-side apply:
    what it sends there is taken instead of old's, unless it is missing or cannot be read; [] or [{}] clears it.
    reset are path prefixes that the endpoint does not write: ("f:status",) for the main one.
    """
    if old is None:
        _record_create(new, type_, Manager(manager, "Update", new.get("apiVersion", ""), subresource), now, reset)
        return
    managers = read(old) if subresource else _sent(new) or read(old)
    if _cleared(new):
        managers = {}
    version = new.get("apiVersion", "")
    difference = fieldset.compare(type_, _bare(old), _bare(new))
    written, removed = owned(difference.written, reset), difference.removed
    release(managers, written | removed)
    if written:
        self = Manager(manager, "Update", version, subresource)
        previous = managers.get(self)
        paths: Set[Path] = written
        if previous:
            paths = previous.paths if written <= previous.paths else previous.paths | written
        # The entry of a scale goes through upstream's conversion between Scale and its object, which loses the time.
        managers[self] = Entry(paths, version, None if subresource == "scale" else time.rfc3339(now))
    _merge_old_updaters(managers)
    write(new, managers)


def _record_create(obj: Object, type_: Type, manager: Manager, now: datetime, reset: Iterable[Path]) -> None:
    """The only entry of a new object. Every create pays for this, so it never makes a set of paths."""
    try:
        fields = _fields_of_new(type_, _bare(obj))
    except fieldset.Misfit:
        fields = fieldset.encode(fieldset.compare(type_, empty_of(type_), _bare(obj)).written)
    for path in reset:
        if len(path) == 1:
            fields.pop(path[0], None)
    for name in ("f:apiVersion", "f:kind"):
        fields.pop(name, None)
    metadata = fields.get("f:metadata")
    if metadata is not None:
        for name in _SERVER_METADATA:
            metadata.pop(name, None)
        if metadata.keys() <= {"."}:
            del fields["f:metadata"]
    obj["metadata"].pop("managedFields", None)
    if fields:
        entry: Object = {
            "manager": manager.name,
            "operation": "Update",
            "apiVersion": manager.api_version,
            "time": time.rfc3339(now),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        obj["metadata"]["managedFields"] = [entry]


def _fields_of_new(type_: Type, obj: Object) -> Object:
    """As fieldset.trie_of_new; pods of one template have the same spec, whose fields are found out once."""
    empty = _EMPTY.get(type_)
    if empty is None:
        empty = _EMPTY[type_] = empty_of(type_)
    spec = obj.get("spec")
    if not spec or not isinstance(spec, dict):
        return fieldset.trie_of_new(type_, empty, obj)
    written = orjson.dumps(spec)
    known = _SPECS.get((type_, written))
    if known is None:
        known = fieldset.trie_of_new(type_, empty, {"spec": spec})
        if len(written) <= _LARGEST_SPEC:
            _SPECS.put((type_, written), known)
    others = fieldset.trie_of_new(type_, empty, {name: value for name, value in obj.items() if name != "spec"})
    return {name: fields[name] for fields in (others, known) for name in fields}


def _cleared(obj: Object) -> bool:
    given = obj["metadata"].get("managedFields")
    return isinstance(given, list) and given in ([], [{}])


def _sent(new: Object) -> Managers:
    """The managers that a client sent; empty when they make no sense."""
    try:
        return read(new)
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _bare(obj: Object) -> Object:
    """The object without the record itself, which would be the largest thing to compare."""
    metadata = obj.get("metadata") or {}
    if "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


def release(managers: Managers, paths: FieldSet, *, keep: Manager | None = None) -> None:
    """Take paths from every manager but `keep`, in place."""
    for manager, entry in list(managers.items()):
        if manager == keep or not (entry.paths & paths):
            continue
        left = entry.paths - paths
        if left:
            managers[manager] = entry._replace(paths=left)
        else:
            del managers[manager]


def _merge_old_updaters(managers: Managers) -> None:
    updaters = [manager for manager in managers if manager.operation == "Update"]
    if len(updaters) <= MAX_UPDATERS:
        return
    updaters.sort(key=lambda manager: (managers[manager].time or "", manager.name))
    merged: FieldSet = set()
    last: Entry | None = None
    for manager in updaters[: len(updaters) - MAX_UPDATERS + 1]:
        last = managers.pop(manager)
        merged |= last.paths
    if last is not None:
        managers[Manager("ancient-changes", "Update", last.api_version)] = last._replace(paths=merged)
