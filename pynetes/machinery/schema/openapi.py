"""OpenAPI schemas of built-in kinds, for /openapi/v2 and /openapi/v3 and so for kubectl explain and apply.

The API server adds the paths. Descriptions are read from the package again at each call, because a running server
needs them seldom and they are two thirds of the text; keep the document that is made of the result instead.

choices.json beside this file says what neither the package nor fields.json knows: which fields take one of a few
values, and which have a default that version 3 tells (version 2 tells no defaults). A field that is always there
defaults to what it is then: "", 0, false or {}.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import orjson

from pynetes.machinery.meta import Object
from pynetes.machinery.schema import definitions

_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
#: Read by a method of their own, for which null is the empty value: they never default to {}.
_OWN_READER = ("Time", "MicroTime", "Quantity", "IntOrString", "RawExtension", "FieldsV1", "JSON", "Duration")
_ABOUT = {
    _QUANTITY: (
        "A number with a unit, such as 500m, 2 or 1.5Gi: m for thousandths, k M G T P E for powers of 1000, "
        "Ki Mi Gi Ti Pi Ei for powers of 1024, or an exponent (1e3). At most three decimal places are kept."
    ),
    _INT_OR_STRING: "A number, or a text: a percentage or the name of a port.",
}
_ZERO: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_PREFIX = {2: "#/definitions/", 3: "#/components/schemas/"}


class _Choices(NamedTuple):
    """Full field name (api.core.v1.ContainerPort.protocol) → its values, and → its default."""

    values: Mapping[str, list[str]]
    defaults: Mapping[str, Any]


@cache
def _choices() -> _Choices:
    found = orjson.loads((resources.files(__package__) / "choices.json").read_bytes())
    values = {field: each["are"] for each in found["values"] for field in each["of"].split()}
    return _Choices(values, found["defaults"])


def v2_definitions(names: Iterable[str]) -> dict[str, Object]:
    """Full definition name → Swagger 2.0 schema, of these names and all they refer to."""
    return _closure(names, 2)


def v3_schemas(names: Iterable[str]) -> dict[str, Object]:
    """Full definition name → OpenAPI 3.0 schema, of these names and all they refer to."""
    return _closure(names, 3)


def definition_name(group: str, version: str, kind: str) -> str:
    """The full definition name of a kind (io.k8s.api.apps.v1.Deployment); "" if the schemas do not know it."""
    name = definitions.kinds().get((group, version, kind))
    return definitions.PREFIX + name if name else ""


def descriptions(*fields: tuple[str, str]) -> list[str]:
    """What the package says of fields, each by its definition's full name and its own."""
    described = definitions.described()
    return [str(described[name]["properties"][field].get("description", "")) for name, field in fields]


def _closure(names: Iterable[str], version: int) -> dict[str, Object]:
    described = definitions.described()
    waiting = list(names)
    found: dict[str, Object] = {}
    while waiting:
        name = waiting.pop()
        if name in found or name not in described:
            continue
        references: list[str] = []
        found[name] = _definition(name, described[name], references, version)
        waiting += references
    return dict(sorted(found.items()))


def _definition(name: str, schema: Object, references: list[str], version: int) -> Object:
    if (special := _special(name, version)) is not None:
        return {"description": _ABOUT[name], **special}
    made: Object = _converted(schema, references, version)
    if "properties" in schema:
        short = name.removeprefix(definitions.PREFIX)
        wire = definitions.wire(short)
        for field, member in made["properties"].items():
            flag = wire[field].flag if field in wire else ""
            made["properties"][field] = _finished(member, f"{short}.{field}", flag, version)
    return made


def _special(name: str, version: int) -> Object | None:
    if name == _QUANTITY:
        return {"type": "string"} if version == 2 else {"oneOf": [{"type": "string"}, {"type": "number"}]}
    if name == _INT_OR_STRING:
        if version == 2:
            return {"type": "string", "format": "int-or-string"}
        return {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}
    return None


def _finished(member: Object, field: str, flag: str, version: int) -> Object:
    """The schema of a field with its values and its default."""
    choices = _choices()
    if (values := choices.values.get(field)) is not None:
        member = _limited(member, values)
    if version == 2:
        return member
    # Not apiVersion and kind, which fields.json does not have.
    default = choices.defaults.get(field)
    if default is None and flag == "a":
        default = _ZERO.get(member.get("type", ""))
    elif default is None and flag == "s" and "$ref" in member:
        default = None if member["$ref"].rpartition(".")[2] in _OWN_READER else {}
    if default is not None:
        member["default"] = default
    if "$ref" in member and len(member) > 1:
        # OpenAPI 3.0 ignores what stands beside a $ref.
        member["allOf"] = [{"$ref": member.pop("$ref")}]
    return member


def _limited(member: Object, values: list[str]) -> Object:
    for inner in ("items", "additionalProperties"):
        if isinstance(member.get(inner), dict):
            member[inner] = {**member[inner], "enum": values}
            return member
    lines = "".join(f'\n - `"{value}"`{_MEANING.get(value, "")}' for value in values)
    about = f"{member.get('description', '')}\n\nPossible enum values:{lines}".lstrip("\n")
    return {**member, "description": about, "enum": values}


#: Of values that say little by themselves.
_MEANING = {protocol: f" is the {protocol} protocol." for protocol in ("SCTP", "TCP", "UDP")}


def _converted(schema: Any, references: list[str], version: int) -> Any:
    if isinstance(schema, list):
        return [_converted(item, references, version) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: Object = {}
    for key, value in schema.items():
        match key:
            case "$ref":
                name = value.rpartition("/")[2]
                references.append(name)
                result["$ref"] = _PREFIX[version] + name
            case "type" if isinstance(value, list):
                result["type"] = next(item for item in value if item != "null")
            case "enum" if None in value or len(value) == 1:
                # The package pins apiVersion and kind here; upstream's documents do not.
                continue
            case "properties":
                result["properties"] = {name: _converted(member, references, version) for name, member in value.items()}
            case _:
                result[key] = _converted(value, references, version)
    return result
