"""OpenAPI schemas of built-in kinds, for /openapi/v2 and /openapi/v3 and so for kubectl explain and apply.

The API server adds the paths. Descriptions are read from the package again at each call, because a running server
needs them seldom and they are two thirds of the text; keep the document that is made of the result instead.
"""

from collections.abc import Iterable
from typing import Any

from pynetes.machinery.meta import Object
from pynetes.machinery.schema import definitions

_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
#: What the operations of every group refer to.
COMMON = tuple(f"io.k8s.apimachinery.pkg.apis.meta.v1.{name}" for name in ("DeleteOptions", "Status", "WatchEvent"))


def v2_definitions(names: Iterable[str] | None = None) -> dict[str, Object]:
    """Full definition name → Swagger 2.0 schema, of these names and all they refer to; of every one if None."""
    return _closure(names, "#/definitions/", version=2)


def v3_schemas(names: Iterable[str] | None = None) -> dict[str, Object]:
    """Full definition name → OpenAPI 3.0 schema, of these names and all they refer to; of every one if None."""
    return _closure(names, "#/components/schemas/", version=3)


def names_of(group: str, version: str) -> list[str]:
    """Full definition names of the kinds and lists of a group version, with what its operations refer to."""
    found = [
        definitions.PREFIX + name
        for (kind_group, kind_version, _), name in definitions.kinds().items()
        if (kind_group, kind_version) == (group, version)
    ]
    return [*found, *COMMON]


def definition_name(group: str, version: str, kind: str) -> str:
    """The full definition name of a kind (io.k8s.api.apps.v1.Deployment); "" if the schemas do not know it."""
    name = definitions.kinds().get((group, version, kind))
    return definitions.PREFIX + name if name else ""


def _closure(names: Iterable[str] | None, prefix: str, *, version: int) -> dict[str, Object]:
    described = definitions.described()
    waiting = list(described if names is None else names)
    found: dict[str, Object] = {}
    while waiting:
        name = waiting.pop()
        if name in found or name not in described:
            continue
        references: list[str] = []
        found[name] = _special(name, version) or _converted(described[name], prefix, references, version)
        waiting += references
    return dict(sorted(found.items()))


def _special(name: str, version: int) -> Object | None:
    if name == _QUANTITY:
        return {"type": "string"} if version == 2 else {"oneOf": [{"type": "string"}, {"type": "number"}]}
    if name == _INT_OR_STRING:
        if version == 2:
            return {"type": "string", "format": "int-or-string"}
        return {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}
    return None


def _converted(schema: Any, prefix: str, references: list[str], version: int) -> Any:
    if isinstance(schema, list):
        return [_converted(item, prefix, references, version) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: Object = {}
    for key, value in schema.items():
        match key:
            case "$ref":
                name = value.rpartition("/")[2]
                references.append(name)
                result["$ref"] = prefix + name
            case "type" if isinstance(value, list):
                result["type"] = next(item for item in value if item != "null")
            case "enum" if None in value or len(value) == 1:
                # The package pins apiVersion and kind here; upstream's documents do not.
                continue
            case "properties":
                result["properties"] = {
                    name: _converted(member, prefix, references, version) for name, member in value.items()
                }
            case _:
                result[key] = _converted(value, prefix, references, version)
    if version == 3 and "$ref" in result and len(result) > 1:
        # OpenAPI 3.0 ignores what stands beside a $ref.
        result["allOf"] = [{"$ref": result.pop("$ref")}]
    return result
