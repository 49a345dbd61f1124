"""Annotations of ingress-nginx, each asked of a real nginx."""

import asyncio
import base64
import hashlib

import pytest
from aiohttp import web

from tests.ingress.conftest import Edge, pair

pytestmark = pytest.mark.root


async def test_rewrite_target_takes_captures(edge: Edge) -> None:
    """$2 is the second group of the path's regular expression; the query stays, the case does not matter."""
    await edge.server("s")
    edge.ingress(
        "r",
        ("a.test", "/something(/|$)(.*)", "ImplementationSpecific", "s"),
        rewrite_target="/$2",
        x_forwarded_prefix="/p",
    )
    await edge.settled()
    asked = {"/something": "/", "/something/": "/", "/something/new?x=1": "/new?x=1", "/SOMETHING/a%20b": "/a%20b"}
    for path, wanted in asked.items():
        answer = await edge.get("a.test", path)
        assert answer.body["path"] == wanted, path
        assert answer.body["headers"]["X-Forwarded-Prefix"] == "/p"
    assert (await edge.get("a.test", "/other")).status == 404


async def test_longer_expressions_first(edge: Edge) -> None:
    """Regular expressions are tried by length, before shorter prefixes."""
    for name in ("short", "long", "prefix"):
        await edge.server(name)
    edge.ingress("short", ("a.test", "/foo/.*", "ImplementationSpecific", "short"), use_regex="true")
    edge.ingress("long", ("a.test", "/foo/bar/[a-z]{3}", "ImplementationSpecific", "long"), use_regex="true")
    edge.ingress("prefix", ("a.test", "/foo", "Prefix", "prefix"))
    await edge.settled()
    for path, server in (("/foo/bar/abc", "long"), ("/foo/bar/12", "short"), ("/foo", "prefix")):
        assert (await edge.get("a.test", path)).server == server


async def test_tls_by_name_and_redirect(edge: Edge) -> None:
    """Each name has its certificate; plain requests to a host with TLS are sent on with 308."""
    await edge.server("s")
    for name in ("a.test", "b.test", "*.wild.test"):
        chain, key = pair(name)
        edge.secret(name.replace("*", "any"), tls_crt=chain, tls_key=key)
        secret = name.replace("*", "any")
        edge.ingress(secret, (name, "/", "Prefix", "s"), tls={"hosts": [name], "secretName": secret})
    edge.ingress("open", ("c.test", "/", "Prefix", "s"))
    edge.ingress(
        "both", ("d.test", "/", "Prefix", "s"), tls={"hosts": ["d.test"], "secretName": "a.test"}, ssl_redirect="false"
    )
    edge.ingress("forced", ("e.test", "/", "Prefix", "s"), force_ssl_redirect="true")
    await edge.settled()
    for asked, shown in (("a.test", "a.test"), ("b.test", "b.test"), ("x.wild.test", "*.wild.test")):
        names = (await edge.certificate(asked)).subject.rfc4514_string()
        assert names == f"CN={shown}"
    for asked in ("unknown.test", None):
        assert "ingress.local" in (await edge.certificate(asked)).subject.rfc4514_string()
    plain = await edge.get("a.test", "/x?y=1")
    assert (plain.status, plain.headers["Location"]) == (308, "https://a.test/x?y=1")
    secure = await edge.get("a.test", "/x", tls=True)
    assert secure.body["headers"]["X-Forwarded-Proto"] == "https"
    assert [(await edge.get(f"{host}.test")).status for host in "cde"] == [200, 200, 308]


async def test_a_renewed_certificate_is_shown(edge: Edge) -> None:
    """A change of the Secret reaches new connections without a reload."""
    await edge.server("s")
    chain, key = pair("a.test")
    edge.secret("cert", tls_crt=chain, tls_key=key)
    edge.ingress("i", ("a.test", "/", "Prefix", "s"), tls={"hosts": ["a.test"], "secretName": "cert"})
    await edge.settled()
    before = (await edge.certificate("a.test")).serial_number
    chain, key = pair("a.test")
    edge.secret("cert", tls_crt=chain, tls_key=key)
    await edge.settled()
    assert (await edge.certificate("a.test")).serial_number != before


async def test_redirects(edge: Edge) -> None:
    """permanent-redirect, its code, temporal-redirect, app-root, and the host without www."""
    await edge.server("s")
    everything = ("/", "Prefix", "s")
    edge.ingress("p", ("p.test", *everything), permanent_redirect="https://www.example.com/x?y=1")
    edge.ingress("c", ("c.test", *everything), permanent_redirect="http://example.com", permanent_redirect_code="308")
    edge.ingress("t", ("t.test", *everything), temporal_redirect="https://example.com")
    edge.ingress("r", ("r.test", *everything), app_root="/app1")
    edge.ingress("w", ("w.test", *everything), from_to_www_redirect="true")
    await edge.settled()
    found = {}
    for host in ("p", "c", "t", "r", "www.w"):
        answer = await edge.get(f"{host}.test", "/")
        found[host] = (answer.status, answer.headers.get("Location"))
    assert found == {
        "p": (301, "https://www.example.com/x?y=1"),
        "c": (308, "http://example.com"),
        "t": (302, "https://example.com"),
        "r": (302, "http://r.test/app1"),
        "www.w": (308, "http://w.test/"),
    }
    assert (await edge.get("r.test", "/app1")).server == "s"


async def test_body_size(edge: Edge) -> None:
    """A body above the limit is refused, announced or in chunks; 1m unless told otherwise, 0 is no limit."""
    await edge.server("s")
    for name, size in (("small", "1k"), ("large", "0"), ("exact", "1500")):
        edge.ingress(name, (f"{name}.test", "/", "Prefix", "s"), proxy_body_size=size)
    edge.ingress("plain", ("plain.test", "/", "Prefix", "s"))
    await edge.settled()

    async def chunks() -> object:
        for _ in range(40):
            yield b"x" * 1000

    sizes = {"small": 2048, "large": 3 << 20, "exact": 1501, "plain": 2 << 20}
    wanted = {"small": 413, "large": 200, "exact": 413, "plain": 413}
    found = {}
    for name, size in sizes.items():
        found[name] = (await edge.get(f"{name}.test", method="POST", data=b"x" * size)).status
    assert found == wanted
    assert (await edge.get("exact.test", method="POST", data=b"x" * 1500)).body["size"] == 1500
    # Sizes of bodies without a length are nginx's own setting: workers of before the reload may still answer.
    while (await edge.get("small.test", method="POST", data=chunks())).status != 413:
        await asyncio.sleep(0.02)


async def test_read_timeout(edge: Edge) -> None:
    """A backend that says nothing for proxy-read-timeout is given up with 504."""

    async def never(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", never)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    edge.stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    edge.service("slow", [("127.0.0.1", runner.addresses[0][1])])
    edge.ingress("slow", ("a.test", "/", "Prefix", "slow"), proxy_read_timeout="1")
    await edge.settled()
    assert (await edge.get("a.test")).status == 504


async def test_sticky_cookie(edge: Edge) -> None:
    """A client that shows its cookie meets the same endpoint; the cookie has the attributes asked for."""
    await edge.server("s", count=3)
    edge.ingress(
        "i", ("a.test", "/", "Prefix", "s"), affinity="cookie", session_cookie_name="route",
        session_cookie_max_age="600", session_cookie_samesite="Lax", session_cookie_secure="true",
    )  # fmt: skip
    await edge.settled()
    first = await edge.get("a.test")
    cookie = first.headers["Set-Cookie"]
    assert cookie.startswith("route=")
    assert cookie.endswith("; Path=/; HttpOnly; Max-Age=600; SameSite=Lax; Secure")
    shown = cookie.partition(";")[0]
    met = {(await edge.get("a.test", Cookie=shown)).server for _ in range(12)}
    assert met == {first.server}
    again = await edge.get("a.test", Cookie="route=0123456789abcdef0123456789abcdef")
    assert "Set-Cookie" in again.headers


async def test_endpoints_take_turns(edge: Edge) -> None:
    """All endpoints of a Service get their share."""
    await edge.server("s", count=3)
    edge.ingress("i", ("a.test", "/", "Prefix", "s"))
    await edge.settled()
    met = [(await edge.get("a.test")).server for _ in range(9)]
    assert all(met.count(f"s-{number}") == 3 for number in range(3))


async def test_a_refusing_endpoint_is_passed_over(edge: Edge) -> None:
    """A connection that is refused is tried at the next endpoint."""
    port = await edge.echo("alive")
    edge.service("s", [("127.0.0.1", 1), ("127.0.0.1", port)])
    edge.ingress("i", ("a.test", "/", "Prefix", "s"))
    await edge.settled()
    assert {(await edge.get("a.test")).server for _ in range(6)} == {"alive"}


@pytest.mark.parametrize("kind", ["auth-file", "auth-map"])
async def test_basic_authentication(edge: Edge, kind: str) -> None:
    """Names and passwords from a Secret; without them 401 with the realm."""
    await edge.server("s")
    hashed = "{SHA}" + base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    edge.secret("users", **({"auth": f"ann:{hashed}\n"} if kind == "auth-file" else {"ann": hashed}))
    edge.ingress(
        "i", ("a.test", "/", "Prefix", "s"), auth_type="basic", auth_secret="users", auth_secret_type=kind,
        auth_realm="Staff only",
    )  # fmt: skip
    await edge.settled()
    refused = await edge.get("a.test")
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="Staff only"')
    for password, status in (("secret", 200), ("wrong", 401)):
        given = "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()
        assert (await edge.get("a.test", Authorization=given)).status == status


async def test_rate_limits(edge: Edge) -> None:
    """More than limit-rps with its burst are answered 503."""
    await edge.server("s")
    edge.ingress("i", ("a.test", "/", "Prefix", "s"), limit_rps="1", limit_burst_multiplier="2")
    edge.ingress("free", ("b.test", "/", "Prefix", "s"), limit_rps="1", limit_whitelist="127.0.0.0/8")
    await edge.settled()
    found = [(await edge.get("a.test")).status for _ in range(6)]
    assert found[:3] == [200, 200, 200]
    assert found[-1] == 503
    assert {(await edge.get("b.test")).status for _ in range(10)} == {200}


async def test_limits_by_minute_and_by_connections(edge: Edge) -> None:
    """limit-rpm with its burst, and limit-connections: who waits for an answer counts, who has it counts no more."""
    release = asyncio.Event()
    arrived = asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        arrived.set()
        await release.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", slow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    edge.stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    edge.service("slow", [("127.0.0.1", runner.addresses[0][1])])
    await edge.server("s")
    edge.ingress("rpm", ("a.test", "/", "Prefix", "s"), limit_rpm="1", limit_burst_multiplier="1")
    edge.ingress("one", ("b.test", "/", "Prefix", "slow"), limit_connections="1")
    await edge.settled()
    assert [(await edge.get("a.test")).status for _ in range(4)] == [200, 200, 503, 503]
    first = asyncio.ensure_future(edge.get("b.test"))
    await arrived.wait()
    assert (await edge.get("b.test")).status == 503
    release.set()
    assert (await first).status == 200
    async with asyncio.timeout(10):
        while (await edge.get("b.test")).status != 200:
            await asyncio.sleep(0.01)


async def test_allowed_and_denied_addresses(edge: Edge) -> None:
    """Only clients inside the ranges are let in; those in the deny list never."""
    await edge.server("s")
    ranges = {"in": "10.0.0.0/8,127.0.0.0/9", "out": "10.0.0.0/8, ::1/128", "near": "127.0.0.2/31"}
    for name, value in ranges.items():
        edge.ingress(name, (f"{name}.test", "/", "Prefix", "s"), whitelist_source_range=value)
    edge.ingress("deny", ("deny.test", "/", "Prefix", "s"), denylist_source_range="127.0.0.1")
    await edge.settled()
    found = {name: (await edge.get(f"{name}.test")).status for name in (*ranges, "deny")}
    assert found == {"in": 200, "out": 403, "near": 403, "deny": 403}


async def test_cors(edge: Edge) -> None:
    """Preflights are answered here; other answers carry the headers; foreign origins get none."""
    await edge.server("s")
    edge.ingress(
        "i", ("a.test", "/", "Prefix", "s"), enable_cors="true", cors_max_age="600",
        cors_allow_origin="https://app.example.com, https://*.example.org", cors_allow_methods="GET, PUT",
    )  # fmt: skip
    await edge.settled()
    asked = {"Origin": "https://app.example.com", "Access_Control_Request_Method": "PUT"}
    preflight = await edge.get("a.test", method="OPTIONS", **asked)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert preflight.headers["Access-Control-Max-Age"] == "600"
    found = {}
    for origin in ("https://app.example.com", "https://x.example.org", "https://evil.com", "https://a.b.example.org"):
        found[origin] = (await edge.get("a.test", Origin=origin)).headers.get("Access-Control-Allow-Origin")
    assert [found[origin] is not None for origin in found] == [True, True, False, False]


async def test_canary(edge: Edge) -> None:
    """By header, then cookie, then weight."""
    await edge.server("main")
    await edge.server("new")
    everything = ("/", "Prefix")
    edge.ingress("main", ("a.test", *everything, "main"), ("b.test", *everything, "main"))
    edge.ingress(
        "canary", ("a.test", *everything, "new"), canary="true", canary_by_header="X-Try", canary_by_cookie="try"
    )
    edge.ingress("weight", ("b.test", *everything, "new"), canary="true", canary_weight="50")
    await edge.settled()
    assert (await edge.get("a.test")).server == "main"
    assert (await edge.get("a.test", X_Try="always")).server == "new"
    assert (await edge.get("a.test", X_Try="never", Cookie="try=always")).server == "main"
    assert (await edge.get("a.test", Cookie="try=always")).server == "new"
    met = [(await edge.get("b.test")).server for _ in range(60)]
    assert 10 < met.count("new") < 50


async def test_canary_by_value_pattern_and_all_of_the_weight(edge: Edge) -> None:
    """A header's value, or an expression over all of it, in place of always and never; a weight out of a total."""
    await edge.server("main")
    await edge.server("new")
    hosts = {
        "value": {"canary_by_header": "X-Try", "canary_by_header_value": "blue"},
        "pattern": {"canary_by_header": "X-Try", "canary_by_header_pattern": "bl[a-z]+"},
        "all": {"canary_weight": "5", "canary_weight_total": "5"},
        "none": {"canary_weight": "0"},
    }
    for name, said in hosts.items():
        edge.ingress(name, (f"{name}.test", "/", "Prefix", "main"))
        edge.ingress(f"{name}-canary", (f"{name}.test", "/", "Prefix", "new"), canary="true", **said)
    await edge.settled()
    for host, tried, server in (
        ("value", "blue", "new"), ("value", "always", "main"), ("value", "blues", "main"), ("pattern", "blues", "new"),
        ("pattern", "unblue", "main"), ("pattern", "bl", "main"), ("all", "", "new"), ("none", "", "main"),
    ):  # fmt: skip
        assert (await edge.get(f"{host}.test", X_Try=tried)).server == server, (host, tried)


async def test_cors_with_credentials_and_exposed_headers(edge: Edge) -> None:
    """With credentials the origin is named, never *; without them * may be said."""
    await edge.server("s")
    edge.ingress("with", ("a.test", "/", "Prefix", "s"), enable_cors="true", cors_expose_headers="X-One, X-Two")
    edge.ingress("none", ("b.test", "/", "Prefix", "s"), enable_cors="true", cors_allow_credentials="false")
    await edge.settled()
    shown = (await edge.get("a.test", Origin="https://x.test")).headers
    assert (shown["Access-Control-Allow-Origin"], shown["Access-Control-Allow-Credentials"]) == (
        "https://x.test",
        "true",
    )
    assert shown["Access-Control-Expose-Headers"] == "X-One, X-Two"
    shown = (await edge.get("b.test", Origin="https://x.test")).headers
    assert shown["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in shown


async def test_upstream_vhost_and_forwarded_headers(edge: Edge) -> None:
    """The backend learns who asked for what; what a client claims about itself is not passed on as ours."""
    await edge.server("s")
    edge.ingress("i", ("a.test", "/", "Prefix", "s"), upstream_vhost="inner.test")
    await edge.settled()
    seen = (await edge.get("a.test", X_Forwarded_For="6.6.6.6", X_Real_IP="6.6.6.6", Proxy="evil")).body["headers"]
    assert (seen["Host"], seen["X-Forwarded-Host"]) == ("inner.test", "a.test")
    assert (seen["X-Forwarded-For"], seen["X-Real-IP"], seen["X-Forwarded-Proto"]) == ("127.0.0.1", "127.0.0.1", "http")
    assert "Proxy" not in seen
    assert len(seen["X-Request-ID"]) == 32


async def test_server_alias_and_default_backend(edge: Edge) -> None:
    """Other names for the same rules; a Service for what the rules leave."""
    await edge.server("s")
    await edge.server("rest")
    edge.ingress("i", ("a.test", "/x", "Prefix", "s"), server_alias="b.test,c.test", default_backend="rest")
    await edge.settled()
    assert [(await edge.get(f"{host}.test", "/x")).server for host in "abc"] == ["s"] * 3
    assert (await edge.get("a.test", "/y")).server == "rest"


async def test_websockets(edge: Edge) -> None:
    """A connection is upgraded, and stays."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"said {message.data}")
        return socket

    app = web.Application()
    app.router.add_get("/ws", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    edge.stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    edge.service("ws", [("127.0.0.1", runner.addresses[0][1])])
    edge.ingress("ws", ("a.test", "/", "Prefix", "ws"))
    await edge.settled()
    url = f"http://127.0.0.1:{edge.http}/ws"
    async with edge.session.ws_connect(url, headers={"Host": "a.test"}) as socket:
        for word in ("one", "two"):
            await socket.send_str(word)
            assert (await socket.receive_str()) == f"said {word}"
