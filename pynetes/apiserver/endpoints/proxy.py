"""Proxies a request to a pod, to an endpoint of a service, or to a node's kubelet, over HTTP as the client sent it.

Names may carry scheme and port: https:web:8443, web:http, web.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from pynetes.apis.core import nodes, pods, services
from pynetes.apis.discovery import endpointslices
from pynetes.apiserver.endpoints import proxyable
from pynetes.apiserver.http import Request, Response, Upgrade
from pynetes.apiserver.kubelets import Kubelets
from pynetes.apiserver.objects import Context
from pynetes.component.streaming.http1 import DialError, Exchange, Target, exchange, splice
from pynetes.machinery import errors
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource

#: What belongs to one connection, or to us; credentials are for us alone.
_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
_NOT_FORWARDED = _HOP | {"authorization", "content-length", "host", "proxy-authorization"}
_IDENTITY = ("x-remote-", "impersonate-")
_NOT_RETURNED = _HOP | {"content-length", "content-type", "date"}


class Named(NamedTuple):
    """A proxied name, taken apart."""

    scheme: str
    name: str
    port: str


def parse_name(text: str) -> Named:
    """Read [scheme:]name[:port]. Raises StatusError 400."""
    parts = text.split(":")
    if len(parts) == 1:
        return Named("", parts[0], "")
    if len(parts) == 2:
        return Named("", *parts)
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return Named(*parts)
    raise errors.bad_request(f"invalid proxy request {text!r}: write name, name:port or scheme:name:port")


class Proxy:
    """Serves the proxy subresources."""

    def __init__(self, ctx: Context, kubelets: Kubelets) -> None:
        self._ctx = ctx
        self._kubelets = kubelets

    async def serve(self, request: Request, resource: Resource) -> Response:
        """Answer with what the target answers; 503 with the reason when it does not. Raises StatusError."""
        await self._ctx.objects.fresh(resource)
        target, own = self._target(resource, request.info.namespace, parse_name(request.info.name))
        if not own:
            target = target._replace(host=await proxyable.checked(target.host))
        path = "/" + quote(request.info.rest) + ("/" if _has_slash(request) else "")
        return await relay(target, request, path)

    def _target(self, resource: Resource, namespace: str, named: Named) -> tuple[Target, bool]:
        """Where to, and whether that is a kubelet, which proves with its certificate that it is one."""
        if resource == nodes.RESOURCE:
            node = self._ctx.objects.get(nodes.RESOURCE, Key("", named.name))
            if node is None:
                raise errors.not_found("nodes", "", named.name)
            target = self._kubelets.target(node)
            if not named.port or _number(named.port) == target.port:
                return target, True
            return Target(target.host, _number(named.port), _tls(named.scheme)), False
        if resource == pods.RESOURCE:
            return self._pod_target(namespace, named), False
        return self._service_target(namespace, named), False

    def _pod_target(self, namespace: str, named: Named) -> Target:
        pod = self._ctx.objects.get(pods.RESOURCE, Key(namespace, named.name))
        if pod is None:
            raise errors.not_found("pods", "", named.name)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise errors.bad_request(f"address not allowed: pod {named.name} has no IP yet")
        ports = [p for c in pod["spec"].get("containers") or () for p in c.get("ports") or ()]
        if not named.port:
            return Target(address, ports[0]["containerPort"] if ports else 80, _tls(named.scheme))
        wanted = next((p["containerPort"] for p in ports if p.get("name") == named.port), named.port)
        return Target(address, _number(wanted), _tls(named.scheme))

    def _service_target(self, namespace: str, named: Named) -> Target:
        service = self._ctx.objects.get(services.RESOURCE, Key(namespace, named.name))
        if service is None:
            raise errors.not_found("services", "", named.name)
        ports = service["spec"].get("ports") or []
        port = ports[0] if len(ports) == 1 and not named.port else None
        for each in ports:
            if named.port and named.port in (each.get("name"), str(each["port"])):
                port = each
        if port is None:
            raise errors.unavailable(f'no service port {named.port} found for service "{named.name}"')
        slices = self._slices(namespace, named.name)
        if not slices:
            # What upstream looks for is the endpoints of the service, and it names them by it.
            raise errors.not_found("services", "", named.name)
        found = _ready(slices, port.get("name") or "")
        if not found:
            raise errors.unavailable(f'no endpoints available for service "{named.name}"')
        address, number = random.choice(found)
        return Target(address, number, _tls(named.scheme))

    def _slices(self, namespace: str, service: str) -> list[Object]:
        found = self._ctx.objects.list(endpointslices.RESOURCE, namespace)
        label = "kubernetes.io/service-name"
        return [each for each in found if (each["metadata"].get("labels") or {}).get(label) == service]


def _ready(slices: Sequence[Object], port: str) -> list[tuple[str, int]]:
    """Addresses that serve the port of that name."""
    found = []
    for each in slices:
        numbers = [p["port"] for p in each.get("ports") or () if (p.get("name") or "") == port and p.get("port")]
        for endpoint in each.get("endpoints") or ():
            if numbers and (endpoint.get("conditions") or {}).get("ready", True):
                found += [(address, numbers[0]) for address in endpoint["addresses"]]
    return found


async def relay(target: Target, request: Request, path: str, identity: Iterable[tuple[str, str]] = ()) -> Response:
    """Send the request to a target, at this path, with these headers about its user. Raises StatusError 503."""
    upgrade = proxied_upgrade(request)
    headers = [
        (name, value)
        for name in request.headers
        if _forwarded(name) or (upgrade and name in ("connection", "upgrade"))
        for value in request.headers.every(name)
    ]
    headers += [("X-Forwarded-For", request.remote), *identity]
    path += f"?{request.query_string}" if request.query_string else ""
    try:
        answer = await exchange(target, request.method, path, headers, request.body)
    except DialError as error:
        raise errors.unavailable(f"error trying to reach service: {error}") from error
    return _answer(answer)


def proxied_upgrade(request: Request) -> bool:
    """Whether the connection is to become another one."""
    return "upgrade" in request.headers.get("connection", "").lower()


def _answer(answer: Exchange) -> Response:
    if answer.status == 101:

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await splice((reader, writer), (answer.reader, answer.writer))

        return Upgrade(headers=tuple(answer.headers), take=take)
    headers = tuple((name, value) for name, value in answer.headers if name.lower() not in _NOT_RETURNED)
    return Response(answer.status, _body(answer), answer.header("content-type") or "text/plain", headers)


async def _body(answer: Exchange) -> AsyncIterator[bytes]:
    with answer:
        async for chunk in answer.body():
            yield chunk


def _forwarded(name: str) -> bool:
    return name not in _NOT_FORWARDED and not name.startswith(_IDENTITY)


def _has_slash(request: Request) -> bool:
    return bool(request.info.rest) and request.path.endswith("/")


def _number(port: object) -> int:
    text = str(port)
    if not text.isdigit():
        raise errors.bad_request(f"no port {text!r}")
    return int(text)


def _tls(scheme: str) -> ssl.SSLContext | None:
    """As upstream: what a pod or service shows is not verified, since nothing says by what."""
    if scheme != "https":
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
