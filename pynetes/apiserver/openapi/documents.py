"""The documents themselves, from routes and definitions: pure.

v3_document    one group version: paths, and the schemas they refer to
v2_document    everything; parameters that many operations share stand once, under `parameters`
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

import pynetes
from pynetes.apiserver.openapi import parameters, routes
from pynetes.apiserver.openapi.routes import TEXT, Route
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import openapi as definitions

_UNAUTHORIZED = {"401": {"description": "Unauthorized"}}
_BEARER = {
    "BearerToken": {
        "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
    }
}  # fmt: skip
_RELEASE = pynetes.KUBERNETES_VERSION.removeprefix("v").rpartition(".")[0]
_INFO = {"title": "Kubernetes", "version": _RELEASE}
#: Of documents in which custom kinds stand alone.
_CUSTOM_INFO = {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}
#: Old kubectls look for these beside an operation to learn what the server can do.
_NEVER_SHARED = ("fieldValidation", "dryRun", "name")
_COMMON = "io.k8s.apimachinery"


def v3_document(found: Iterable[Route], custom: Mapping[str, Object], *, built_in: bool) -> Object:
    """The document of one group version, or of one path; `custom` are the definitions of custom kinds."""
    paths = {path: _v3_path(at) for path, at in sorted(routes.by_path(found).items())}
    names = {*_references(paths), *_references(custom)} - set(custom)
    components: Object = {"schemas": dict(sorted({**definitions.v3_schemas(sorted(names)), **custom}.items()))}
    if built_in:
        components["securitySchemes"] = _BEARER
    return {
        "openapi": "3.0.0",
        "info": _INFO if built_in else _CUSTOM_INFO,
        "paths": paths,
        "components": components,
    }


def v2_document(found: Iterable[Route], custom: Mapping[str, Object]) -> Object:
    """The one document of version 2."""
    paths = {path: _v2_path(at) for path, at in sorted(routes.by_path(found).items())}
    shared = _share(paths)
    names = {*_references(paths), *_references(custom), *_references(shared)} - set(custom)
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": paths,
        "definitions": dict(sorted({**definitions.v2_definitions(sorted(names)), **custom}.items())),
        "parameters": shared,
        "securityDefinitions": _BEARER,
        "security": [{"BearerToken": []}],
    }


def _references(value: Any) -> Iterator[str]:
    """The names of all definitions referred to anywhere below."""
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for key, member in value.items():
            if key == "$ref" and isinstance(member, str):
                if not member.startswith("#/parameters/"):
                    yield member.rpartition("/")[2]
            else:
                yield from _references(member)


def _v3_path(found: list[Route]) -> Object:
    shared = routes.common(found)
    item: Object = {"parameters": shared} if shared else {}
    for route in found:
        operation = _operation(route)
        if own := _own(route, shared):
            operation["parameters"] = own
        if route.body:
            body: Object = {"content": {media: _schema(route.body, 3) for media in route.consumes}}
            operation["requestBody"] = body | ({"required": True} if route.body_required else {})
        operation["responses"] = {
            str(code): {
                "description": routes.STATUS[code],
                "content": {media: _schema(answer, 3) for media in route.produces},
            }
            for code, answer in route.responses
        } | _UNAUTHORIZED
        item[route.method] = operation | _extensions(route)
    return item


def _v2_path(found: list[Route]) -> Object:
    shared = routes.common(found)
    item: Object = {"parameters": [_flat(parameter) for parameter in shared]} if shared else {}
    for route in found:
        operation = _operation(route)
        own = [_flat(parameter) for parameter in _own(route, shared)]
        if route.body:
            body: Object = {"name": "body", "in": "body", **_schema(route.body, 2)}
            own.append(body | ({"required": True} if route.body_required else {}))
        if route.consumes:
            operation["consumes"] = list(route.consumes)
        operation |= {"produces": list(route.produces), "schemes": ["https"]}
        if own:
            operation["parameters"] = parameters.ordered(own)
        operation["responses"] = {
            str(code): {"description": routes.STATUS[code], **_schema(answer, 2)} for code, answer in route.responses
        } | _UNAUTHORIZED
        item[route.method] = operation | _extensions(route)
    return item


def _operation(route: Route) -> Object:
    identifier, tag = route.identity
    return {"tags": [tag], "description": route.description, "operationId": identifier}


def _own(route: Route, shared: list[Object]) -> list[Object]:
    beside = {(parameter["name"], parameter["in"]) for parameter in shared}
    return parameters.ordered(p for p in route.parameters if (p["name"], p["in"]) not in beside)


def _extensions(route: Route) -> Object:
    if route.kind is None:
        return {}
    group, version, kind = route.kind
    about = {"group": group, "version": version, "kind": kind}
    return {"x-kubernetes-action": route.action, "x-kubernetes-group-version-kind": about}


def _schema(name: str, release: int) -> Object:
    if name == TEXT:
        return {"schema": {"type": "string"}}
    return {"schema": {"$ref": ("#/definitions/" if release == 2 else "#/components/schemas/") + name}}


def _flat(parameter: Object) -> Object:
    """A parameter as version 2 has it: the schema's members beside the name."""
    schema: Object = parameter["schema"]
    return {name: value for name, value in parameter.items() if name != "schema"} | schema


def _share(paths: Object) -> dict[str, Object]:
    """Puts references for the parameters that are not of one kind only, in place; the parameters by name."""
    shared: dict[str, Object] = {}
    names: dict[bytes, str] = {}
    for item in paths.values():
        for owner in (item, *(operation for operation in item.values() if isinstance(operation, dict))):
            for index, parameter in enumerate(owner.get("parameters", ())):
                if not _shareable(parameter):
                    continue
                text = orjson.dumps(parameter, option=orjson.OPT_SORT_KEYS)
                if text not in names:
                    names[text] = f"{parameter['name']}-{_short_hash(text)}"
                    shared[names[text]] = parameter
                owner["parameters"][index] = {"$ref": f"#/parameters/{names[text]}"}
    return dict(sorted(shared.items()))


def _shareable(parameter: Object) -> bool:
    if parameter["in"] == "body":
        return str(parameter["schema"].get("$ref", "")).startswith(f"#/definitions/{_COMMON}")
    return parameter["name"] not in _NEVER_SHARED


def _short_hash(text: bytes) -> str:
    """FNV-1 in 64 bits, the first six bytes of it in base64."""
    value = 0xCBF29CE484222325
    for byte in text:
        value = value * 0x100000001B3 % (1 << 64) ^ byte
    return base64.urlsafe_b64encode(value.to_bytes(8, "big")[:6]).decode()
