"""The REST API: one table of operations, from which the routes and the OpenAPI document both come.

Every request needs a bearer token, but for the document and the health endpoints: one of the configuration's, or one
that an instance got from its metadata service, which may only read. Errors are {"code", "message"}.
"""

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from pynetes import __version__
from pynetes.cloud.localcloud.cloud import Cloud, Refusal
from pynetes.cloud.metadata.credentials import Issuer
from pynetes.component import logs
from pynetes.component.command import CommandError
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.meta import Object

_LOG = logging.getLogger(__name__)
REQUESTS = REGISTRY.counter(
    "local_cloud_requests_total", "Requests to the local cloud, by operation and status.", "operation", "code"
)
Handler = Callable[[Cloud, Mapping[str, str], Object], Awaitable[Any]]
TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
TAGS: Object = {"type": "object", "additionalProperties": TEXT}


@dataclass(frozen=True)
class Operation:
    """One method on one path; body: JSON Schema properties, those in required must be there."""

    method: str
    path: str
    name: str
    summary: str
    handle: Handler
    body: Mapping[str, Any] | None = None
    required: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it needs a token of the configuration."""
        return self.method != "GET"


def _list(items: Object) -> Object:
    return {"type": "array", "items": items}


def _object(**properties: Object) -> Object:
    return {"type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False}


_BALANCER = {
    "listeners": _list(_object(name=TEXT, protocol=TEXT, port=NUMBER, nodePort=NUMBER)),
    "targets": _list(_object(node=TEXT, instance=TEXT, address=TEXT)),
    "health": _object(port=NUMBER, path=TEXT),
    "sourceRanges": _list(TEXT),
    "sticky": FLAG,
    "proxyProtocol": FLAG,
    "requestedAddress": TEXT,
    "tags": TAGS,
}
_VOLUME = {"name": TEXT, "size": NUMBER, "zone": TEXT, "snapshot": TEXT, "tags": TAGS}


async def _instances(cloud: Cloud, _path: Mapping[str, str], _body: Object) -> Any:
    return {"items": cloud.instances()}


async def _instance(cloud: Cloud, path: Mapping[str, str], _body: Object) -> Any:
    return cloud.instance(cloud.machine(path["id"]))


def _act(action: str) -> Handler:
    async def handle(cloud: Cloud, path: Mapping[str, str], _body: Object) -> Any:
        return await cloud.act(path["id"], action)

    return handle


async def _options(cloud: Cloud, path: Mapping[str, str], body: Object) -> Any:
    if not 1 <= body.get("hopLimit", 1) <= 64:
        raise Refusal(422, "InvalidParameterValue", f"hopLimit {body['hopLimit']} is not between 1 and 64")
    return await cloud.set_options(path["id"], body)


async def _balancers(cloud: Cloud, _path: Mapping[str, str], _body: Object) -> Any:
    return {"items": await cloud.balancers()}


async def _balancer(cloud: Cloud, path: Mapping[str, str], _body: Object) -> Any:
    return await cloud.balancer(path["name"])


async def _put_balancer(cloud: Cloud, path: Mapping[str, str], body: Object) -> Any:
    return await cloud.ensure_balancer(path["name"], body)


async def _delete_balancer(cloud: Cloud, path: Mapping[str, str], _body: Object) -> Any:
    return await cloud.delete_balancer(path["name"])


async def _routes(cloud: Cloud, _path: Mapping[str, str], _body: Object) -> Any:
    return {"items": list(cloud.state.of("routes").values())}


async def _put_route(cloud: Cloud, path: Mapping[str, str], body: Object) -> Any:
    return await cloud.ensure_route(path["name"], body)


async def _delete_route(cloud: Cloud, path: Mapping[str, str], _body: Object) -> Any:
    return await cloud.delete_route(path["name"])


async def _volumes(cloud: Cloud, _path: Mapping[str, str], _body: Object) -> Any:
    return {"items": list(cloud.state.of("volumes").values())}


async def _volume(cloud: Cloud, path: Mapping[str, str], _body: Object) -> Any:
    return cloud.volume(path["id"])


async def _create_volume(cloud: Cloud, _path: Mapping[str, str], body: Object) -> Any:
    return await cloud.create_volume(body)


async def _delete_volume(cloud: Cloud, path: Mapping[str, str], _body: Object) -> Any:
    return await cloud.delete_volume(path["id"])


async def _attach(cloud: Cloud, path: Mapping[str, str], body: Object) -> Any:
    return await cloud.attach_volume(path["id"], body["instance"])


async def _detach(cloud: Cloud, path: Mapping[str, str], body: Object) -> Any:
    return await cloud.detach_volume(path["id"], body["instance"])


async def _expand(cloud: Cloud, path: Mapping[str, str], body: Object) -> Any:
    return await cloud.expand_volume(path["id"], body["size"])


async def _snapshots(cloud: Cloud, _path: Mapping[str, str], _body: Object) -> Any:
    return {"items": list(cloud.state.of("snapshots").values())}


async def _create_snapshot(cloud: Cloud, _path: Mapping[str, str], body: Object) -> Any:
    return await cloud.create_snapshot(body)


async def _delete_snapshot(cloud: Cloud, path: Mapping[str, str], _body: Object) -> Any:
    return await cloud.delete_snapshot(path["id"])


_OPTIONS = {"hopLimit": NUMBER, "openToPods": FLAG}
_ROUTE = {"cidr": TEXT, "instance": TEXT, "tags": TAGS}
_SNAPSHOT = {"name": TEXT, "volume": TEXT, "tags": TAGS}
_ON = {"instance": TEXT}

OPERATIONS = (
    Operation("GET", "/v1/instances", "listInstances", "All instances that exist.", _instances),
    Operation("GET", "/v1/instances/{id}", "getInstance", "One instance.", _instance),
    Operation("DELETE", "/v1/instances/{id}", "terminateInstance", "Terminate an instance.", _act("terminate")),
    Operation("POST", "/v1/instances/{id}/stop", "stopInstance", "Shut an instance down.", _act("stop")),
    Operation("POST", "/v1/instances/{id}/start", "startInstance", "Start it again.", _act("start")),
    Operation(
        "PUT",
        "/v1/instances/{id}/metadata-options",
        "setMetadataOptions",
        "How many hops a session token travels, and whether pods may ask the metadata service.",
        _options,
        _OPTIONS,
    ),
    Operation("GET", "/v1/load-balancers", "listLoadBalancers", "All load balancers.", _balancers),
    Operation("GET", "/v1/load-balancers/{name}", "getLoadBalancer", "One load balancer.", _balancer),
    Operation(
        "PUT",
        "/v1/load-balancers/{name}",
        "ensureLoadBalancer",
        "Make or change a load balancer.",
        _put_balancer,
        _BALANCER,
        ("listeners", "targets", "health", "tags"),
    ),
    Operation("DELETE", "/v1/load-balancers/{name}", "deleteLoadBalancer", "Remove it.", _delete_balancer),
    Operation("GET", "/v1/routes", "listRoutes", "The route table.", _routes),
    Operation(
        "PUT",
        "/v1/routes/{name}",
        "ensureRoute",
        "Point a network to an instance.",
        _put_route,
        _ROUTE,
        ("cidr", "instance", "tags"),
    ),
    Operation("DELETE", "/v1/routes/{name}", "deleteRoute", "Remove a route.", _delete_route),
    Operation("GET", "/v1/volumes", "listVolumes", "All volumes.", _volumes),
    Operation("GET", "/v1/volumes/{id}", "getVolume", "One volume.", _volume),
    Operation(
        "POST",
        "/v1/volumes",
        "createVolume",
        "Make a volume, or find the one that has the name.",
        _create_volume,
        _VOLUME,
        ("name", "size", "tags"),
    ),
    Operation("DELETE", "/v1/volumes/{id}", "deleteVolume", "Remove a volume that is not in use.", _delete_volume),
    Operation(
        "POST", "/v1/volumes/{id}/attach", "attachVolume", "Give it to an instance.", _attach, _ON, ("instance",)
    ),
    Operation("POST", "/v1/volumes/{id}/detach", "detachVolume", "Take it back.", _detach, _ON, ("instance",)),
    Operation(
        "POST", "/v1/volumes/{id}/expand", "expandVolume", "Make it larger.", _expand, {"size": NUMBER}, ("size",)
    ),
    Operation("GET", "/v1/snapshots", "listSnapshots", "All snapshots.", _snapshots),
    Operation(
        "POST",
        "/v1/snapshots",
        "createSnapshot",
        "Copy a volume as it is now.",
        _create_snapshot,
        _SNAPSHOT,
        ("name", "volume", "tags"),
    ),
    Operation("DELETE", "/v1/snapshots/{id}", "deleteSnapshot", "Remove a snapshot.", _delete_snapshot),
)


def openapi() -> Object:
    """The OpenAPI document."""
    paths: dict[str, Object] = {}
    for each in OPERATIONS:
        operation: Object = {
            "operationId": each.name,
            "summary": each.summary,
            "responses": {
                "200": {"description": "What it is now."},
                "default": {"$ref": "#/components/responses/Error"},
            },
        }
        names = [part[1:-1] for part in each.path.split("/") if part.startswith("{")]
        if names:
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ]
        if each.body:
            schema = {"type": "object", "properties": dict(each.body), "required": list(each.required)}
            content = {"application/json": {"schema": {**schema, "additionalProperties": False}}}
            operation["requestBody"] = {"required": True, "content": content}
        paths.setdefault(each.path, {})[each.method.lower()] = operation
    error = {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Pynetes local cloud", "version": __version__},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "Error": {"description": "What is wrong.", "content": {"application/json": {"schema": error}}}
            },
        },
    }


def add_routes(app: web.Application, cloud: Cloud, issuer: Issuer) -> None:
    """Serve the operations and the document."""

    async def document(_request: web.Request) -> web.Response:
        return _answer(200, openapi())

    app.router.add_get("/openapi.json", document)
    for operation in OPERATIONS:
        app.router.add_route(operation.method, operation.path, _handler(operation, cloud, issuer))


def _handler(operation: Operation, cloud: Cloud, issuer: Issuer) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        response = await answer(request)
        REQUESTS.inc(operation.name, str(response.status))
        return response

    async def answer(request: web.Request) -> web.Response:
        try:
            user = _authenticate(request, cloud.config.tokens, issuer)
            if operation.changes and user not in cloud.config.tokens:
                raise Refusal(403, "UnauthorizedOperation", f"{user} may only read")
            body = _body(operation, await request.read())
            return _answer(200, await operation.handle(cloud, request.match_info, body))
        except Refusal as error:
            return _answer(error.status, {"code": error.code, "message": str(error)})
        except CommandError as error:
            _LOG.warning(logs.fact("the machine will not", operation=operation.name, error=error))
            return _answer(503, {"code": "MachineError", "message": str(error)})

    return handle


def _authenticate(request: web.Request, tokens: Mapping[str, str], issuer: Issuer) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and token:
        for user, known in tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return user
        if role := issuer.role_of(token):
            return role
    raise Refusal(401, "AuthFailure", "the request has no valid token: send Authorization: Bearer TOKEN")


def _body(operation: Operation, raw: bytes) -> Object:
    if operation.body is None:
        return {}
    try:
        document = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "MalformedBody", f"the body is not JSON: {error}") from None
    if wrong := _mismatch("", document, _object(**operation.body) | {"required": list(operation.required)}):
        raise Refusal(422, "InvalidParameterValue", wrong)
    checked: Object = document
    return checked


_TYPES: Mapping[str, Any] = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}


def _mismatch(place: str, value: Any, schema: Mapping[str, Any]) -> str:
    """What of a value its schema does not allow; "" when all is well."""
    wanted = schema["type"]
    if not isinstance(value, _TYPES[wanted]) or (wanted == "integer" and isinstance(value, bool)):
        return f"{place or 'the body'} must be of type {wanted}"
    if wanted == "array":
        checks = (_mismatch(f"{place}[{index}]", item, schema["items"]) for index, item in enumerate(value))
        return next(filter(None, checks), "")
    if wanted != "object":
        return ""
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    prefix = f"{place}." if place else ""
    for name in schema.get("required", ()):
        if name not in value:
            return f"{prefix}{name} is missing"
    for name, item in value.items():
        if name not in properties and others is False:
            return f"{prefix}{name} is not known; known are {', '.join(sorted(properties))}"
        if wrong := _mismatch(f"{prefix}{name}", item, properties.get(name, others)):
            return wrong
    return ""


def _answer(status: int, document: Any) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
