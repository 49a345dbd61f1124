"""What a request line means."""

import pytest

from pynetes.apiserver import requestinfo
from pynetes.apiserver.requestinfo import RequestInfo, parse


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET /api/v1/pods", "list//v1/pods"),
        ("GET /api/v1/pods?watch=true", "watch//v1/pods"),
        ("GET /api/v1/pods?watch", "watch//v1/pods"),
        ("GET /api/v1/watch/pods", "watch//v1/pods"),
        ("GET /api/v1/namespaces", "list//v1/namespaces"),
        ("GET /api/v1/namespaces/a", "get//v1/namespaces ns=a name=a"),
        ("GET /api/v1/namespaces/a/status", "get//v1/namespaces/status ns=a name=a"),
        ("PUT /api/v1/namespaces/a/finalize", "update//v1/namespaces/finalize ns=a name=a"),
        ("GET /api/v1/namespaces/a/pods/p/log", "get//v1/pods/log ns=a name=p"),
        ("GET /apis/apps/v1/namespaces/a/deployments", "list/apps/v1/deployments ns=a"),
        ("DELETE /apis/apps/v1/namespaces/a/deployments", "deletecollection/apps/v1/deployments ns=a"),
        ("PATCH /apis/apps/v1/namespaces/a/deployments/d/scale", "patch/apps/v1/deployments/scale ns=a name=d"),
        ("GET /api/v1/pods?fieldSelector=metadata.name%3Dx", "list//v1/pods name=x"),
        ("HEAD /api/v1/nodes/n", "get//v1/nodes name=n"),
    ],
)
def test_resource_requests(line: str, expected: str) -> None:
    """Verb, group, version, resource, subresource, namespace and name come from the path alone."""
    method, target = line.split()
    path, _, query = target.partition("?")
    info = parse(method, path, query)
    assert info.is_resource_request
    assert shown(info) == expected


@pytest.mark.parametrize("path", ["/", "/version", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz/etcd"])
def test_other_requests(path: str) -> None:
    """Discovery, health and the rest are no resource requests; their verb is the method."""
    info = parse("POST", path)
    assert (info.is_resource_request, info.verb, info.path) == (False, "post", path)


def test_what_follows_a_subresource() -> None:
    """A proxied path is kept whole."""
    assert parse("GET", "/api/v1/nodes/n/proxy/metrics/resource").rest == "metrics/resource"


def shown(info: RequestInfo) -> str:
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    text = f"{info.verb}/{info.api_group}/{info.api_version}/{resource}"
    text += f" ns={info.namespace}" if info.namespace else ""
    return text + (f" name={info.name}" if info.name else "")


def test_long_lines_are_not_remembered() -> None:
    """Strangers could have a megabyte kept for each."""
    before = requestinfo._remembered.cache_info().currsize
    for number in range(3):
        assert parse("GET", f"/api/v1/{'x' * 3000}{number}").verb == "list"
    assert requestinfo._remembered.cache_info().currsize == before
