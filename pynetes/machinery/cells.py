"""Table cells that many kinds share: each function here makes a Cell for a Column."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pynetes.machinery import jsonpath, labels, time
from pynetes.machinery.meta import Object

Cell = Callable[[Object, datetime], Any]


def path(text: str, default: Any = "") -> Cell:
    """The first value at a JSON path, or the default."""

    def cell(obj: Object, _: datetime) -> Any:
        value = jsonpath.first(text, obj)
        return default if value is None else value

    return cell


def count(text: str) -> Cell:
    """How many items a list or map has."""
    return lambda obj, _: len(jsonpath.first(text, obj) or ())


def age(text: str = ".metadata.creationTimestamp", default: str = "<unknown>") -> Cell:
    """How long ago the time at the path is, as 5m or 3d4h."""

    def cell(obj: Object, now: datetime) -> Any:
        moment = jsonpath.first(text, obj)
        return since(moment, now) if moment else default

    return cell


def since(moment: str | None, now: datetime) -> str:
    """The age of an RFC 3339 time."""
    return time.human(now - time.parse(moment)) if moment else "<unknown>"


def containers(spec_path: str = ".spec.template.spec") -> Cell:
    """Comma-separated container names of a pod spec."""
    return lambda obj, _: ",".join(_each(obj, spec_path, "name"))


def images(spec_path: str = ".spec.template.spec") -> Cell:
    """Comma-separated images of a pod spec."""
    return lambda obj, _: ",".join(_each(obj, spec_path, "image"))


def _each(obj: Object, spec_path: str, name: str) -> Iterable[str]:
    spec = jsonpath.first(spec_path, obj) or {}
    return [container.get(name, "") for container in spec.get("containers") or ()]


def selector(text: str = ".spec.selector") -> Cell:
    """A LabelSelector as its text, <none> when it is empty."""

    def cell(obj: Object, _: datetime) -> Any:
        return selector_text(jsonpath.first(text, obj))

    return cell


def selector_text(value: Mapping[str, Any] | None) -> str:
    """What a LabelSelector selects, in the notation of kubectl -l."""
    if value is None:
        return "<none>"
    return str(labels.from_label_selector(value)) or "<none>"


def map_text(values: Mapping[str, str] | None) -> str:
    """a=b,c=d, <none> when empty."""
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or "<none>"


def label_map(text: str) -> Cell:
    """A map of labels as text."""
    return lambda obj, _: map_text(jsonpath.first(text, obj))


def text(path_text: str, default: str = "") -> Cell:
    """The first value at a JSON path as text."""

    def cell(obj: Object, _: datetime) -> str:
        value = jsonpath.first(path_text, obj)
        return default if value is None else str(value)

    return cell
