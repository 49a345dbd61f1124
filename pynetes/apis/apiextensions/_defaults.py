"""Defaults of a CustomResourceDefinition's schema: each must be what its own schema allows, and hold nothing else."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.machinery import field
from pynetes.machinery.schema import custom, rules
from pynetes.machinery.schema.values import problems as values


def problems(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    """Every default that is wrong, in this schema and those within it."""
    if "default" in schema and schema["default"] is not None:
        yield from _default(schema, schema["default"], f"{path}.default")
    if isinstance(items := schema.get("items"), dict):
        yield from problems(items, f"{path}.items")
    for name, member in (schema.get("properties") or {}).items():
        yield from problems(member, f"{path}.properties[{name}]")


def _default(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[field.Error]:
    pruned = copy.deepcopy(value)
    custom.prune(schema, pruned, path)
    if pruned != value:
        yield field.invalid(path, value, "must not have unknown fields")
    found = list(values(schema, value, "", below=path))
    yield from found
    if not found and rules.present(schema):
        yield from rules.problems(schema, rules.shaped(schema, value), rules.ABSENT, path)
