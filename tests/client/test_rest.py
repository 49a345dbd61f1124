"""The client over real HTTP: headers, errors, retries, streams and certificates."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from pynetes.apis.core import configmaps
from pynetes.client.kubeconfig import Credentials
from pynetes.client.rest import Client
from pynetes.client.transport import NetworkTransport, Unreachable
from pynetes.component import serving, tls
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key

KEY = Key("default", "web")
PATH = "/api/v1/namespaces/default/configmaps"


@asynccontextmanager
async def server(handler: web.Application, **credentials: str) -> AsyncIterator[Client]:
    async with serving.serve(handler) as port:
        client = Client(NetworkTransport(Credentials(server=f"http://127.0.0.1:{port}", **credentials)))
        try:
            yield client
        finally:
            await client.close()


async def test_the_token_is_read_again(tmp_path: Path) -> None:
    """A token file that was rotated is used from the next request on."""
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({"metadata": {"name": "web"}})

    app = web.Application()
    app.router.add_get(f"{PATH}/web", answer)
    token = tmp_path / "token"
    token.write_text("one")
    async with server(app, token_file=str(token)) as client:
        await client.get(configmaps.RESOURCE, KEY)
        token.write_text("two")
        await client.get(configmaps.RESOURCE, KEY)
    assert seen == ["Bearer one", "Bearer two"]


async def test_errors_are_status_errors() -> None:
    """A Status is raised as it is; anything else gets the reason of its code."""

    async def conflict(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "reason": "Conflict", "message": "no"}, status=409)

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=502, text="bad gateway")

    app = web.Application()
    app.router.add_get(f"{PATH}/web", conflict)
    app.router.add_get(PATH, broken)
    async with server(app) as client:
        with pytest.raises(StatusError) as error:
            await client.get(configmaps.RESOURCE, KEY)
        assert (error.value.code, error.value.reason) == (409, "Conflict")
        with pytest.raises(StatusError, match="bad gateway") as error:
            await client.list(configmaps.RESOURCE, namespace="default")
        assert error.value.code == 502


async def test_it_comes_back_when_the_server_says_so() -> None:
    """429 with Retry-After is waited out; nobody else hears of it."""
    answers = [429, 429, 200]

    async def busy(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": "web"}}, status=answers.pop(0), headers={"Retry-After": "0"})

    app = web.Application()
    app.router.add_get(f"{PATH}/web", busy)
    async with server(app) as client:
        assert (await client.get(configmaps.RESOURCE, KEY))["metadata"]["name"] == "web"
    assert not answers


async def test_watch_events_arrive_whole() -> None:
    """Events are lines, whatever the chunks; an ERROR event is raised."""

    async def watch(request: web.Request) -> web.StreamResponse:
        assert request.query["resourceVersion"] == "5"
        response = web.StreamResponse()
        await response.prepare(request)
        event = b'{"type":"ADDED","object":{"metadata":{"name":"web","namespace":"default","resourceVersion":"6"}}}\n'
        for chunk in (event[:10], event[10:] + event[:20], event[20:]):
            await response.write(chunk)
            await asyncio.sleep(0)
        await response.write(b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n')
        return response

    app = web.Application()
    app.router.add_get("/api/v1/configmaps", watch)
    seen = []
    async with server(app) as client:
        with pytest.raises(StatusError) as error:
            async with client.watch(configmaps.RESOURCE, resource_version="5") as events:
                async for event in events:
                    seen.append(event.type)
    assert seen == ["ADDED", "ADDED"]
    assert error.value.code == 410


async def test_nobody_there() -> None:
    """A refused connection is Unreachable, with the address in the text."""
    client = Client(NetworkTransport(Credentials(server="http://127.0.0.1:1")))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        await client.get(configmaps.RESOURCE, KEY)
    await client.close()


async def test_an_unknown_authority_is_refused() -> None:
    """A server whose certificate nobody vouches for gets no request."""
    async with serving.serve(web.Application(), context=tls.self_signed_context()) as port:
        client = Client(NetworkTransport(Credentials(server=f"https://localhost:{port}")))
        with pytest.raises(Unreachable, match="certificate"):
            await client.get(configmaps.RESOURCE, KEY)
        await client.close()
