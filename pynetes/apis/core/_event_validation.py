"""What both Event kinds may not be; the newer one asks for more, since no old client writes through it."""

from collections.abc import Iterator
from typing import Any

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import gotext, types

_LIMIT, _NOTE_LIMIT = 128, 1024
_UNSET = "needs to be unset"
#: Fields of events.k8s.io that an update through it may not change, as upstream's messages name them.
_FIXED = (
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    # Upstream looks at it again.
    ("reason", "reason"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


def validate_core(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A core/v1 Event."""
    yield from _common(new, new.get("involvedObject") or {}, "reportingComponent", new.get("message", ""))


def validate_new(new: Object, old: Object | None) -> Iterator[field.Error]:
    """An events.k8s.io/v1 Event."""
    yield from _common(new, new.get("regarding") or {}, "reportingController", new.get("note", ""))
    series = new.get("series")
    if series is not None and (old is None or series != old.get("series")):
        if series.get("count", 0) < 2:
            yield field.invalid("series.count", "", "should be at least 2")
        if not series.get("lastObservedTime"):
            yield field.required("series.lastObservedTime")
    if old is None:
        yield from _strict(new)
        return
    for member, shown in _FIXED:
        if new.get(member) != old.get(member):
            yield field.invalid(shown, _shown(member, new.get(member)), "field is immutable")


def _shown(member: str, value: Any) -> Any:
    """As the core kind has it, which is how it is kept."""
    if member in ("regarding", "related") and value is not None:
        return gotext.shown(types.named("api.core.v1.ObjectReference"), value)
    if member == "deprecatedSource":
        return gotext.shown(types.named("api.core.v1.EventSource"), value or {})
    if value is None and member not in ("regarding", "related") and not member.endswith(("Timestamp", "Time")):
        return 0 if member == "deprecatedCount" else ""
    return value


def _common(event: Object, involved: Object, reporter: str, note: str) -> Iterator[field.Error]:
    target, namespace = involved.get("namespace", ""), event["metadata"].get("namespace", "")
    detail = "does not match event.namespace"
    if not event.get("eventTime"):
        if target != namespace and not (not target and namespace == "default"):
            yield field.invalid("involvedObject.namespace", target, detail)
        return
    if not target and namespace not in ("default", "kube-system"):
        yield field.invalid("involvedObject.namespace", target, detail)
    if not event.get(reporter):
        yield field.required(reporter)
    yield from validation.checked(event.get(reporter, ""), reporter, names.qualified_name)
    for member in ("reportingInstance", "action", "reason"):
        if not event.get(member):
            yield field.required(member)
        elif len(event[member]) > _LIMIT:
            yield field.invalid(member, "", f"can have at most {_LIMIT} characters")
    if len(note) > _NOTE_LIMIT:
        yield field.invalid("message", "", f"can have at most {_NOTE_LIMIT} characters")


def _strict(event: Object) -> Iterator[field.Error]:
    if not event.get("eventTime"):
        yield field.required("eventTime")
    if event.get("type") not in ("Normal", "Warning"):
        yield field.invalid("type", "", f"has invalid value: {event.get('type', '')}")
    for member, shown in (("deprecatedFirstTimestamp", "firstTimestamp"), ("deprecatedLastTimestamp", "lastTimestamp")):
        if event.get(member):
            yield field.invalid(shown, "", _UNSET)
    if event.get("deprecatedCount"):
        yield field.invalid("count", "", _UNSET)
    if any((event.get("deprecatedSource") or {}).values()):
        yield field.invalid("source", "", _UNSET)
