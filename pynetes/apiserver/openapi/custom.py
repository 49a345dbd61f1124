"""The definitions of custom kinds: the schema of their CustomResourceDefinition, and what every object has.

Version 3 can say all of it. For version 2, whose readers (kubectl, client generators) take a schema with properties for
a closed one, what it cannot say is left out by the rules that upstream has for this: no alternatives, no defaults, no
type where null is allowed, and no properties below x-kubernetes-preserve-unknown-fields.
"""

from functools import cache
from typing import Any

from pynetes.apiserver.openapi import routes
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import openapi as definitions

_CORE = "io.k8s.api.core.v1"
_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_KINDS = [{"type": "integer"}, {"type": "string"}]
_PLAIN_MEMBERS = (
    "type", "description", "title", "default", "externalDocs", "example", "format", "maximum", "minimum", "maxLength",
    "minLength", "pattern", "maxItems", "minItems", "multipleOf", "enum", "maxProperties", "minProperties",
    "x-kubernetes-list-type", "x-kubernetes-map-type",
)  # fmt: skip
#: Left out when false or empty.
_SET_MEMBERS = (
    "nullable", "exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "required", "x-kubernetes-list-map-keys",
    "x-kubernetes-validations", _PRESERVE, _EMBEDDED, _INT_OR_STRING,
)  # fmt: skip
_ALTERNATIVES = ("allOf", "anyOf", "oneOf")


@cache
def _texts() -> dict[str, str]:
    """The descriptions that all kinds share, as built-in ones have them."""
    names = ("apiVersion", "kind", "metadata")
    found = definitions.descriptions(
        *((f"{_CORE}.ConfigMap", name) for name in names),
        (f"{_CORE}.PodList", "metadata"),
        (f"{_CORE}.PodList", "items"),
    )
    return dict(zip((*names, "list metadata", "items"), found, strict=True))


def definitions_of(resource: Resource, version: str, *, release: int) -> dict[str, Object]:
    """Name → definition, of a custom kind and its list; release 2 or 3."""
    prefix = "#/definitions/" if release == 2 else "#/components/schemas/"
    name, listed = routes.definition_of(resource, version), routes.list_of(resource, version)
    schema = (resource.schema or {}).get(version) or {}
    list_kind = resource.list_kind or f"{resource.kind}List"
    texts = _texts()
    found = {
        name: _kind(schema, prefix, release),
        listed: {
            "description": f"{list_kind} is a list of {resource.kind}",
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"description": texts["apiVersion"], "type": "string"},
                "items": {
                    "description": texts["items"].replace(" pods.", f" {resource.plural}."),
                    "type": "array",
                    "items": {"$ref": prefix + name},
                },
                "kind": {"description": texts["kind"], "type": "string"},
                "metadata": _reference("ListMeta", texts["list metadata"], prefix, release),
            },
        },
    }
    for definition, kind in ((found[name], resource.kind), (found[listed], list_kind)):
        definition["x-kubernetes-group-version-kind"] = [{"group": resource.group, "kind": kind, "version": version}]
        if resource.fields:
            definition["x-kubernetes-selectable-fields"] = [{"fieldPath": path} for path in resource.fields]
    return found


def _reference(kind: str, text: str, prefix: str, release: int) -> Object:
    target = {"$ref": f"{prefix}{routes.META}.{kind}"}
    return {"description": text, **(target if release == 2 else {"allOf": [target]})}


def _kind(schema: Object, prefix: str, release: int) -> Object:
    if not schema or (release == 2 and schema.get(_PRESERVE)):
        # Not even metadata: kubectl would refuse everything else.
        return {"type": "object"}
    made = _structural(schema, prefix, release)
    made["properties"] = made.get("properties", {}) | _type_meta() | {"metadata": _metadata(prefix, release)}
    return made


def _type_meta() -> Object:
    return {name: {"description": _texts()[name], "type": "string"} for name in ("apiVersion", "kind")}


def _metadata(prefix: str, release: int) -> Object:
    return _reference("ObjectMeta", _texts()["metadata"], prefix, release)


def _structural(schema: Object, prefix: str, release: int) -> Object:
    """A structural schema as OpenAPI, member by member: what OpenAPI does not know stays behind."""
    made: Object = {name: schema[name] for name in _PLAIN_MEMBERS if schema.get(name) is not None}
    made |= {name: schema[name] for name in _SET_MEMBERS if schema.get(name)}
    if isinstance(items := schema.get("items"), dict):
        made["items"] = _structural(items, prefix, release)
    if schema.get("properties"):
        made["properties"] = {
            name: _structural(member, prefix, release) for name, member in schema["properties"].items()
        }
    if isinstance(values := schema.get("additionalProperties"), dict):
        made["additionalProperties"] = _structural(values, prefix, release)
    elif values is not None:
        made["additionalProperties"] = values
    if release == 3:
        made |= {name: schema[name] for name in (*_ALTERNATIVES, "not") if schema.get(name)}
        _unfold(made)
    else:
        _reduce(made, schema)
    if schema.get(_EMBEDDED) and not (release == 2 and schema.get(_PRESERVE)):
        made["properties"] = made.get("properties", {}) | _type_meta() | {"metadata": _metadata(prefix, release)}
        missing = [name for name in ("kind", "apiVersion") if name not in made.get("required", ())]
        made["required"] = [*made.get("required", ()), *missing]
    return made


def _unfold(made: Object) -> None:
    """Says with anyOf what x-kubernetes-int-or-string means, unless the schema says so itself."""
    if not made.get(_INT_OR_STRING):
        return
    first = (made.get("allOf") or [{}])[0]
    if _KINDS in (made.get("anyOf"), first.get("anyOf")):
        return
    if made.get("anyOf"):
        made["allOf"] = [{"anyOf": _KINDS}, *made.get("allOf", ())]
    else:
        made["anyOf"] = _KINDS


def _reduce(made: Object, schema: Object) -> None:
    """Takes out what version 2 cannot say."""
    made.pop("default", None)
    if made.pop("nullable", None):
        for name in ("type", "items", "properties"):
            made.pop(name, None)
    if made.get(_PRESERVE):
        made.pop("items", None)
        made.pop("properties", None)
        if made.get("type") == "object":
            del made["type"]
    if made.get("type") == "array" and "items" not in made:
        del made["type"]
    if made.get(_INT_OR_STRING):
        made.pop("type", None)
    nullable = {name for name, member in (schema.get("properties") or {}).items() if member.get("nullable")}
    values: Any = schema.get("additionalProperties")
    wanted = [name for name in made.get("required", ()) if name not in nullable]
    if isinstance(values, dict) and values.get("nullable"):
        wanted = []
    if wanted:
        made["required"] = wanted
    else:
        made.pop("required", None)
