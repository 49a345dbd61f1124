"""Renders objects as meta.k8s.io/v1 Tables, which is what `kubectl get` prints."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import orjson

from pynetes.machinery import cells, jsonpath
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Cell, Column, Resource
from pynetes.machinery.schema import definitions

_METADATA = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
#: Columns that every kind words alike.
_COMMON = {name: f"{_METADATA}.{field}" for name, field in (("Name", "name"), ("Age", "creationTimestamp"))} | {
    "Created At": f"{_METADATA}.creationTimestamp"
}


def render(
    resource: Resource,
    objects: Iterable[Object],
    *,
    now: datetime,
    metadata: Object | None = None,
    include: str = "Metadata",
    headers: bool = True,
    version: str = "v1",
) -> Object:
    """The Table of these objects. include is Metadata, Object or None; metadata is the list's (resourceVersion, …).

    With headers False (every watch event but the first) the column definitions are left out.
    """
    columns = columns_of(resource)
    compute = tuple(_compiled(column.cell, column.type) for column in columns)
    table: Object = {"kind": "Table", "apiVersion": f"meta.k8s.io/{version}", "metadata": metadata or {}}
    # A custom resource's columns may change under the same name, so only built-in ones are kept.
    definitions_of = _definitions if resource.schema is None else _definitions.__wrapped__
    table["columnDefinitions"] = list(definitions_of(resource)) if headers else []
    table["rows"] = [_row(resource, obj, compute, now, include, version) for obj in objects]
    return table


def columns_of(resource: Resource) -> tuple[Column, ...]:
    """The columns with Name in front, unless the kind places it itself, as Event does."""
    if resource.schema is None and any(column.name == "Name" for column in resource.columns):
        return resource.columns
    return (Column.NAME, *resource.columns)


@lru_cache(maxsize=512)
def _definitions(resource: Resource) -> tuple[Object, ...]:
    declared = (column for column in columns_of(resource) if column.declared)
    return tuple(definition(column, _description(resource, column)) for column in declared)


@cache
def _described_by() -> dict[str, dict[str, str]]:
    """Resource → column → the schema's field whose description it has, or the text itself, from columns.json."""
    found: dict[str, dict[str, str]] = orjson.loads((resources.files(__package__) / "columns.json").read_bytes())
    return found


def _description(resource: Resource, column: Column) -> str:
    if column.description:
        return column.description
    place = _described_by().get(resource.qualified, {}).get(column.name) or _COMMON.get(column.name, "")
    # Some columns are worded apart from any schema: clients are shown that text, and only text has spaces.
    return place if " " in place else _descriptions().get(place, "")


@cache
def _descriptions() -> dict[str, str]:
    """The descriptions that some column needs, so that the others need not stay in memory."""
    wanted = {place for columns in _described_by().values() for place in columns.values()} | {*_COMMON.values()}
    found = {}
    for name, schema in definitions.described().items():
        for field, member in schema.get("properties", {}).items():
            place = f"{name.removeprefix(definitions.PREFIX)}.{field}"
            if place in wanted:
                found[place] = member.get("description", "")
    return found


def definition(column: Column, description: str = "") -> Object:
    """A column as the Table declares it."""
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": description or column.description,
        "priority": column.priority or int(column.wide),
    }


def _row(
    resource: Resource,
    obj: Object,
    compute: tuple[Callable[[Object, datetime], Any], ...],
    now: datetime,
    include: str,
    version: str,
) -> Object:
    row: Object = {"cells": [cell(obj, now) for cell in compute]}
    if resource.row_conditions and (conditions := resource.row_conditions(obj)):
        row["conditions"] = conditions
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": obj["metadata"],
        }
    return row


@lru_cache(maxsize=4096)
def _compiled(cell: Cell, kind: str) -> Callable[[Object, datetime], Any]:
    if not isinstance(cell, str):
        return cell
    find = jsonpath.compile(cell)
    if cell == Column.AGE.cell:
        return cells.age()
    if kind == "date":
        return lambda obj, now: cells.since(_first(find, obj), now) if _first(find, obj) else None
    if kind in ("integer", "number", "boolean"):
        return lambda obj, _: _first(find, obj)
    return lambda obj, _: _text(_first(find, obj))


def _first(find: Callable[[Any], list[Any]], obj: Object) -> Any:
    found = find(obj)
    return found[0] if found else None


def _text(value: Any) -> Any:
    return "" if value is None else value
