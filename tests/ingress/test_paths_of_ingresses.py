"""Hosts and paths as the documentation of Ingress lists them, asked of a real nginx.

Each row of the documentation's tables of path types and of wildcard hosts is a case here.
"""

import asyncio

import pytest

from tests.ingress.conftest import Edge

pytestmark = pytest.mark.root

#: Type, paths, request, whether it matches (and which path, where there are several).
EXAMPLES = [
    ("Prefix", ["/"], "/anything", "/"),
    ("Prefix", ["/"], "/", "/"),
    ("Exact", ["/foo"], "/foo", "/foo"),
    ("Exact", ["/foo"], "/bar", None),
    ("Exact", ["/foo"], "/foo/", None),
    ("Exact", ["/foo/"], "/foo", None),
    ("Prefix", ["/foo"], "/foo", "/foo"),
    ("Prefix", ["/foo"], "/foo/", "/foo"),
    ("Prefix", ["/foo/"], "/foo", "/foo/"),
    ("Prefix", ["/foo/"], "/foo/", "/foo/"),
    ("Prefix", ["/aaa/bb"], "/aaa/bbb", None),
    ("Prefix", ["/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
    ("Prefix", ["/aaa/bbb/"], "/aaa/bbb", "/aaa/bbb/"),
    ("Prefix", ["/aaa/bbb"], "/aaa/bbb/", "/aaa/bbb"),
    ("Prefix", ["/aaa/bbb"], "/aaa/bbb/ccc", "/aaa/bbb"),
    ("Prefix", ["/aaa/bbb"], "/aaa/bbbxyz", None),
    ("Prefix", ["/", "/aaa"], "/aaa/ccc", "/aaa"),
    ("Prefix", ["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
    ("Prefix", ["/", "/aaa", "/aaa/bbb"], "/ccc", "/"),
    ("Prefix", ["/aaa"], "/ccc", None),
    ("ImplementationSpecific", ["/aaa"], "/aaa/b", "/aaa"),
    ("ImplementationSpecific", [""], "/aaa/b", ""),
]


async def test_path_types(edge: Edge) -> None:
    """All rows of the documentation's table of path types, each at a host of its own."""
    services = sorted({path for _, paths, _, _ in EXAMPLES for path in paths})
    for number, _ in enumerate(services):
        await edge.server(f"s{number}")
    for row, (kind, paths, _, _) in enumerate(EXAMPLES):
        rules = [(f"h{row}.test", path, kind, f"s{services.index(path)}") for path in paths]
        edge.ingress(f"row-{row}", *rules)
    await edge.settled()
    for row, (kind, paths, asked, wanted) in enumerate(EXAMPLES):
        answer = await edge.get(f"h{row}.test", asked)
        if wanted is None:
            assert answer.status == 404, (kind, paths, asked)
        else:
            assert answer.server == f"s{services.index(wanted)}", (kind, paths, asked, answer)


async def test_mixed_types_prefer_exact(edge: Edge) -> None:
    """Of an equal Exact and Prefix path, Exact wins; otherwise the longest."""
    for name in ("exact", "prefix", "long"):
        await edge.server(name)
    edge.ingress(
        "mixed",
        ("a.test", "/foo", "Prefix", "prefix"),
        ("a.test", "/foo", "Exact", "exact"),
        ("a.test", "/foo/bar", "Prefix", "long"),
    )
    await edge.settled()
    for path, server in (("/foo", "exact"), ("/foo/", "prefix"), ("/foo/bar/x", "long"), ("/foo/ba", "prefix")):
        assert (await edge.get("a.test", path)).server == server


@pytest.mark.parametrize(
    ("host", "matches"), [("bar.foo.com", True), ("baz.bar.foo.com", False), ("foo.com", False), ("BAR.foo.com", True)]
)
async def test_wildcard_hosts(edge: Edge, host: str, matches: bool) -> None:
    """A wildcard stands for exactly one label; names are compared whatever their case."""
    await edge.server("wild")
    edge.ingress("wild", ("*.foo.com", "/", "Prefix", "wild"))
    await edge.settled()
    assert ((await edge.get(host)).server == "wild") is matches


async def test_exact_host_before_wildcard_before_none(edge: Edge) -> None:
    """The most specific host with a path that matches serves the request; rules without a host serve all hosts."""
    for name in ("exact", "wild", "any"):
        await edge.server(name)
    edge.ingress("any", ("", "/", "Prefix", "any"))
    edge.ingress("wild", ("*.foo.com", "/", "Prefix", "wild"))
    edge.ingress("exact", ("bar.foo.com", "/only", "Prefix", "exact"))
    await edge.settled()
    asked = {("bar.foo.com", "/only"): "exact", ("bar.foo.com", "/x"): "wild", ("other.org", "/"): "any"}
    for (host, path), server in asked.items():
        assert (await edge.get(host, path)).server == server
    assert (await edge.get("bar.foo.com:8080", "/only")).server == "exact"


async def test_default_backends(edge: Edge) -> None:
    """spec.defaultBackend serves what no rule of its hosts matches; one without rules serves everything else."""
    for name in ("rule", "own", "global"):
        await edge.server(name)
    edge.ingress("global", default="global")
    edge.ingress("own", ("a.test", "/r", "Exact", "rule"), default="own")
    await edge.settled()
    assert (await edge.get("a.test", "/r")).server == "rule"
    assert (await edge.get("a.test", "/other")).server == "own"
    assert (await edge.get("elsewhere.test", "/")).server == "global"


async def test_without_default_backend_nothing_is_found(edge: Edge) -> None:
    """Requests that nothing matches are answered 404, a Service without endpoints 503."""
    edge.ingress("empty", ("a.test", "/", "Prefix", "missing"))
    await edge.settled()
    assert (await edge.get("b.test")).status == 404
    assert (await edge.get("a.test")).status == 503


async def test_resource_backends_are_passed_over_and_told(edge: Edge) -> None:
    """What their paths would match, other rules and default backends answer; the rest of the Ingress is served."""
    for name in ("api", "rest"):
        await edge.server(name)
    bucket = {"resource": {"apiGroup": "k8s.example.com", "kind": "StorageBucket", "name": "icons"}}
    for name, default in (("beside", "rest"), ("alone", "")):
        made = edge.ingress(name, (f"{name}.test", "/api", "Prefix", "api"), default=default)
        (rule,) = made["spec"]["rules"]
        rule["http"]["paths"].append({"path": "/icons", "pathType": "Prefix", "backend": bucket})
        edge.api.put(made if default else {**made, "spec": {**made["spec"], "defaultBackend": bucket}})
    await edge.settled()
    assert (await edge.get("beside.test", "/api")).server == (await edge.get("alone.test", "/api")).server == "api"
    assert (await edge.get("beside.test", "/icons/x")).server == "rest"
    assert (await edge.get("alone.test", "/icons/x")).status == (await edge.get("alone.test", "/y")).status == 404
    why = "the resource backend StorageBucket icons is not supported, other rules and default backends answer"
    told = {
        "beside": {f"path /icons of host beside.test: {why}"},
        "alone": {f"defaultBackend: {why}", f"path /icons of host alone.test: {why}"},
    }
    while any(not messages <= set(edge.messages(name)) for name, messages in told.items()):
        await asyncio.sleep(0.01)


async def test_fanout_and_name_based_hosts(edge: Edge) -> None:
    """One address, several Services by path and by host, as in the documentation's examples."""
    for name in ("one", "two"):
        await edge.server(name)
    edge.ingress("fanout", ("foo.bar.com", "/foo", "Prefix", "one"), ("foo.bar.com", "/bar", "Prefix", "two"))
    edge.ingress("hosts", ("one.bar.com", "/", "Prefix", "one"), ("two.bar.com", "/", "Prefix", "two"))
    await edge.settled()
    asked = {("foo.bar.com", "/foo"): "one", ("foo.bar.com", "/bar/x"): "two"}
    asked |= {("one.bar.com", "/"): "one", ("two.bar.com", "/"): "two"}
    for (host, path), server in asked.items():
        assert (await edge.get(host, path)).server == server


async def test_paths_are_compared_decoded_and_without_dots(edge: Edge) -> None:
    """A path in disguise falls under the rule of the path that it is; the backend gets what the client wrote."""
    await edge.server("open")
    await edge.server("admin")
    edge.ingress("both", ("a.test", "/", "Prefix", "open"), ("a.test", "/admin", "Prefix", "admin"))
    await edge.settled()
    for path in ("/admin", "/x/../admin", "/%61dmin/a", "/./admin", "//admin"):
        answer = await edge.get("a.test", path)
        assert answer.server == "admin", path
    assert (await edge.get("a.test", "/a%20b?c=%2F")).body["path"] == "/a%20b?c=%2F"


async def test_other_classes_are_left_alone(edge: Edge) -> None:
    """An Ingress of another class, or of none, is not ours; the old annotation names the class too."""
    await edge.server("s")
    for name, change in {
        "other": {"ingressClassName": "other"},
        "none": {},
    }.items():
        made = edge.ingress(name, (f"{name}.test", "/", "Prefix", "s"))
        del made["spec"]["ingressClassName"]
        edge.api.put({**made, "spec": {**made["spec"], **change}})
    old = edge.ingress("old", ("old.test", "/", "Prefix", "s"))
    del old["spec"]["ingressClassName"]
    annotations = {"kubernetes.io/ingress.class": "nginx"}
    edge.api.put({**old, "metadata": {**old["metadata"], "annotations": annotations}})
    await edge.settled()
    found = {name: (await edge.get(f"{name}.test")).status for name in ("other", "none", "old")}
    assert found == {"other": 404, "none": 404, "old": 200}


async def test_the_older_ingress_keeps_a_path(edge: Edge) -> None:
    """Of two that claim one path, the older serves it, and the younger's author is told."""
    await edge.server("first")
    await edge.server("second")
    edge.ingress("old", ("a.test", "/", "Prefix", "first"))
    edge.ingress("young", ("a.test", "/", "Prefix", "second"))
    await edge.settled()
    assert (await edge.get("a.test")).server == "first"
