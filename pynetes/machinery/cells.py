"""Table cells that many kinds share: each function here makes a Cell for a Column."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pynetes.machinery import go_print, jsonpath, labels, time
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


def declared(text: str, kind: str) -> Cell:
    """The first value at a JSON path as a custom resource's column of this type shows it: null where there is none, or
    one of another type; anything as text where the column is one of strings. ValueError if it is no path."""
    find = jsonpath.compile(text)

    def cell(obj: Object, now: datetime) -> Any:
        found = find(obj)
        if not found:
            return None
        if kind == "string":
            return _printed(found[0])
        return _moment(found[0], now) if kind == "date" else _of_type(found[0], kind)

    return cell


def _printed(value: Any) -> str:
    if isinstance(value, dict | list):
        return go_print.json(value)
    if isinstance(value, float):
        return go_print.number(value)
    return "<no value>" if value is None else go_print.plain(value)


def _of_type(value: Any, kind: str) -> Any:
    if kind == "boolean" or isinstance(value, bool):
        return value if kind == "boolean" and isinstance(value, bool) else None
    if not isinstance(value, int | float):
        return None
    return int(value) if kind == "integer" else value


def _moment(value: Any, now: datetime) -> str | None:
    if not isinstance(value, str):
        return None
    if value in ("", "null"):
        return "<unknown>"
    try:
        return since(value, now)
    except ValueError:
        return "<invalid>"


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
