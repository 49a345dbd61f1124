"""Definitions as upstream's internal type has them: what all versions have in common stands once, above them.

It is this form that upstream validates, so paths name it (spec.validation for a schema that all versions share), and
where a message quotes versions or schemas, it quotes this form with the names of Go's fields.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pynetes.machinery.meta import Object

#: Members of a version that stand above all versions if they are the same in each, with their place there.
SHARED = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}
_TEXTS = ("description", "type", "format", "title", "pattern")
#: In the order of Go's struct.
_MEMBERS = (
    "id", "schema", "$ref", "description", "type", "nullable", "format", "title", "default", "maximum",
    "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems",
    "uniqueItems", "multipleOf", "enum", "maxProperties", "minProperties", "required", "items", "allOf", "oneOf",
    "anyOf", "not", "properties", "additionalProperties", "patternProperties", "dependencies", "additionalItems",
    "definitions", "externalDocs", "example", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type",
    "x-kubernetes-validations",
)  # fmt: skip
_FALSE = (
    "nullable", "exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
)  # fmt: skip


def parts(versions: Sequence[Object]) -> tuple[Object, list[Object]]:
    """What all versions share, by member, and the versions without it."""
    common: Object = {}
    rest = [dict(version) for version in versions]
    for name in SHARED:
        first = _whole(versions[0].get(name)) if versions else None
        if versions and all(_whole(version.get(name)) == first for version in versions):
            if first is not None:
                common[name] = first
            for version in rest:
                version.pop(name, None)
    return common, rest


def _whole(member: Any) -> Any:
    """An empty list is none."""
    return None if member == [] else member


def versions(rest: Sequence[Object]) -> list[Object] | None:
    """Versions (without what they share) as they are quoted."""
    return [_version(version) for version in rest] or None


def _version(version: Object) -> Object:
    schema, subresources = version.get("schema"), version.get("subresources")
    columns, fields = version.get("additionalPrinterColumns"), version.get("selectableFields")
    whole = schema and schema.get("openAPIV3Schema")
    return {
        "Name": version.get("name") or "",
        "Served": bool(version.get("served")),
        "Storage": bool(version.get("storage")),
        "Deprecated": bool(version.get("deprecated")),
        "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": None if schema is None else {"OpenAPIV3Schema": None if whole is None else described(whole)},
        "Subresources": None if subresources is None else _subresources(subresources),
        "AdditionalPrinterColumns": [_column(each) for each in columns] if columns else None,
        "SelectableFields": [{"JSONPath": each.get("jsonPath") or ""} for each in fields] if fields else None,
    }


def _subresources(subresources: Object) -> Object:
    scale = subresources.get("scale")
    if scale is not None:
        scale = {
            "SpecReplicasPath": scale.get("specReplicasPath") or "",
            "StatusReplicasPath": scale.get("statusReplicasPath") or "",
            "LabelSelectorPath": scale.get("labelSelectorPath"),
        }
    return {"Status": subresources.get("status"), "Scale": scale}


def _column(column: Object) -> Object:
    names = ("name", "type", "format", "description")
    texts = {name.title(): column.get(name) or "" for name in names}
    return {**texts, "Priority": column.get("priority") or 0, "JSONPath": column.get("jsonPath") or ""}


def described(schema: Mapping[str, Any]) -> Object:
    """A schema."""
    return {go_name(name): _member(name, schema.get(name)) for name in _MEMBERS}


def set_members(schema: Mapping[str, Any]) -> list[str]:
    """Names of the members that a schema has, as Go knows them and in its order."""
    return [go_name(name) for name in _MEMBERS if _member(name, schema.get(name)) not in (None, "", False)]


def go_name(name: str) -> str:
    """Of a schema's member: maxLength is MaxLength, x-kubernetes-map-type is XMapType."""
    if name in ("id", "$ref"):
        return name.removeprefix("$").upper() if name == "id" else "Ref"
    if name.startswith("x-kubernetes-"):
        return "X" + "".join(part.title() for part in name.removeprefix("x-kubernetes-").split("-"))
    return name[0].upper() + name[1:]


def _member(name: str, value: Any) -> Any:
    match name:
        case "id" | "schema":
            return value or ""
        case "allOf" | "oneOf" | "anyOf":
            return [described(each) for each in value] if value else None
        case "properties" | "patternProperties" | "definitions":
            return {each: described(value[each]) for each in sorted(value)} if value else None
        case "not":
            return None if value is None else described(value)
        case "items":
            return _items(value)
        case "additionalProperties" | "additionalItems":
            return _or_bool(value)
        case "externalDocs" if value is not None:
            return {"Description": value.get("description") or "", "URL": value.get("url") or ""}
        case "x-kubernetes-validations":
            return [rule(each) for each in value] if value else None
    if name in _TEXTS:
        return value or ""
    return bool(value) if name in _FALSE else value


def _items(value: Any) -> Any:
    if isinstance(value, list):
        return {"Schema": None, "JSONSchemas": [described(each) for each in value]}
    return None if value is None else {"Schema": described(value), "JSONSchemas": None}


def _or_bool(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, bool):
        return {"Allows": value, "Schema": None}
    return {"Allows": True, "Schema": described(value)}


def rule(rule: Mapping[str, Any]) -> Object:
    """One of x-kubernetes-validations."""
    return {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
