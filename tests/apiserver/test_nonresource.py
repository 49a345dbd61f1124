"""Paths that are no resources: which methods they take, and what is said below them."""

import pytest

from tests.apiserver.harness import API, api


async def _status(server: API, line: str) -> int:
    return (await server.ask(*line.split())).status


@pytest.mark.parametrize(
    "line", ("DELETE /healthz", "POST /livez/ping", "PUT /openapi/v2", "POST /apis", "POST /apis/apps")
)
async def test_pages_are_answered_whatever_the_method_is(line: str) -> None:
    """Upstream has them in a plain mux, which does not look at methods."""
    async with api() as server:
        assert await _status(server, line) == 200


@pytest.mark.parametrize("path", ("/version", "/api", "/api/v1", "/apis/apps/v1", "/openid/v1/jwks"))
async def test_routes_know_their_method(path: str) -> None:
    """Even HEAD is not allowed where upstream has a route for GET."""
    async with api() as server:
        assert [await _status(server, f"{method} {path}") for method in ("GET", "HEAD", "POST")] == [200, 405, 405]


@pytest.mark.parametrize("path", ("/api/v2", "/apis/apps/v2", "/version/x"))
async def test_below_routes_a_status_says_that_nothing_is_there(path: str) -> None:
    """404 before 405, as JSON."""
    async with api() as server:
        answer = await server.ask("POST", path)
        assert (answer.status, answer.body["reason"], answer.body["details"]) == (404, "NotFound", {})


async def test_other_paths_have_to_be_exact() -> None:
    """A slash more is another path; /index.html is what / is."""
    async with api() as server:
        lines = ("GET /healthz/", "GET /openapi/v2/", "POST /apis/bogus")
        assert [await _status(server, line) for line in lines] == [404, 404, 404]
        assert (await server.get("/index.html")).raw == (await server.get("/")).raw


async def test_a_single_check_is_not_verbose() -> None:
    """Only the endpoint itself lists its checks."""
    async with api() as server:
        assert (await server.get("/livez/ping?verbose")).raw == b"ok"
        assert b"[+]ping ok" in (await server.get("/livez?verbose")).raw
        assert await _status(server, "HEAD /api/v1/namespaces/default/status") == 405
