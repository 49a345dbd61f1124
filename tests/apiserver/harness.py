"""An API server over the memory store, asked in process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from pynetes.apiserver.app import APIServer, build, running
from pynetes.apiserver.config import Config
from pynetes.apiserver.http import Pieces, Response, request
from pynetes.machinery.meta import Object
from pynetes.storage.memory import MemoryBackend


class Asked:
    """What came back."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self.type = response.content_type
        body = response.body
        self.stream: Any = body
        self.raw = body if isinstance(body, bytes) else b"".join(body.pieces) if isinstance(body, Pieces) else b""

    @property
    def body(self) -> Object:
        """Parsed JSON."""
        parsed: Object = orjson.loads(self.raw)
        return parsed


class API:
    """Asks as a user without authorization in the way."""

    def __init__(self, server: APIServer) -> None:
        self.server = server

    async def ask(self, method: str, path: str, body: bytes | Object = b"", **headers: str) -> Asked:
        """One request; content_type="…" becomes Content-Type."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return Asked(await self.server.handle(request(method, path, headers=sent, body=body)))

    async def get(self, path: str, **headers: str) -> Asked:
        """GET."""
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: Object) -> Asked:
        """POST."""
        return await self.ask("POST", path, body)

    async def put(self, path: str, body: Object) -> Asked:
        """PUT."""
        return await self.ask("PUT", path, body)

    async def delete(self, path: str, body: bytes | Object = b"") -> Asked:
        """DELETE."""
        return await self.ask("DELETE", path, body)

    async def merge(self, path: str, body: Object) -> Asked:
        """PATCH, merge."""
        return await self.ask("PATCH", path, orjson.dumps(body), content_type="application/merge-patch+json")

    async def apply(self, path: str, body: bytes | Object) -> Asked:
        """PATCH, server-side apply."""
        written = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.ask("PATCH", path, written, content_type="application/apply-patch+yaml")


@asynccontextmanager
async def api(**config: Any) -> AsyncIterator[API]:
    """A running server without a socket."""
    async with running(build(Config(**config), MemoryBackend()), listen=False) as server:
        yield API(server)


def configmap(name: str, **data: str) -> Object:
    """A ConfigMap's body."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
