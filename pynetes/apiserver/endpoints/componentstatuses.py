"""ComponentStatus: how the control plane fares, asked of its health endpoints whenever somebody wants to know.

Upstream has deprecated the kind, and `kubectl get cs` still asks for it. As there, scheduler and controller manager are
looked for on this machine at their usual ports, and the store is asked through the connection that there is.
"""

import asyncio
import ssl
from collections.abc import Mapping

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.http import Request, Response
from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from pynetes.storage.backend import Unavailable

#: Component → port of /healthz on this machine.
PORTS: Mapping[str, int] = {"scheduler": 10259, "controller-manager": 10257}
STORE = "etcd-0"
PATIENCE = 3.0


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Answer get and list."""
    accepted = encoding.negotiate(request)
    if request.info.verb == "get":
        if scope.name not in (*PORTS, STORE):
            raise scope.not_found()
        shown = await _status(api, scope.name)
        if accepted.as_:
            shown = rendering.transform(api, request, scope, accepted, [shown], shown["metadata"])
        return rendering.plain(request, accepted, shown)
    if request.info.verb != "list":
        raise errors.failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    found = await asyncio.gather(*(_status(api, name) for name in (*PORTS, STORE)))
    if accepted.as_:
        return rendering.plain(request, accepted, rendering.transform(api, request, scope, accepted, found, {}))
    return rendering.plain(request, accepted, rendering.list_of(scope, found, {}))


async def _status(api: Api, name: str) -> Object:
    try:
        async with asyncio.timeout(PATIENCE):
            text = await _healthz(PORTS[name]) if name in PORTS else await _store(api)
        condition = {"type": "Healthy", "status": "True", "message": text}
    except (OSError, TimeoutError, Unavailable, StatusError, ValueError) as error:
        condition = {"type": "Healthy", "status": "False", "message": str(error) or "timed out"}
    return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]}


async def _store(api: Api) -> str:
    await api.cacher.fresh()
    return "ok"


async def _healthz(port: int) -> str:
    """The body of the answer; who answers is not verified, as nothing but its word is believed. Raises ValueError for
    another status than 200."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read(64 << 10)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ValueError(body.decode(errors="replace") or "no answer")
    return body.decode(errors="replace")
