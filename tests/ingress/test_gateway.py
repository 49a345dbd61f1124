"""The Gateway API as its documentation tells it: the add-on's own resources, a real API server, a real nginx."""

import asyncio
import base64
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.core import namespaces, secrets, services
from pynetes.apis.discovery import endpointslices
from pynetes.cluster.addons import catalog, manifests
from pynetes.cluster.config import Cluster as Configured
from pynetes.component import command
from pynetes.ingress import app
from pynetes.ingress.gateway import kinds
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.testing.cluster import Cluster
from tests.ingress import grpcs
from tests.ingress.conftest import LUA_MODULE, free_port, pair
from tests.ingress.gateway_world import HTTP, header_filter, mirror, path, redirect, rewrite, to

pytestmark = pytest.mark.root
WITHIN = 20
#: Of this process alone: nginx's port for a Gateway depends on its name only, and other tests have one of this name.
LOOPBACK = f"127.{1 + os.getpid() // 250 % 250}.{1 + os.getpid() % 250}.1"


def own_address() -> str:
    """An address of this machine that is not in the loopback range, which EndpointSlices may not have."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("192.0.2.1", 9))  # sends nothing
        return str(one.getsockname()[0])


class Site:
    """A cluster with the Gateway API's resources, and a controller with its nginx."""

    def __init__(
        self, cluster: Cluster, controller: Any, session: aiohttp.ClientSession, stack: AsyncExitStack, folder: Path
    ) -> None:
        self.cluster, self.controller, self.session, self.stack = cluster, controller, session, stack
        self.client = cluster.client
        self.folder = folder
        self.seen: list[str] = []

    async def make(
        self, resource: Resource, name: str, spec: Object, *, namespace: str = "default", **more: Any
    ) -> Object:
        """Create an object."""
        metadata = {
            "name": name,
            **({"namespace": namespace} if resource.namespaced else {}),
            **more.pop("metadata", {}),
        }
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
        return await self.client.create(resource, body)

    async def server(self, name: str, *, namespace: str = "default") -> None:
        """A Service with one echo server behind it."""

        async def answer(request: web.Request) -> web.Response:
            self.seen.append(name)
            told = {"server": name, "path": request.raw_path, "headers": dict(request.headers)}
            told["added"] = request.headers.getall("X-Add", [])
            return web.json_response(told, headers={"X-Old": "1"})

        made = web.Application()
        made.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(made, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, own_address(), 0).start()
        await self.service(name, runner.addresses[0][1], namespace=namespace)

    async def slow(self, name: str, *, count: int) -> list[str]:
        """A Service with servers that answer /endless, late, and nothing else; the paths that they were asked for."""
        asked: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            asked.append(request.path)
            await asyncio.sleep(0.2 if request.path == "/endless" else 60)
            return web.Response()

        made = web.Application()
        made.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(made, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        for _ in range(count):
            await web.TCPSite(runner, own_address(), 0).start()
        await self.service(name, *(address[1] for address in runner.addresses))
        return asked

    async def accepted(self, name: str) -> None:
        """Wait until an HTTPRoute is served: nginx has its rules before its status is told."""
        assert await self.condition(kinds.HTTP_ROUTES, name, "Accepted") == ("True", "Accepted")

    async def text(self, host: str, path: str, *, method: str, data: bytes) -> str:
        """An answer that is no JSON, at port 80."""
        url = f"http://{LOOPBACK}:{self.controller.gateways.ports[Key('default', 'gw'), 80]}{path}"
        async with self.session.request(method, url, headers={"Host": host}, data=data) as answer:
            return await answer.text()

    async def service(self, name: str, *numbers: int, namespace: str = "default", protocol: str = "") -> None:
        """A Service that leads to ports of this machine."""
        port = {"name": "web", "port": 80, "targetPort": 8080, **({"appProtocol": protocol} if protocol else {})}
        await self.make(services.RESOURCE, name, {"ports": [port]}, namespace=namespace)
        labels = {"kubernetes.io/service-name": name}
        for number in numbers:
            await self.client.create(endpointslices.RESOURCE, {
                "metadata": {"name": f"{name}-{number}", "namespace": namespace, "labels": labels},
                "addressType": "IPv4", "ports": [{"name": "web", "port": number}],
                "endpoints": [{"addresses": [own_address()], "conditions": {"ready": True}}],
            })  # fmt: skip

    async def certificate(self, name: str, chain: str, key: str) -> None:
        """A Secret with a certificate."""
        texts = {"tls.crt": chain, "tls.key": key}
        data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
        made = {"metadata": {"name": name, "namespace": "default"}, "type": "kubernetes.io/tls", "data": data}
        await self.client.create(secrets.RESOURCE, made)

    async def told(self, name: str, address: str) -> Object:
        """The Gateway, once its status has the address."""
        async with asyncio.timeout(WITHIN):
            while True:
                found = await self.client.get(kinds.GATEWAYS, Key("default", name))
                if [each["value"] for each in (found.get("status") or {}).get("addresses") or ()] == [address]:
                    return found
                await asyncio.sleep(0.05)

    async def port(self, port: int) -> int:
        """nginx's port for one of the Gateway gw, once it has it."""
        async with asyncio.timeout(WITHIN):
            while (Key("default", "gw"), port) not in self.controller.gateways.ports:
                await asyncio.sleep(0.05)
        return int(self.controller.gateways.ports[Key("default", "gw"), port])

    async def gateway(self, *listeners: Object, name: str = "gw") -> None:
        """A Gateway of our class."""
        await self.make(kinds.GATEWAYS, name, {"gatewayClassName": "nginx", "listeners": list(listeners)})

    async def route(self, name: str, *rules: Object, hostnames: tuple[str, ...] = (), parent: Object | None = None,
                    resource: Resource = kinds.HTTP_ROUTES, namespace: str = "default") -> None:  # fmt: skip
        """A route at the Gateway gw."""
        spec = {"parentRefs": [{"name": "gw", **(parent or {})}], "rules": list(rules)}
        await self.make(
            resource, name, {**spec, **({"hostnames": list(hostnames)} if hostnames else {})}, namespace=namespace
        )

    async def condition(self, resource: Resource, name: str, kind: str, *, namespace: str = "default",
                        listener: str = "") -> tuple[str, str]:  # fmt: skip
        """Status and reason of a condition, once it is there."""
        async with asyncio.timeout(WITHIN):
            while True:
                status = (await self.client.get(resource, Key(namespace, name))).get("status") or {}
                if "parents" in status:
                    status = status["parents"][0] if status["parents"] else {}
                if listener:
                    status = next((each for each in status.get("listeners") or () if each["name"] == listener), {})
                for each in status.get("conditions") or ():
                    if each["type"] == kind and each.get("observedGeneration", 0) > 0:
                        return each["status"], each["reason"]
                await asyncio.sleep(0.05)

    async def get(self, host: str, path: str = "/", *, port: int = 80, method: str = "GET", tls: bool = False,
                  sni: str = "", **headers: str) -> tuple[int, Any, Any]:  # fmt: skip
        """Status, body and headers of an answer at a port of the Gateway gw; sni: the name that TLS asks for."""
        number = self.controller.gateways.ports[Key("default", "gw"), port]
        shown = {"Host": host, **{key.replace("_", "-"): value for key, value in headers.items()}}
        async with self.session.request(
            method, f"{'https' if tls else 'http'}://{LOOPBACK}:{number}{path}", headers=shown, allow_redirects=False,
            ssl=False, server_hostname=(sni or host) if tls else None,
        ) as answer:  # fmt: skip
            body = await answer.json() if answer.content_type == "application/json" else {}
            return answer.status, body, answer.headers

    async def until(self, server: str, host: str, path: str = "/", **more: Any) -> Any:
        """Ask until this server answers; its answer."""
        async with asyncio.timeout(WITHIN):
            while True:
                try:
                    _, body, _ = await self.get(host, path, **more)
                    if body.get("server") == server:
                        return body
                except (KeyError, aiohttp.ClientError):
                    pass
                await asyncio.sleep(0.05)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A fresh one."""
    if not LUA_MODULE.exists() or not shutil.which("nginx"):
        pytest.skip("needs nginx and libnginx-mod-http-lua")
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster(nodes=0, run_controllers=False, run_scheduler=False))
        for name in ("default", "kube-system", "other"):
            try:
                await cluster.client.create(namespaces.RESOURCE, {"metadata": {"name": name, "labels": {"team": name}}})
            except StatusError as error:
                assert error.reason == "AlreadyExists"
        found = manifests.objects(Configured(), [catalog.BY_NAME["ingress"]])
        for obj in found:
            if obj["kind"] == "CustomResourceDefinition":
                await cluster.client.create(customresourcedefinitions.RESOURCE, obj)
        async with asyncio.timeout(WITHIN):
            while True:
                try:
                    for kind in kinds.ALL:
                        await cluster.client.list(kind)
                    break
                except StatusError:
                    await asyncio.sleep(0.05)
        for obj in found:
            if obj["kind"] == "GatewayClass":
                await cluster.client.create(kinds.GATEWAY_CLASSES, obj)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-"))
        config = app.Config(
            http_port=free_port(), https_port=free_port(), healthz_port=free_port(), bind_address=LOOPBACK,
            run_dir=folder, worker_processes=1, table_memory=16,
        )  # fmt: skip
        client = cluster.client_as("system:serviceaccount:kube-system:ingress-nginx", "system:masters")
        controller = await stack.enter_async_context(app.serving_traffic(config, client=client))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Site(cluster, controller, session, stack, Path(folder))


async def test_precedence_of_matches(site: Site) -> None:
    """Exact before the longest prefix; then method, headers and query; of equals the first rule."""
    for name in ("exact", "long", "root", "method", "header", "two", "query"):
        await site.server(name)
    await site.gateway(HTTP)
    header = {"name": "version", "value": "2"}
    await site.route(
        "r",
        to("root", matches=[path("PathPrefix", "/")]),
        to("long", matches=[path("PathPrefix", "/long")]),
        to("exact", matches=[path("Exact", "/long/exact")]),
        to("header", matches=[{"headers": [header]}]),
        to("two", matches=[{"headers": [header, {"name": "env", "type": "RegularExpression", "value": "ca.*"}]}]),
        to("method", matches=[{"method": "POST"}]),
        to("query", matches=[{"queryParams": [{"name": "q", "value": "1"}]}]),
    )
    await site.until("root", "a.test")
    assert (await site.get("a.test", "/long/x"))[1]["server"] == "long"
    assert (await site.get("a.test", "/longer"))[1]["server"] == "root"
    assert (await site.get("a.test", "/long/exact"))[1]["server"] == "exact"
    assert (await site.get("a.test", Version="2"))[1]["server"] == "header"
    assert (await site.get("a.test", Version="2", Env="canary"))[1]["server"] == "two"
    assert (await site.get("a.test", method="POST", Version="2"))[1]["server"] == "method"
    assert (await site.get("a.test", "/?q=1"))[1]["server"] == "query"


async def test_paths_and_their_changes(site: Site) -> None:
    """Exact before the longest prefix, of whole elements, whatever the order of rules; prefixes and paths replaced."""
    for name in ("one", "two", "three"):
        await site.server(name)
    await site.gateway(HTTP)
    ordered = [
        ("one", "Exact", "/match"), ("two", "Exact", "/match/exact"), ("three", "Exact", "/match/exact/one"),
        ("three", "PathPrefix", "/match/"), ("one", "PathPrefix", "/match/prefix/"),
        ("two", "PathPrefix", "/match/prefix/one"),
    ]  # fmt: skip
    await site.route("order", *(to(server, matches=[path(kind, value)]) for server, kind, value in ordered))
    modified = header_filter(
        set=[{"name": "X-Set", "value": "new"}], add=[{"name": "X-Add", "value": "b"}], remove=["X-Gone"]
    )
    prefix = {name: {"type": "ReplacePrefixMatch", "replacePrefixMatch": name} for name in ("/one", "/", "/prefix")}
    full = {"type": "ReplaceFullPath", "replaceFullPath": "/full"}
    changes = [
        ("/prefix/one", [rewrite(path=prefix["/one"])]), ("/strip", [rewrite(path=prefix["/"])]),
        ("/all", [rewrite(path=full), modified]), ("/p/and", [rewrite(path=prefix["/prefix"]), modified]),
        ("/gone", [redirect(path=prefix["/one"])]), ("/gone/full", [redirect(path=full)]),
    ]  # fmt: skip
    await site.route("change", *(
        {"matches": [path("PathPrefix", value)], "filters": filters,
         **({} if value.startswith("/gone") else {"backendRefs": [{"name": "one", "port": 80}]})}
        for value, filters in changes
    ), hostnames=("c.test",))  # fmt: skip
    await site.accepted("change")
    for asked, server in {
        "/match": "one", "/match/exact": "two", "/match/exact/one": "three", "/match/prefix/one/any": "two",
        "/match/prefix/any": "one", "/match/any": "three", "/match/prefix/ones": "one", "/match/": "three",
    }.items():  # fmt: skip
        assert (await site.get("a.test", asked))[1].get("server") == server, asked
    assert (await site.get("a.test", "/matching"))[0] == 404
    for asked, wanted in {
        "/prefix/one/two": "/one/two", "/prefix/one": "/one", "/strip/three": "/three", "/strip": "/",
        "/all/one/two": "/full", "/p/and/one": "/prefix/one",
    }.items():  # fmt: skip
        body = (await site.get("c.test", asked, X_Set="old", X_Add="a", X_Gone="x"))[1]
        assert body["path"] == wanted
        if asked.startswith(("/all", "/p/")):
            assert body["headers"]["X-Set"] == "new" and "X-Gone" not in body["headers"]
            assert body["added"] == ["a", "b"]
    for asked, wanted in {"/gone/lemon": "/one/lemon", "/gone": "/one", "/gone/full/x": "/full"}.items():
        assert (await site.get("c.test", asked))[2]["Location"] == f"http://c.test{wanted}"


async def test_hostnames_and_listeners(site: Site) -> None:
    """A route serves the names that it shares with a listener; the most specific listener has the request."""
    for name in ("wild", "exact"):
        await site.server(name)
    await site.gateway(
        {**HTTP, "name": "wild", "hostname": "*.example.com"}, {**HTTP, "name": "exact", "hostname": "very.example.com"}
    )
    await site.route("wild", to("wild"), parent={"sectionName": "wild"})
    await site.route("exact", to("exact"), parent={"sectionName": "exact"})
    await site.route("none", to("exact"), hostnames=("other.org",))
    await site.until("wild", "a.b.example.com")
    assert (await site.get("very.example.com"))[1]["server"] == "exact"
    assert (await site.get("example.com"))[0] == 404
    reason = await site.condition(kinds.HTTP_ROUTES, "none", "Accepted")
    assert reason == ("False", "NoMatchingListenerHostname")
    gateway = await site.client.get(kinds.GATEWAYS, Key("default", "gw"))
    counted = {each["name"]: each["attachedRoutes"] for each in gateway["status"]["listeners"]}
    assert counted == {"wild": 1, "exact": 1}
    assert gateway["status"]["addresses"][0]["type"] == "IPAddress"


async def test_filters(site: Site) -> None:
    """Headers, redirects, rewrites and mirrors."""
    for name in ("s", "copy"):
        await site.server(name)
    await site.gateway(HTTP)
    change = {
        "set": [{"name": "X-Set", "value": "new"}],
        "add": [{"name": "X-Add", "value": "b"}],
        "remove": ["X-Gone"],
    }
    redirect = {"scheme": "https", "hostname": "b.test", "statusCode": 301,
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}  # fmt: skip
    leave = {"type": "RequestRedirect", "requestRedirect": redirect}
    rewrite = {"hostname": "inner.test", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/in"}}
    answer = {"set": [{"name": "X-Old", "value": "2"}], "add": [{"name": "X-More", "value": "3"}]}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copy", "port": 80}}}
    await site.route(
        "r",
        to("s", matches=[path("PathPrefix", "/h")], filters=[
            {"type": "RequestHeaderModifier", "requestHeaderModifier": change},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": answer}]),
        {"matches": [path("PathPrefix", "/old")], "filters": [leave]},
        to("s", matches=[path("PathPrefix", "/out")], filters=[{"type": "URLRewrite", "urlRewrite": rewrite}]),
        to("s", matches=[path("PathPrefix", "/m")], filters=[mirror]),
    )  # fmt: skip
    await site.until("s", "a.test", "/h")
    _, body, shown = await site.get("a.test", "/h", X_Set="old", X_Add="a", X_Gone="x")
    assert body["headers"]["X-Set"] == "new"
    assert "X-Gone" not in body["headers"]
    assert (shown["X-Old"], shown["X-More"]) == ("2", "3")
    status, _, shown = await site.get("a.test", "/old/x?y=1")
    assert (status, shown["Location"]) == (301, "https://b.test/new/x?y=1")
    body = (await site.get("a.test", "/out/x?y=1"))[1]
    assert (body["path"], body["headers"]["Host"]) == ("/in/x?y=1", "inner.test")
    site.seen.clear()
    await site.until("s", "a.test", "/m")
    async with asyncio.timeout(WITHIN):
        while "copy" not in site.seen:
            await site.get("a.test", "/m")
            await asyncio.sleep(0.02)


async def test_weights_and_broken_references(site: Site) -> None:
    """Backends get their share; 0 gets nothing; a reference that does not hold answers 500 and is told."""
    for name in ("one", "two"):
        await site.server(name)
    await site.gateway(HTTP)
    shares = [{"name": "one", "port": 80, "weight": 3}, {"name": "two", "port": 80, "weight": 1}]
    off = [{"name": "one", "port": 80, "weight": 0}, {"name": "two", "port": 80}]
    await site.route(
        "r",
        {"matches": [path("PathPrefix", "/w")], "backendRefs": shares},
        {"matches": [path("PathPrefix", "/off")], "backendRefs": off},
    )
    await site.route("broken", to("missing", matches=[path("PathPrefix", "/broken")]))
    await site.until("two", "a.test", "/off")
    met = [(await site.get("a.test", "/w"))[1]["server"] for _ in range(80)]
    assert 8 <= met.count("two") <= 36
    assert {(await site.get("a.test", "/off"))[1]["server"] for _ in range(10)} == {"two"}
    assert await site.condition(kinds.HTTP_ROUTES, "broken", "ResolvedRefs") == ("False", "BackendNotFound")
    assert await site.condition(kinds.HTTP_ROUTES, "broken", "Accepted") == ("True", "Accepted")
    assert (await site.get("a.test", "/broken"))[0] == 500


async def test_references_across_namespaces_need_a_grant(site: Site) -> None:
    """Without a ReferenceGrant the backend is refused; with one it serves."""
    await site.server("far", namespace="other")
    await site.gateway(HTTP)
    await site.route("r", {"backendRefs": [{"name": "far", "namespace": "other", "port": 80}]})
    assert await site.condition(kinds.HTTP_ROUTES, "r", "ResolvedRefs") == ("False", "RefNotPermitted")
    assert (await site.get("a.test"))[0] == 500
    origin = {"group": kinds.GROUP, "kind": "HTTPRoute", "namespace": "default"}
    spec = {"from": [origin], "to": [{"group": "", "kind": "Service", "name": "far"}]}
    await site.make(kinds.REFERENCE_GRANTS, "grant", spec, namespace="other")
    await site.until("far", "a.test")


async def test_allowed_routes(site: Site) -> None:
    """Routes of the same namespace attach; others only where the listener lets them."""
    await site.server("s", namespace="other")
    chosen = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "other"}}}}
    await site.gateway(HTTP, {**HTTP, "name": "open", "port": 8080, "allowedRoutes": chosen})
    parent = {"namespace": "default"}
    await site.route("shut", to("s"), namespace="other", parent={**parent, "sectionName": "http"})
    await site.route("let", to("s"), namespace="other", parent={**parent, "sectionName": "open"})
    await site.route("nowhere", to("s"), parent={"sectionName": "none"})
    shut = await site.condition(kinds.HTTP_ROUTES, "shut", "Accepted", namespace="other")
    assert shut == ("False", "NotAllowedByListeners")
    assert await site.condition(kinds.HTTP_ROUTES, "nowhere", "Accepted") == ("False", "NoMatchingParent")
    await site.until("s", "a.test", port=8080)


async def test_tls_and_listener_conditions(site: Site) -> None:
    """TLS ends at the Gateway; a missing certificate, another protocol and a conflict are told."""
    await site.server("s")
    chain, key = pair("a.test")
    await site.certificate("cert", chain, key)
    https = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}}
    lost = {"name": "lost", "port": 444, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "gone"}]}}
    through = {"name": "through", "port": 445, "protocol": "HTTPS", "tls": {"mode": "Passthrough"}}
    others = [{"name": name, "port": port, "protocol": name.upper()} for name, port in (("tcp", 99), ("tls", 446))]
    await site.gateway(https, lost, through, *others, HTTP, {**HTTP, "name": "twin"})
    await site.route("r", to("s"), parent={"sectionName": "https"})
    body = await site.until("s", "a.test", port=443, tls=True)
    assert body["headers"]["X-Forwarded-Proto"] == "https"
    expected = {
        ("https", "Programmed"): ("True", "Programmed"),
        ("lost", "ResolvedRefs"): ("False", "InvalidCertificateRef"),
        ("tcp", "Accepted"): ("False", "UnsupportedProtocol"),
        ("tls", "Accepted"): ("False", "UnsupportedProtocol"),
        ("through", "Accepted"): ("False", "UnsupportedProtocol"),
        ("through", "Programmed"): ("False", "Invalid"),
        ("twin", "Conflicted"): ("True", "HostnameConflict"),
    }
    for (listener, kind), wanted in expected.items():
        assert await site.condition(kinds.GATEWAYS, "gw", kind, listener=listener) == wanted
    assert await site.condition(kinds.GATEWAYS, "gw", "Programmed") == ("True", "Programmed")
    assert await site.condition(kinds.GATEWAY_CLASSES, "nginx", "Accepted", namespace="") == ("True", "Accepted")


async def test_grpc_routes(site: Site) -> None:
    """Services and methods, exactly and by expression, and headers; over HTTP/2 without TLS and with it."""
    for name in ("count", "watch", "tried", "rest"):
        await site.service(name, await grpcs.serve(site.stack, name, own_address()))
    chain, key = pair("a.test")
    await site.certificate("cert", chain, key)
    https = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}}
    await site.gateway(HTTP, https)
    exact = {"method": {"service": grpcs.SERVICE, "method": "Count"}}
    headed = {**exact, "headers": [{"name": "try", "value": "yes"}]}
    expression = {"method": {"type": "RegularExpression", "service": "shop[.].+", "method": "Wa.*"}}
    rules = [to("count", matches=[exact]), to("tried", matches=[headed]), to("watch", matches=[expression])]
    await site.route(
        "r", *rules, to("rest", matches=[{"method": {"service": "other.Service"}}]), resource=kinds.GRPC_ROUTES
    )
    assert await site.condition(kinds.GRPC_ROUTES, "r", "Accepted") == ("True", "Accepted")
    for port, shown in ((80, ""), (443, chain)):
        async with grpcs.channel(await site.port(port), "a.test", shown, address=LOOPBACK) as channel:
            async with asyncio.timeout(WITHIN):
                while await grpcs.ask(channel) != "count x":
                    await asyncio.sleep(0.05)
            assert await grpcs.ask(channel, **{"try": "yes"}) == "tried x"
            assert await grpcs.talk(channel) == ["watch one", "watch two"]
            assert await grpcs.ask(channel, "/other.Service/Any") == "rest x"
            assert (await grpcs.ask(channel, "/shop.Stock/Else")).startswith("UNIMPLEMENTED")


async def test_an_address_that_comes_later_is_told(site: Site) -> None:
    """A load balancer takes its time; until then the cluster IP is the address. What else is told stays."""
    await site.server("s")
    await site.gateway(HTTP)
    await site.route("r", to("s"))
    assert await site.condition(kinds.GATEWAYS, "gw", "Programmed") == ("True", "Programmed")
    key = Key("kube-system", "gateway-default-gw")
    service = await site.client.get(services.RESOURCE, key)
    assert [each["port"] for each in service["spec"]["ports"]] == [80]
    await site.told("gw", service["spec"]["clusterIP"])
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}
    await site.client.patch(services.RESOURCE, key, {"status": status}, subresource="status")
    gateway = await site.told("gw", "192.0.2.9")
    assert gateway["status"]["listeners"][0]["attachedRoutes"] == 1


async def test_unsupported_filters_are_not_accepted(site: Site) -> None:
    """A route that asks for what is not offered is not served half; a Gateway that does is not served."""
    extension = {"type": "ExtensionRef", "extensionRef": {"group": "x.io", "kind": "X", "name": "x"}}
    await site.gateway(HTTP)
    await site.server("s")
    await site.route("extended", to("s", filters=[extension]))
    assert await site.condition(kinds.HTTP_ROUTES, "extended", "Accepted") == ("False", "UnsupportedValue")
    parameters = {"group": "", "kind": "ConfigMap", "name": "p"}
    spec = {"gatewayClassName": "nginx", "listeners": [HTTP], "infrastructure": {"parametersRef": parameters}}
    await site.make(kinds.GATEWAYS, "odd", spec)
    assert await site.condition(kinds.GATEWAYS, "odd", "Accepted") == ("False", "InvalidParameters")
    shown = await site.condition(kinds.GATEWAY_CLASSES, "nginx", "SupportedVersion", namespace="")
    assert shown == ("True", "SupportedVersion")


async def test_filters_of_backends_and_several_copies(site: Site) -> None:
    """A backend's own headers, paths, redirects and copies; a request goes to two mirrors, or to a share of none."""
    for name in ("s", "one", "two", "own", "never"):
        await site.server(name)
    await site.gateway(HTTP)
    full = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/full"}, "hostname": "in.test"}
    refs = [{"name": "s", "port": 80, "filters": [rewrite(**full), mirror("own"), mirror("never", percent=0)]}]
    away = [{"name": "s", "port": 80, "filters": [redirect(hostname="b.test", statusCode=307)]}]
    await site.route(
        "r",
        {"matches": [path("PathPrefix", "/m")], "filters": [mirror("one"), mirror("two")], "backendRefs": refs},
        {"matches": [path("PathPrefix", "/away")], "backendRefs": away},
        {"matches": [path("PathPrefix", "/none")]},
    )
    body = await site.until("s", "a.test", "/m/x?y=1")
    assert (body["path"], body["headers"]["Host"]) == ("/full?y=1", "in.test")
    async with asyncio.timeout(WITHIN):
        while not {"one", "two", "own"} <= set(site.seen):
            await site.get("a.test", "/m")
            await asyncio.sleep(0.02)
    assert "never" not in site.seen
    status, _, shown = await site.get("a.test", "/away/x?y=1")
    assert (status, shown["Location"]) == (307, "http://b.test/away/x?y=1")
    assert (await site.get("a.test", "/none"))[0] == 500


async def test_redirects(site: Site) -> None:
    """Status, scheme, port and path of redirects; without a port it is the listener's, whatever the client wrote."""
    await site.gateway({**HTTP, "port": 8080})
    full = {"type": "ReplaceFullPath", "replaceFullPath": "/full"}
    asked = {
        "nothing": {}, "https": {"scheme": "https", "statusCode": 301}, "port": {"port": 80, "statusCode": 303},
        "odd": {"scheme": "https", "port": 8443, "statusCode": 307}, "full": {"path": full, "statusCode": 308},
        "host": {"hostname": "b.test"},
    }  # fmt: skip
    await site.route("r", *(
        {"matches": [path("PathPrefix", f"/{name}")], "filters": [redirect(**change)]}
        for name, change in asked.items()
    ))  # fmt: skip
    await site.accepted("r")
    found = {}
    for name in asked:
        status, _, shown = await site.get("a.test", f"/{name}?q=1", port=8080)
        found[name] = (status, shown["Location"])
    assert found == {
        "nothing": (302, "http://a.test:8080/nothing?q=1"),
        "https": (301, "https://a.test/https?q=1"),
        "odd": (307, "https://a.test:8443/odd?q=1"),
        "port": (303, "http://a.test/port?q=1"),
        "full": (308, "http://a.test:8080/full?q=1"),
        "host": (302, "http://b.test:8080/host?q=1"),
    }


async def test_timeouts(site: Site) -> None:
    """504 when request or backendRequest is over, for all tries together; 0s waits."""
    slow = await site.slow("slow", count=3)
    await site.gateway(HTTP)
    await site.route("r", *(
        to("slow", matches=[path("Exact", f"/{name}")], timeouts=given)
        for name, given in {
            "request": {"request": "300ms"}, "backend": {"backendRequest": "100ms"}, "endless": {"request": "0s"},
            "both": {"request": "150ms", "backendRequest": "100ms"},
        }.items()
    ))  # fmt: skip
    await site.accepted("r")
    # After two tries of one backend the third has no time left; a server that is slow to look may have seen fewer.
    for name, most in (("request", 1), ("backend", 3), ("both", 2)):
        slow.clear()
        assert (await site.get("a.test", f"/{name}"))[0] == 504
        assert len(slow) <= most, name
    assert (await site.get("a.test", "/endless"))[0] == 200


async def test_connections_to_another_listener_are_misdirected(site: Site) -> None:
    """A TLS connection that was made for one listener does not serve the hosts of another: 421."""
    for name in ("open", "named", "wild"):
        await site.server(name)
    await site.certificate("cert", *pair("a.test"))
    https = {"port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}}
    await site.gateway(
        {**https, "name": "open"}, {**https, "name": "named", "hostname": "b.test"},
        {**https, "name": "wild", "hostname": "*.wild.test"},
    )  # fmt: skip
    await site.route("open", to("open"), hostnames=("a.test",), parent={"sectionName": "open"})
    for name in ("named", "wild"):
        await site.route(name, to(name), parent={"sectionName": name})
    for host, server in (("a.test", "open"), ("b.test", "named"), ("x.wild.test", "wild")):
        await site.until(server, host, port=443, tls=True)
    for name, host, wanted in (
        ("a.test", "b.test", 421), ("b.test", "a.test", 421), ("a.test", "unknown.test", 404),
        ("b.test", "unknown.test", 421), ("x.wild.test", "y.wild.test", 200), ("x.wild.test", "b.test", 421),
        ("unknown.test", "a.test", 200),
    ):  # fmt: skip
        assert (await site.get(host, port=443, tls=True, sni=name))[0] == wanted, (name, host)


async def test_cors(site: Site) -> None:
    """Preflights are answered here, also those of origins that may not; * is any host, any method, any header."""
    await site.server("s")
    await site.gateway(HTTP)
    named = {"allowOrigins": ["https://www.foo.com", "https://*.bar.com"], "allowMethods": ["GET", "OPTIONS"],
             "allowHeaders": ["x-one", "x-two"], "exposeHeaders": ["x-three"], "allowCredentials": True,
             "maxAge": 3600}  # fmt: skip
    every = {"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"]}
    filters = {"named": named, "every": every, "secret": {**every, "allowCredentials": True}}
    rules = [
        to("s", matches=[path("PathPrefix", f"/{name}")], filters=[{"type": "CORS", "cors": cors}])
        for name, cors in filters.items()
    ]
    backend = {"name": "s", "port": 80, "filters": [{"type": "CORS", "cors": every}]}
    await site.route("r", *rules, {"matches": [path("PathPrefix", "/backend")], "backendRefs": [backend]})
    await site.accepted("r")

    async def preflight(where: str, origin: str, **more: str) -> dict[str, str]:
        asked = {"Origin": origin, "Access_Control_Request_Method": "PUT", **more}
        status, _, shown = await site.get("a.test", where, method="OPTIONS", **asked)
        assert status == 204
        return {name[15:]: value for name, value in shown.items() if name.startswith("Access-Control-")}

    whole = {"Allow-Methods": "GET, OPTIONS", "Allow-Headers": "x-one, x-two", "Expose-Headers": "x-three",
             "Max-Age": "3600", "Allow-Credentials": "true"}  # fmt: skip
    for origin in ("https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"):
        assert await preflight("/named", origin) == {**whole, "Allow-Origin": origin}
    for origin in ("https://foobar.com", "http://www.bar.com", "https://bar.com", "https://www.bar.com:8443"):
        assert await preflight("/named", origin) == {}
        assert "Access-Control-Allow-Origin" not in (await site.get("a.test", "/named", Origin=origin))[2]
    open_to_all = {"Allow-Origin": "*", "Allow-Methods": "PUT", "Max-Age": "5"}
    asked = {"Access_Control_Request_Headers": "x-a, x-b"}
    for where in ("/every", "/backend"):
        assert await preflight(where, "https://x.test:99", **asked) == {**open_to_all, "Allow-Headers": "x-a, x-b"}
    shown = await preflight("/secret", "https://x.test")
    assert shown == {**open_to_all, "Allow-Origin": "https://x.test", "Allow-Credentials": "true"}
    _, body, headers = await site.get("a.test", "/named", Origin="https://www.bar.com")
    assert (body["server"], headers["Access-Control-Allow-Origin"]) == ("s", "https://www.bar.com")


async def test_backends_that_speak_http2(site: Site) -> None:
    """A Service that says kubernetes.io/h2c is spoken to so, beside one that does not; answers are what they are."""
    await site.server("plain")
    number = free_port()
    answer = 'return 200 "$server_protocol $request_method $uri $http_x_a $host"'
    configuration = f"""
        daemon off; pid {site.folder}/h2c.pid; events {{}}
        http {{ access_log off; server {{ listen {own_address()}:{number} http2;
            location / {{ {answer}; }} location /gone {{ return 410; }} }} }}"""
    (site.folder / "h2c.conf").write_text(configuration)
    argv = ["nginx", "-p", str(site.folder), "-c", str(site.folder / "h2c.conf"), "-e", "stderr"]
    await site.stack.enter_async_context(command.running(argv))
    await site.service("two", number, protocol="kubernetes.io/h2c")
    await site.gateway(HTTP)
    refs = [{"name": "plain", "port": 80, "weight": 0}, {"name": "two", "port": 80}]
    headers = header_filter(set=[{"name": "X-A", "value": "1"}])
    await site.route(
        "r", {"backendRefs": refs, "filters": [headers]}, to("plain", matches=[path("PathPrefix", "/plain")])
    )
    await site.accepted("r")
    async with asyncio.timeout(WITHIN):
        while (await site.get("a.test"))[0] != 200:
            await asyncio.sleep(0.02)
    assert await site.text("a.test", "/x?y=1", method="POST", data=b"x" * 100_000) == "HTTP/2.0 POST /x 1 a.test"
    assert (await site.get("a.test", "/gone"))[0] == 410
    assert (await site.get("a.test", "/plain"))[1]["server"] == "plain"
