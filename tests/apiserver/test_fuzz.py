"""Bad input of every kind to the request path: whatever comes, a Status and never a failure of the server."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pynetes.apiserver.http import request
from tests.apiserver.harness import Asked, api

_KINDS = ("pods", "configmaps", "services", "secrets")
_GROUPED = ("apps/v1/namespaces/default/deployments", "batch/v1/namespaces/default/jobs")
_COLLECTIONS = [f"/api/v1/namespaces/default/{kind}" for kind in _KINDS] + [f"/apis/{path}" for path in _GROUPED]
_MEDIA = (
    "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor", "text/plain",
    "application/json;charset=latin-9", "",
)  # fmt: skip
_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
_FUZZ = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.sampled_from(
    ["metadata", "name", "namespace", "spec", "status", "data", "labels", "containers", "template", "ports", "selector",
     "kind", "apiVersion", "managedFields", "finalizers", "ownerReferences", "resources", "limits", "volumes", "env",
     "nodeName", "replicas", "strategy", "$patch", "$setElementOrder/containers", "annotations", "uid"]
)  # fmt: skip
#: Objects whose fields are called as real ones are, with values of any type.
_MISFITS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["1", "10Gi", "ClusterIP", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FIELDS, inner, max_size=5),
    max_leaves=20,
)


class Fuzzed:
    """One server for all examples: an example that breaks it is seen in the next one too."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._held = self._runner.run(self._start())

    async def _start(self) -> asyncio.Task[None]:
        ready, self._end = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with api() as self._api:
                ready.set()
                await self._end.wait()

        held = asyncio.create_task(hold())
        await ready.wait()
        return held

    def ask(self, method: str, path: str, body: Any = b"", **headers: str) -> tuple[int, Any]:
        """Status code and parsed body."""
        answer = self._runner.run(self._api.ask(method, path, body, **headers))
        return answer.status, orjson.loads(answer.raw) if answer.raw.startswith(b"{") else answer.raw

    def whole(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Asked | None:
        """The answer with its headers; None if it is a watch, which is ended."""

        async def asked() -> Asked | None:
            answer = Asked(await self._api.server.handle(request(method, path, headers=headers, body=body)))
            if (end := getattr(answer.stream, "aclose", None)) is None:
                return answer
            await end()
            return None

        return self._runner.run(asked())

    def close(self) -> None:
        """End the server."""

        async def end() -> None:
            self._end.set()
            await self._held

        self._runner.run(end())
        self._runner.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Fuzzed]:
    fuzzed = Fuzzed()
    yield fuzzed
    fuzzed.close()


def _check(status: int, body: Any) -> None:
    assert status in range(200, 500) or status == 504, body  # 504: a resourceVersion that is yet to come
    if status >= 400 and isinstance(body, dict):
        assert (body["kind"], body["code"]) == ("Status", status)


@_FUZZ
@given(path=st.sampled_from(_COLLECTIONS), media=st.sampled_from(_MEDIA), body=st.binary(max_size=200))
def test_any_bytes(server: Fuzzed, path: str, media: str, body: bytes) -> None:
    _check(*server.ask("POST", path, body, content_type=media))


@_FUZZ
@given(path=st.sampled_from(_COLLECTIONS), body=st.binary(max_size=200))
def test_any_bytes_as_protobuf(server: Fuzzed, path: str, body: bytes) -> None:
    _check(*server.ask("POST", path, b"k8s\0" + body, content_type="application/vnd.kubernetes.protobuf"))


@_FUZZ
@given(path=st.sampled_from(_COLLECTIONS), value=_JSON | _MISFITS, validation=st.sampled_from(["", "Strict", "Warn"]))
def test_any_json(server: Fuzzed, path: str, value: Any, validation: str) -> None:
    text = json.dumps(value).encode()
    _check(*server.ask("POST", f"{path}?fieldValidation={validation}", text, content_type="application/json"))


@settings(_FUZZ, max_examples=60)
@given(path=st.sampled_from(_COLLECTIONS), metadata=_MISFITS, spec=_MISFITS, rest=_MISFITS)
def test_fields_of_any_type(server: Fuzzed, path: str, metadata: Any, spec: Any, rest: Any) -> None:
    made = {**(rest if isinstance(rest, dict) else {}), "spec": spec}
    made["metadata"] = {"generateName": "x-", **metadata} if isinstance(metadata, dict) else metadata
    made.pop("kind", None), made.pop("apiVersion", None)
    _check(*server.ask("POST", f"{path}?dryRun=All", json.dumps(made).encode(), content_type="application/json"))


@_FUZZ
@given(path=st.sampled_from(_COLLECTIONS), text=st.text(max_size=200))
def test_any_yaml(server: Fuzzed, path: str, text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    _check(*server.ask("POST", path, body, content_type="application/yaml"))


@_FUZZ
@given(media=st.sampled_from(_PATCHES), value=_JSON | _MISFITS | st.binary(max_size=50))
def test_any_patch(server: Fuzzed, media: str, value: Any) -> None:
    name = "/api/v1/namespaces/default/configmaps/patched"
    server.ask("POST", name.rpartition("/")[0], {"metadata": {"name": "patched"}, "data": {"a": "b"}})
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    _check(*server.ask("PATCH", f"{name}?fieldManager=fuzz", body, content_type=media))


_OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
    optional={
        "path": st.text("/~01-metadt", max_size=12) | st.sampled_from(["/metadata/labels", "/data/a", "/data/-", ""]),
        "from": st.sampled_from(["/data", "/data/a", "/metadata", ""]),
        "value": _JSON,
    },
)


@_FUZZ
@given(operations=st.lists(_OPERATION, max_size=4))
def test_any_json_patch(server: Fuzzed, operations: Any) -> None:
    name = "/api/v1/namespaces/default/configmaps/patched"
    server.ask("POST", name.rpartition("/")[0], {"metadata": {"name": "patched"}, "data": {"a": "b"}})
    _check(*server.ask("PATCH", name, json.dumps(operations).encode(), content_type=_PATCHES[0]))


@_FUZZ
@given(
    path=st.sampled_from(_COLLECTIONS),
    name=st.sampled_from(
        ["labelSelector", "fieldSelector", "continue", "limit", "resourceVersion", "timeoutSeconds", "pretty",
         "resourceVersionMatch", "dryRun", "fieldManager", "propagationPolicy", "gracePeriodSeconds"]
    ),
    value=st.text(max_size=40) | st.text("a=!,() inot\\", max_size=30) | st.integers().map(str),
    method=st.sampled_from(["GET", "POST", "DELETE"]),
)  # fmt: skip
def test_any_option(server: Fuzzed, path: str, name: str, value: str, method: str) -> None:
    query = quote(value.encode("utf-8", "surrogatepass"))
    _check(*server.ask(method, f"{path}?{name}={query}", b"{}" if method == "POST" else b""))


@_FUZZ
@given(path=st.text(max_size=30), accept=st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=60))
def test_any_path_and_accept(server: Fuzzed, path: str, accept: str) -> None:
    target = quote(path.encode("utf-8", "surrogatepass"))
    _check(*server.ask("GET", f"/api/v1/{target}", accept=accept))
    _check(*server.ask("GET", "/api/v1/namespaces/default", accept=accept))


_DEEP = b"[" * 100_000
_BOMB = b"a: &a [x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 8)) for n in range(ord("b"), ord("k"))
)


@pytest.mark.parametrize(
    "media, body",
    [
        ("application/json", _DEEP),
        ("application/json", b'{"metadata":' * 20_000),
        ("application/yaml", _DEEP),
        ("application/yaml", b'{"a":' * 50_000),
        ("application/yaml", _BOMB),
        ("application/yaml", b"data: &a {a: *a}"),
        ("application/json", b'{"metadata":{"generation":' + b"9" * 5000 + b"}}"),
        ("application/json", b'{"metadata":{"name":"\xff\xfe"}}'),
        ("application/json", b'{"metadata":{"name":"a"},"data":{"a":"\\ud800"}}'),
        ("application/vnd.kubernetes.protobuf", b"k8s\0" + b"\x0a\xff\xff\xff\xff\x0f"),
        ("application/vnd.kubernetes.protobuf", b"k8s\0" + b"\x12\x02" * 100_000),
    ],
)
def test_bombs(server: Fuzzed, media: str, body: bytes) -> None:
    status, answer = server.ask("POST", "/api/v1/namespaces/default/configmaps", body, content_type=media)
    assert status in (400, 413, 422), answer
    assert answer["kind"] == "Status"
