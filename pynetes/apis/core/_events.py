"""Events have two shapes, core/v1 and events.k8s.io/v1, and one stored form, which is core's."""

from datetime import datetime

from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Cell, Column

#: events.k8s.io name → core name.
_RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_BACK = {core: new for new, core in _RENAMED.items()}


def convert(obj: Object, source: str, target: str) -> Object:
    """The event in the other group's shape; reportingInstance and the rest are alike in both."""
    if source == target:
        return obj
    names = _RENAMED if target == "v1" else _BACK
    converted = {names.get(name, name): value for name, value in obj.items()}
    converted["apiVersion"] = target
    return converted


def _get(obj: Object, core: str) -> object:
    return obj.get(core) if core in obj else obj.get(_BACK.get(core, core))


def _age(obj: Object, now: datetime, *names: str) -> str:
    for name in names:
        if moment := _get(obj, name):
            return cells.since(str(moment), now)
    return "<unknown>"


def _last_seen(obj: Object, now: datetime) -> str:
    if moment := (obj.get("series") or {}).get("lastObservedTime"):
        return cells.since(moment, now)
    return _age(obj, now, "lastTimestamp", "eventTime")


def _first_seen(obj: Object, now: datetime) -> str:
    return _age(obj, now, "firstTimestamp", "eventTime")


def _involved(obj: Object) -> Object:
    found = _get(obj, "involvedObject")
    return found if isinstance(found, dict) else {}


def _object(obj: Object, _: datetime) -> str:
    target = _involved(obj)
    kind, name = target.get("kind", "").lower(), target.get("name", "")
    return f"{kind}/{name}" if name else kind


def _source(obj: Object, _: datetime) -> str:
    found = _get(obj, "source")
    source = found if isinstance(found, dict) else {}
    component = source.get("component") or _get(obj, "reportingComponent") or ""
    host = source.get("host") or (obj.get("reportingInstance") or "" if not source.get("component") else "")
    return f"{component}, {host}" if host else str(component)


def _count(obj: Object, _: datetime) -> int:
    if obj.get("series"):
        return int(obj["series"].get("count") or 1)
    found = _get(obj, "count")
    return found if isinstance(found, int) and found else 1


def _message(obj: Object, _: datetime) -> str:
    return str(_get(obj, "message") or "").strip()


COLUMNS = (
    Column("Last Seen", _last_seen),
    Column("Type", ".type"),
    Column("Reason", ".reason"),
    Column("Object", _object),
    Column("Subobject", lambda obj, _: _involved(obj).get("fieldPath") or "", wide=True),
    Column("Source", _source, wide=True),
    Column("Message", _message),
    Column("First Seen", _first_seen, wide=True),
    Column("Count", _count, wide=True),
    Column("Name", ".metadata.name", format="name", wide=True),
)
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
#: Both groups' names, in both records: the events of both live in one cache, which indexes them once.
FIELDS: dict[str, Cell] = {
    **{f"involvedObject.{name}": f".involvedObject.{name}" for name in _REFERENCE},
    **{f"regarding.{name}": f".involvedObject.{name}" for name in _REFERENCE},
    "reason": ".reason",
    "reportingComponent": ".reportingComponent",
    "reportingController": ".reportingComponent",
    "source": lambda obj, _: (obj.get("source") or {}).get("component") or obj.get("reportingComponent") or "",
    "type": ".type",
}
