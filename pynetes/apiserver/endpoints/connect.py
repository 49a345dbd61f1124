"""The subresources that are connections: pods/exec, attach, portforward and log, and proxy to pods, services, nodes.

Admission runs before anything is upgraded. A SPDY client gets the kubelet's own connection, byte for byte; a WebSocket
client gets a translation (remotecommand.py). Whatever fails before the upgrade is an ordinary Status.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlencode

from pynetes.apis.core import nodes, pods
from pynetes.apiserver.admission.attributes import CONNECT, Attributes
from pynetes.apiserver.admission.chain import Chain
from pynetes.apiserver.config import Config
from pynetes.apiserver.endpoints import remotecommand
from pynetes.apiserver.endpoints.proxy import Proxy, proxied_upgrade
from pynetes.apiserver.filters.authorization import require
from pynetes.apiserver.http import Request, Response, Takeover, Upgrade
from pynetes.apiserver.kubelets import Kubelets
from pynetes.apiserver.objects import Context
from pynetes.component.streaming.http1 import DialError, Exchange, splice
from pynetes.component.streaming.websocket import WebSocket, accept_key
from pynetes.machinery import errors, field
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource

#: subresource → kind of its options, as admission sees them.
OPTIONS = {
    "exec": "PodExecOptions",
    "attach": "PodAttachOptions",
    "portforward": "PodPortForwardOptions",
    "log": "PodLogOptions",
}
#: Query parameters of pods/log that a kubelet takes under the same names.
_LOG = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream")
_FLAGS = ("stdin", "stdout", "stderr", "tty")
#: What a kubelet calls them.
_KUBELET = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_GROUPS = ("containers", "initContainers", "ephemeralContainers")


def _check_log(name: str, request: Request) -> None:
    """Amounts that make no sense. Raises StatusError 422."""
    problems = []
    for parameter, least in (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)):
        text = request.param(parameter)
        if text and not text.removeprefix("-").isdecimal():
            raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        if text.removeprefix("-").isdecimal() and int(text) < least:
            detail = "must be greater than or equal to 0" if not least else "must be greater than 0"
            problems.append(field.invalid(parameter, int(text), detail))
    if request.param("sinceSeconds") and request.param("sinceTime"):
        problems.append(field.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if problems:
        raise errors.invalid("PodLogOptions", "", name, problems)


class Connect:
    """Serves connections. Made once; `serve` is the endpoint."""

    def __init__(self, ctx: Context, chain: Chain, kubelets: Kubelets) -> None:
        self._ctx = ctx
        self._chain = chain
        self._kubelets = kubelets
        self._proxy = Proxy(ctx, kubelets)

    async def serve(self, request: Request, resource: Resource) -> Response:
        """Answer a request to one of these subresources; request.info says which. Raises StatusError."""
        subresource = request.info.subresource
        if subresource == "proxy":
            if resource == nodes.RESOURCE and request.method == "GET" and proxied_upgrade(request):
                # What a kubelet upgrades runs something in a container, and it would ask what we may, not who asked.
                await require(self._ctx.authorizer, request, "create")
            await self._admit(request, resource, _proxy_options(resource, request))
            return await self._proxy.serve(request, resource)
        pod = await self._pod(request)
        options = _options(request, OPTIONS[subresource])
        if subresource == "log":
            return await self._log(request, pod, options)
        if request.method == "GET":
            # A WebSocket begins as a GET: whoever may only read must not get a shell by it.
            await require(self._ctx.authorizer, request, "create")
        if subresource != "portforward":
            options["container"] = _container(pod, options.get("container") or "")
        await self._admit(request, resource, options)
        node = self._node(pod, subresource)
        _check_streams(options)
        path = _path(pod, subresource, options)
        if request.headers.get("upgrade", "").lower() == "websocket":
            upgrade = self._websocket(request, node, path, subresource)
            if upgrade is not None:
                return upgrade
        return await self._spliced(request, node, path)

    async def _pod(self, request: Request) -> Object:
        await self._ctx.objects.fresh(pods.RESOURCE)
        key = Key(request.info.namespace, request.info.name)
        pod = self._ctx.objects.get(pods.RESOURCE, key)
        if pod is None:
            raise errors.not_found("pods", "", key.name)
        return pod

    def _node(self, pod: Object, subresource: str) -> Object:
        name = pod["spec"].get("nodeName")
        phase = (pod.get("status") or {}).get("phase")
        if not name:
            raise errors.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        if subresource in ("exec", "attach") and phase in ("Succeeded", "Failed"):
            verb = "exec into" if subresource == "exec" else "attach to"
            raise errors.bad_request(f"cannot {verb} a container in a completed pod; current phase is {phase}")
        node = self._ctx.objects.get(nodes.RESOURCE, Key("", name))
        if node is None:
            raise errors.not_found("nodes", "", name)
        return node

    async def _admit(self, request: Request, resource: Resource, options: Object) -> None:
        assert request.user is not None
        attributes = Attributes(
            user=request.user,
            operation=CONNECT,
            resource=resource,
            namespace=request.info.namespace,
            name=request.info.name,
            subresource=request.info.subresource,
            obj=options,
            warnings=request.warnings,
        )
        await self._chain.admit(attributes)
        await self._chain.validate(attributes)

    async def _log(self, request: Request, pod: Object, options: Object) -> Response:
        _check_log(pod["metadata"]["name"], request)
        container = _container(pod, options.get("container") or "")
        if not pod["spec"].get("nodeName"):
            return Response(204, b"", "")
        node = self._node(pod, "log")
        query = {name: request.param(name) for name in _LOG if request.param(name)}
        metadata = pod["metadata"]
        path = f"/containerLogs/{metadata['namespace']}/{metadata['name']}/{container}?{urlencode(query)}"
        try:
            exchange = await self._kubelets.ask(node, "GET", path)
        except DialError as error:
            raise errors.internal(f"Get logs of {metadata['name']}: {error}") from error
        if exchange.status != 200:
            with exchange:
                raise _refused(exchange.status, (await exchange.text()).strip())
        if request.headers.get("upgrade", "").lower() == "websocket":
            return _told(request, exchange)
        return Response(200, _closing(exchange), "text/plain")

    def _websocket(self, request: Request, node: Object, path: str, subresource: str) -> Upgrade | None:
        """The translation, if the client speaks one of our subprotocols; None leaves it to the kubelet."""
        offered = _listed(request, "sec-websocket-protocol")
        if subresource == "portforward":
            return self._tunnel(request, node, path) if remotecommand.TUNNEL in offered else None
        protocol = remotecommand.choose(offered)
        if protocol is None:
            return None
        wanted = remotecommand.Wanted(*(request.flag(name) for name in _FLAGS))

        async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            exchange = await self._upgraded(node, path, ["v4.channel.k8s.io"])
            return exchange.reader, exchange.writer

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await remotecommand.translate(WebSocket(reader, writer, client=False), protocol, wanted, dial)

        return _accept(request, protocol.name, take)

    def _tunnel(self, request: Request, node: Object, path: str) -> Upgrade:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            socket = WebSocket(reader, writer, client=False)
            try:
                exchange = await self._upgraded(node, path, ["portforward.k8s.io"])
            except errors.StatusError as error:
                await socket.close(1011, str(error))
                return
            await remotecommand.tunnel(socket, exchange.reader, exchange.writer)

        return _accept(request, remotecommand.TUNNEL, take)

    async def _upgraded(self, node: Object, path: str, protocols: Sequence[str]) -> Exchange:
        """A SPDY connection to the kubelet. Raises StatusError, with upstream's beginning of the text."""
        headers = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]
        headers += [("X-Stream-Protocol-Version", protocol) for protocol in protocols]
        try:
            exchange = await self._kubelets.ask(node, "POST", path, headers)
        except DialError as error:
            raise errors.internal(f"error dialing backend: {error}") from error
        if exchange.status != 101:
            with exchange:
                text = (await exchange.text()).strip()
            raise errors.internal(f"unable to upgrade connection: {text}")
        return exchange

    async def _spliced(self, request: Request, node: Object, path: str) -> Response:
        """The client's connection joined to the kubelet's. What the kubelet answers instead is passed on."""
        if "upgrade" not in request.headers.get("connection", "").lower():
            raise errors.bad_request("Upgrade request required")
        forwarded = ("upgrade", "connection", "x-stream-protocol-version")
        headers = [
            (name, value)
            for name in request.headers
            if name in forwarded or name.startswith("sec-websocket-")
            for value in request.headers.every(name)
        ]
        try:
            exchange = await self._kubelets.ask(node, request.method, path, headers)
        except DialError as error:
            raise errors.internal(f"error dialing backend: {error}") from error
        if exchange.status != 101:
            with exchange:
                text = await exchange.text()
            return Response(exchange.status, text.encode(), exchange.header("content-type") or "text/plain")

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await splice((reader, writer), (exchange.reader, exchange.writer))

        return Upgrade(headers=tuple(exchange.headers), take=take)


class _Scope(Protocol):
    """What dispatch knows of where a request is at."""

    @property
    def resource(self) -> Resource:
        """Whose subresource is asked for."""


def build(
    ctx: Context, chain: Chain, config: Config
) -> Mapping[tuple[str, str], Callable[[Any, Request, _Scope], Awaitable[Response]]]:
    """The endpoints by (plural, subresource), as dispatch wants them."""
    connect = Connect(ctx, chain, Kubelets(config))

    async def serve(_: Any, request: Request, scope: _Scope) -> Response:
        return await connect.serve(request, scope.resource)

    served = [("pods", subresource) for subresource in (*OPTIONS, "proxy")]
    return dict.fromkeys((*served, ("services", "proxy"), ("nodes", "proxy")), serve)


def _told(request: Request, exchange: Exchange) -> Upgrade:
    """A log as messages of a WebSocket, in the first subprotocol of the client's that there is, or none."""
    known = (one for one in _listed(request, "sec-websocket-protocol") if one in remotecommand.READERS)
    protocol = next(known, "")

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with exchange:
            await remotecommand.tell(WebSocket(reader, writer, client=False), protocol, exchange.body())

    return _accept(request, protocol, take)


def _accept(request: Request, protocol: str, take: Takeover) -> Upgrade:
    key = request.headers.get("sec-websocket-key", "")
    if not key:
        raise errors.bad_request("Sec-WebSocket-Key is missing")
    headers = (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(key)),
        *((("Sec-WebSocket-Protocol", protocol),) if protocol else ()),
    )
    return Upgrade(headers=headers, take=take)


async def _closing(exchange: Exchange) -> AsyncIterator[bytes]:
    with exchange:
        async for chunk in exchange.body():
            yield chunk


def _listed(request: Request, name: str) -> list[str]:
    """The items of a header that is a list, over all its lines."""
    return [item.strip() for line in request.headers.every(name) for item in line.split(",") if item.strip()]


def _options(request: Request, kind: str) -> Object:
    """The query as the object that it stands for."""
    options: Object = {"kind": kind, "apiVersion": "v1"}
    for name in _FLAGS:
        if name in request.query:
            options[name] = request.flag(name)
    if request.param("container"):
        options["container"] = request.param("container")
    if kind == "PodExecOptions":
        options["command"] = list(request.query.get("command", ()))
    if kind == "PodPortForwardOptions" and "ports" in request.query:
        options["ports"] = [int(port) for port in ",".join(request.query["ports"]).split(",") if port.isdigit()]
    return options


def _check_streams(options: Object) -> None:
    """What a kubelet would refuse. Raises StatusError 400."""
    if options["kind"] == "PodExecOptions" and not options["command"]:
        raise errors.bad_request("you must specify at least 1 command for the container")
    if options["kind"] != "PodPortForwardOptions" and not any(options.get(name) for name in _FLAGS[:3]):
        raise errors.bad_request("you must specify at least 1 of stdin, stdout, stderr")


def _proxy_options(resource: Resource, request: Request) -> Object:
    return {"kind": f"{resource.kind}ProxyOptions", "apiVersion": "v1", "path": request.info.rest}


def _container(pod: Object, name: str) -> str:
    """The container meant: the one named, or the only one, or the one the pod names as default. 400 otherwise."""
    spec, metadata = pod["spec"], pod["metadata"]
    groups = {kind: [c["name"] for c in spec.get(kind) or ()] for kind in _GROUPS}
    every = [each for names in groups.values() for each in names]
    if name:
        if name not in every:
            raise errors.bad_request(f"container {name} is not valid for pod {metadata['name']}")
        return name
    only = groups["containers"]
    if len(only) == 1:
        return str(only[0])
    annotated = (metadata.get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if annotated in every:
        return str(annotated)
    text = f"a container name must be specified for pod {metadata['name']}, choose one of: [{' '.join(only)}]"
    if groups["initContainers"]:
        text += f" or one of the init containers: [{' '.join(groups['initContainers'])}]"
    raise errors.bad_request(text)


def _path(pod: Object, subresource: str, options: Object) -> str:
    """Where the kubelet serves it."""
    metadata = pod["metadata"]
    where = f"{metadata['namespace']}/{metadata['name']}"
    if subresource == "portforward":
        query = urlencode([("port", port) for port in options.get("ports", ())])
        return f"/portForward/{where}" + (f"?{query}" if query else "")
    asked = [(_KUBELET[name], "1") for name in _FLAGS if options.get(name)]
    asked += [("command", part) for part in options.get("command", ())]
    return f"/{subresource}/{where}/{options['container']}?{urlencode(asked)}"


def _refused(code: int, text: str) -> errors.StatusError:
    """A kubelet's refusal of a log request, as upstream passes it on."""
    reasons = {400: "BadRequest", 404: "NotFound", 403: "Forbidden", 401: "Unauthorized", 500: "InternalError"}
    return errors.failure(code, reasons.get(code, ""), text or "the kubelet refused the request")
