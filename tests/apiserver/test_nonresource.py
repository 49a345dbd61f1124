"""Paths that are no resources: which methods they take, and what is said below them."""

import pytest

from pynetes.apiserver import encoding
from tests.apiserver.harness import API, CONFIGMAPS, api


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


@pytest.mark.parametrize(
    ("accept", "media", "shape"),
    [
        ("*/*, application/yaml", "application/yaml", ""),
        ("*/*;q=0.9, application/yaml;q=0.1", "application/yaml", ""),
        ("application/yaml;q=0.5,application/json", "application/json", ""),
        ("application/json;stream=watch", "application/json", ""),
        ("application/json;as=Table;v=v1, application/yaml", "application/yaml", ""),
        ("*/*;as=Table;v=v1;g=meta.k8s.io", "application/json", "Table"),
        (
            "application/json;stream=other, application/vnd.kubernetes.protobuf",
            "application/vnd.kubernetes.protobuf",
            "",
        ),
        ("text/html, application/json;sv=v1", "application/json", ""),
    ],
)
def test_what_is_accepted_is_chosen_as_upstream_does(accept: str, media: str, shape: str) -> None:
    """By quality, except that what has no star comes first; clauses whose parameters cannot be met are passed over."""
    found = encoding.parse(accept, True, True)
    assert found is not None and (found.media, found.as_) == (media, shape)


@pytest.mark.parametrize(
    "accept", ("application/json;as=Table;v=v1", "application/json;g=meta.k8s.io;v=v1", "text/*", "json")
)
def test_what_cannot_be_met_is_not_accepted(accept: str) -> None:
    """A Table needs its group; a group needs a shape."""
    assert encoding.parse(accept, True, True) is None


async def test_routes_name_what_they_have_and_others_what_they_accept() -> None:
    """The two texts of 406; /apis has no route upstream."""
    async with api() as server:
        for path, text in (
            ("/api/v1", "406: Not Acceptable"),
            ("/apis", "only the following"),
            ("/apis/apps", "only the"),
        ):
            answer = await server.get(path, accept="text/html")
            assert answer.status == 406 and answer.body["message"].startswith(text)
        answer = await server.get("/version", accept="text/html")
        assert answer.body["message"].endswith("Available representations: application/json")
        protobuf = await server.get("/apis/apps/v1", accept="application/vnd.kubernetes.protobuf")
        assert (protobuf.status, protobuf.raw[:4]) == (200, b"k8s\0")
        refused = await server.ask("POST", CONFIGMAPS, b"a: 1", content_type="application/x-yaml")
        assert refused.status == 415
