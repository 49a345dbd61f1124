"""Group versions of another API server are reached through this one, in the user's name."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web

from pynetes.apis.apiregistration import apiservices
from pynetes.apis.core import services
from pynetes.apis.discovery import endpointslices
from pynetes.client import kubeconfig
from pynetes.client.transport import Call
from pynetes.component import serving
from pynetes.machinery.meta import Key, Object
from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, Leaf, names
from pynetes.testing.cluster import Cluster

ROWS = [{"name": "echoes", "singularName": "echo", "namespaced": True, "kind": "Echo", "verbs": ["get", "list"]}]
PATH = "/apis/echo.example.com/v1"


GO: web.AppKey[asyncio.Queue[None]] = web.AppKey("go")


def _application() -> web.Application:
    """An API server that says who it was told is asking."""
    app = web.Application()

    async def listed(_: web.Request) -> web.Response:
        return web.json_response({"kind": "APIResourceList", "groupVersion": "echo.example.com/v1", "resources": ROWS})

    async def echo(request: web.Request) -> web.Response:
        seen = {name: request.headers.getall(name, []) for name in ("X-Remote-User", "X-Remote-Group", "Authorization")}
        return web.json_response({"kind": "Echo", "path": request.raw_path, **seen})

    async def watch(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for number in range(3):
            await answer.write(b'{"type":"ADDED","object":{"number":%d}}\n' % number)
            # The next one only when the client says that it has this one: nothing may be held back on the way.
            await request.app[GO].get()
        return answer

    async def shout(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.headers['X-Remote-User']}: {message.data.upper()}")
        return socket

    async def go(request: web.Request) -> web.Response:
        request.app[GO].put_nowait(None)
        return web.json_response({})

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "https://evil.example.com"})

    app[GO] = asyncio.Queue()
    app.router.add_get(PATH + "/elsewhere", elsewhere)
    app.router.add_get(PATH + "/go", go)
    app.router.add_get(PATH + "/watched", watch)
    app.router.add_get(PATH + "/namespaces/a/echoes/one/exec", shout)
    app.router.add_get(PATH, listed)
    app.router.add_get(PATH + "/{rest:.*}", echo)
    return app


@asynccontextmanager
async def _echoing(folder: Path) -> AsyncIterator[tuple[Cluster, Object]]:
    """A cluster and the double in it; gives the APIService that announces it, too."""
    alone = Cluster(nodes=0, run_controllers=False, run_scheduler=False)
    async with asyncio.timeout(20), alone as cluster, _behind(cluster, folder) as service:
        yield cluster, service


@asynccontextmanager
async def _behind(cluster: Cluster, folder: Path) -> AsyncIterator[Object]:
    """The double behind a Service; gives the APIService that announces it."""
    authority = issue.authority("echo-ca", datetime.now(UTC))
    leaf = Leaf("echo", CLUSTER_CA, "echo", server=True, names=names("echo.default.svc"))
    pair = issue.leaf(leaf, authority, datetime.now(UTC))
    (folder / "crt").write_bytes(pair.certificate_pem)
    (folder / "key").write_bytes(pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    async with serving.serve(_application(), context=context) as port:
        await cluster.client.create(
            services.RESOURCE,
            {"metadata": {"name": "echo", "namespace": "default"}, "spec": {"ports": [{"name": "https", "port": 443}]}},
        )
        # Past validation, which has loopback addresses in no slice.
        await cluster.server.stored.create(
            endpointslices.RESOURCE,
            {
                "metadata": {
                    "name": "echo-1",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "echo"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            },
        )
        yield {
            "metadata": {"name": "v1.echo.example.com"},
            "spec": {
                "group": "echo.example.com",
                "version": "v1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"namespace": "default", "name": "echo"},
                "caBundle": base64.b64encode(authority.certificate_pem).decode(),
            },
        }


def _available(status: str, reason: str = "") -> Callable[[Object], bool]:
    def holds(obj: Object) -> bool:
        return any(
            each["status"] == status and reason in each["reason"]
            for each in (obj.get("status") or {}).get("conditions") or ()
        )

    return holds


async def test_requests_go_to_the_service_in_the_users_name(tmp_path: Path) -> None:
    """The user is told in headers, credentials are not; discovery shows the group in every form."""
    async with _echoing(tmp_path) as (cluster, service):
        await cluster.client.create(apiservices.RESOURCE, service)
        key = Key("", "v1.echo.example.com")
        await cluster.until(apiservices.RESOURCE, key, _available("True", "Passed"))
        answer = await cluster.client.request("GET", f"{PATH}/namespaces/a/echoes/b%20c", query={"x": "1"})
        seen = orjson.loads(answer.body)
        assert seen["path"] == f"{PATH}/namespaces/a/echoes/b%20c?x=1"
        assert seen["X-Remote-User"] == ["kubernetes-admin"]
        assert "system:masters" in seen["X-Remote-Group"] and not seen["Authorization"]
        # Who follows would show the other place what he shows this server.
        refused = await cluster.client.transport.request(_get(f"{PATH}/elsewhere"))
        assert (refused.status, b"attempted to redirect" in refused.body) == (502, True)
        groups = orjson.loads((await cluster.client.request("GET", "/apis")).body)["groups"]
        assert "echo.example.com" in [each["name"] for each in groups]
        group = orjson.loads((await cluster.client.request("GET", "/apis/echo.example.com")).body)
        assert group["preferredVersion"]["version"] == "v1"
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        document = orjson.loads((await cluster.client.request("GET", "/apis", accept=accept)).body)
        item = next(each for each in document["items"] if each["metadata"]["name"] == "echo.example.com")
        assert item["versions"][0]["freshness"] == "Current"
        assert item["versions"][0]["resources"][0]["resource"] == "echoes"
        await cluster.client.delete(apiservices.RESOURCE, key)
        while (await cluster.client.transport.request(_get(f"{PATH}/echoes"))).status != 404:
            await asyncio.sleep(0.01)


async def test_streams_and_upgrades_pass(tmp_path: Path) -> None:
    """Each event of a watch as it is written; a WebSocket in both directions, in the user's name."""
    async with _echoing(tmp_path) as (cluster, service):
        await cluster.client.create(apiservices.RESOURCE, service)
        await cluster.until(apiservices.RESOURCE, Key("", "v1.echo.example.com"), _available("True", "Passed"))
        admin = kubeconfig.find(str(cluster.kubeconfig))
        (tmp_path / "admin.crt").write_bytes(admin.certificate)
        (tmp_path / "admin.key").write_bytes(admin.key)
        context = ssl.create_default_context(cadata=admin.ca.decode())
        context.load_cert_chain(tmp_path / "admin.crt", tmp_path / "admin.key")
        async with aiohttp.ClientSession(cluster.url, connector=aiohttp.TCPConnector(ssl=context)) as session:
            async with session.get(f"{PATH}/watched?watch=true") as events:
                for number in range(3):
                    assert orjson.loads(await events.content.readline())["object"] == {"number": number}
                    await session.get(f"{PATH}/go")
                assert await events.content.readline() == b""
            where = f"{PATH}/namespaces/a/echoes/one/exec"
            async with session.ws_connect(where, protocols=("v5.channel.k8s.io",)) as socket:
                assert socket.protocol == "v5.channel.k8s.io"
                for word in ("one", "two"):
                    await socket.send_str(word)
                    assert await socket.receive_str() == f"kubernetes-admin: {word.upper()}"


async def test_a_wrong_certificate_makes_the_api_unavailable(tmp_path: Path) -> None:
    """Without the authority that signed it, the server is not asked anything; clients get 503."""
    async with _echoing(tmp_path) as (cluster, service):
        other = issue.authority("other-ca", datetime.now(UTC)).certificate_pem
        service["spec"]["caBundle"] = base64.b64encode(other).decode()
        await cluster.client.create(apiservices.RESOURCE, service)
        key = Key("", "v1.echo.example.com")
        holds = _available("False", "FailedDiscoveryCheck")
        await cluster.until(apiservices.RESOURCE, key, holds)
        answer = await cluster.client.transport.request(_get(f"{PATH}/echoes"))
        assert answer.status == 503


async def test_without_endpoints_the_condition_says_so() -> None:
    """A Service that is absent is the reason, and the group is still known."""
    async with asyncio.timeout(20), Cluster(nodes=0, run_controllers=False, run_scheduler=False) as cluster:
        spec = {"group": "g.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
        spec |= {"service": {"namespace": "default", "name": "nobody"}, "insecureSkipTLSVerify": True}
        await cluster.client.create(apiservices.RESOURCE, {"metadata": {"name": "v1.g.example.com"}, "spec": spec})
        holds = _available("False", "ServiceNotFound")
        await cluster.until(apiservices.RESOURCE, Key("", "v1.g.example.com"), holds)
        assert (await cluster.client.transport.request(_get("/apis/g.example.com/v1/things"))).status == 503


def _get(target: str) -> Call:
    return Call(method="GET", target=target)
