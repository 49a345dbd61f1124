"""Everything that is no resource: discovery, health, version, metrics, OpenAPI, token issuer discovery."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from pynetes.apiserver import debugging, encoding
from pynetes.apiserver.authn.service_account import discovery as issuer_discovery
from pynetes.apiserver.authn.service_account import jwks
from pynetes.apiserver.authn.union import Authentication
from pynetes.apiserver.config import Config
from pynetes.apiserver.discovery import Discovery, version
from pynetes.apiserver.endpoints.dispatch import not_allowed, not_found, unknown
from pynetes.apiserver.http import Handler, Request, Response, json_response, text_response
from pynetes.apiserver.openapi import OpenAPI
from pynetes.apiserver.served import Served
from pynetes.component import metrics, processmetrics  # noqa: F401 (the second declares its metrics)
from pynetes.component.health import SLIS, Checks

HEALTH = ("healthz", "livez", "readyz")
DEBUGGING = ("debug", "flagz", "statusz")
#: Writes the metrics out: this process's, or those of all that share its port.
Exposition: TypeAlias = Callable[[], Awaitable[str]]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


def build(
    config: Config,
    served: Served,
    checks: Checks,
    discovery: Discovery,
    openapi: OpenAPI,
    authentication: Authentication,
    exposition: Exposition,
) -> Handler:
    """One handler over all of these paths."""

    def issuer(_: Request) -> Response:
        name = config.service_account_issuer[0]
        document = issuer_discovery(name, f"{name.rstrip('/')}/openid/v1/jwks", authentication.keys)
        return json_response(document)

    def keys(_: Request) -> Response:
        found = json_response(jwks(authentication.keys))
        found.content_type = "application/jwk-set+json"
        return found

    routed: dict[str, Callable[[Request], Response]] = {
        "/version": lambda request: json_response(version()),
        "/.well-known/openid-configuration": issuer,
        "/openid/v1/jwks": keys,
    }

    pages = _pages(served, exposition)

    async def handle(request: Request) -> Response:
        path = request.path.rstrip("/") or "/"
        root = path.split("/", 2)[1]
        if found := _routed(request, path, routed):
            return found
        if found := debugging.answer(request, config, paths(served)) if root in DEBUGGING else None:
            return found
        if root in ("api", "apis"):
            return _discovered(discovery, request, path)
        if page := pages.get(request.path):
            return await page(request)
        if root == "openapi" and request.path != "/openapi/v2/":
            return await openapi.answer(request) or not_found()
        if root in HEALTH and request.path == path:
            await checks.look()
            return _health(checks, request, root, path)
        return not_found()

    return handle


def _pages(served: Served, exposition: Exposition) -> dict[str, Handler]:
    """What upstream has in a plain mux: exact paths, and any method."""

    async def measured(_: Request) -> Response:
        return Response(200, (await exposition()).encode(), METRICS_TYPE)

    async def slis(_: Request) -> Response:
        return Response(200, SLIS.text().encode(), METRICS_TYPE)

    async def listed(_: Request) -> Response:
        return json_response({"paths": paths(served)})

    return {"/metrics": measured, "/metrics/slis": slis, "/": listed, "/index.html": listed}


def _routed(request: Request, path: str, routed: Mapping[str, Callable[[Request], Response]]) -> Response | None:
    """What upstream answers by routes that know their method: below them nothing is a Status, not a text."""
    for root, answer in routed.items():
        if path == root:
            if request.method != "GET":
                raise not_allowed()
            found = answer(request)
            accepted = {clause.partition(";")[0].strip() for clause in request.headers.get("accept", "*/*").split(",")}
            if accepted.isdisjoint(("*/*", "", found.content_type)):
                raise encoding.not_acceptable(listed=found.content_type)
            return found
        if path.startswith(f"{root}/"):
            raise unknown()
    return None


def _discovered(discovery: Discovery, request: Request, path: str) -> Response:
    """/apis and its groups are answered whatever the method is, as by upstream's aggregator; the rest by GET alone."""
    found = discovery.answer(request) or not_found()
    _, root, *below = path.split("/")
    if request.method != "GET" and found.status < 400 and (root == "api" or len(below) > 1):
        raise not_allowed()
    return found


async def own_metrics() -> str:
    """This process's metrics."""
    return metrics.REGISTRY.text()


def paths(served: Served) -> list[str]:
    """What / lists."""
    found = ["/.well-known/openid-configuration", "/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2"]
    found += ["/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"]
    for group, versions in served.group_versions().items():
        found += [f"/apis/{group}"] if group else []
        found += [f"/apis/{group}/{version}" if group else f"/api/{version}" for version in versions]
    return sorted(found)


def _health(checks: Checks, request: Request, endpoint: str, path: str) -> Response:
    only = path[len(endpoint) + 2 :]
    result = checks.answer(
        endpoint, verbose="verbose" in request.query, exclude=request.query.get("exclude", []), only=only
    )
    return text_response(result.text, result.status)
