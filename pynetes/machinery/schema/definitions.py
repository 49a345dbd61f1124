"""The definitions that the schemas of all kinds are made of, read from package data.

Two sources, because neither knows all: the JSON Schemas of `kubernetes-validate` (types, required, list types, merge
keys, descriptions), and fields.json beside this file, which says what the wire format adds: each field's protobuf
number, and what becomes of it when it is not set. In fields.json a definition's fields are `name=NUMBERflag`:

    (no flag)  left out when null, and when an empty list or map
    e          left out when null only: its default is for what is not there, and not for an empty list
    z          also left out when "", 0 or false
    a          always there, as "", 0 or false when not set
    s          always there, as {} with what is always in it
    n t q i    always there, as null, null (time), "0" (quantity), 0 (int or string)

The text is parsed on first use (20 ms) and kept without descriptions, which only OpenAPI documents need.
"""

import re
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pynetes.machinery.meta import Object

PREFIX = "io.k8s."
RELEASE = "v1.36.0-local"
_FIELD = re.compile(r"(\S+?)=([\d/]*)([a-z]?)")


class Wire(NamedTuple):
    """How a field travels: protobuf number ("" if it has none, "2/1" through an embedded message), and the flag."""

    number: str
    flag: str


@cache
def raw() -> dict[str, Object]:
    """Name (api.core.v1.PodSpec) → JSON Schema, without descriptions."""
    return {name.removeprefix(PREFIX): _bare(schema) for name, schema in described().items()}


def described() -> dict[str, Object]:
    """Full name (io.k8s.api.core.v1.PodSpec) → JSON Schema with descriptions. Parsed anew at each call."""
    # Found, not imported: its __init__ pulls in jsonschema, which takes five times as long as all of this.
    spec = find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("kubernetes-validate is not installed: pip install kubernetes-validate")
    folder = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema" / RELEASE
    found: dict[str, Object] = orjson.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return found


def _bare(schema: Object) -> Object:
    schema.pop("description", None)
    for member in schema.get("properties", {}).values():
        member.pop("description", None)
        for inner in (member.get("items"), member.get("additionalProperties")):
            if isinstance(inner, dict):
                inner.pop("description", None)
    return schema


@cache
def _wire_texts() -> dict[str, str]:
    found: dict[str, str] = orjson.loads((resources.files(__package__) / "fields.json").read_bytes())
    return found


@cache
def wire(name: str) -> dict[str, Wire]:
    """Field → how it travels, for one definition; empty for a custom one."""
    return {field: Wire(number, flag) for field, number, flag in _FIELD.findall(_wire_texts().get(name, ""))}


@cache
def kinds() -> dict[tuple[str, str, str], str]:
    """(group, version, kind) → definition name."""
    found: dict[tuple[str, str, str], str] = {}
    for name, schema in raw().items():
        for gvk in schema.get("x-kubernetes-group-version-kind", ()):
            found.setdefault((gvk["group"], gvk["version"], gvk["kind"]), name)
    return found


def reference(schema: Any) -> str:
    """The definition a schema refers to, "" if it is inline."""
    target = schema.get("$ref", "")
    return target.rpartition("/")[2].removeprefix(PREFIX) if target else ""
