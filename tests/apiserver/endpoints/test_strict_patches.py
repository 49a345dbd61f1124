"""Patches that strict reading refuses or warns of, in upstream's words, and the forms that are no patch at all."""

from typing import Any

import orjson
import pytest

from pynetes.machinery.meta import Object
from tests.apiserver.harness import API, CONFIGMAPS, Asked, api, configmap

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
LABELS = {"app": "a"}
TEMPLATE: Object = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DEPLOYMENT: Object = {"metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}}
STRICT = 'strict decoding error: unknown field "spec.bogus"'


async def _patch(server: API, path: str, kind: str, body: bytes, validation: str = "") -> Asked:
    query = f"?fieldValidation={validation}" if validation else ""
    return await server.ask("PATCH", f"{path}{query}", body, content_type=f"application/{kind}+json")


async def _quoted(server: API, kind: str, body: bytes) -> Any:
    refused = await _patch(server, f"{DEPLOYMENTS}/x", kind, body, "Strict")
    cause = refused.body["details"]["causes"][0]
    assert (refused.status, cause["field"]) == (422, "patch")
    assert cause["message"].startswith('Invalid value: "') and cause["message"].endswith(f'": {STRICT}')
    return orjson.loads(cause["message"].removeprefix("Invalid value: ").removesuffix(f": {STRICT}"))


async def test_strict_refuses_a_merge_patch_quoting_what_came_out() -> None:
    """Objects that both sides have are written by name, what the patch did not touch by its declaration."""
    async with api() as server:
        await server.post(DEPLOYMENTS, DEPLOYMENT)
        text = await _quoted(server, "merge-patch", b'{"spec":{"replicas":2,"bogus":{"z":1,"a":2}}}')
        found = orjson.loads(text)
        assert list(found) == ["apiVersion", "kind", "metadata", "spec", "status"]
        assert list(found["spec"])[:2] == ["bogus", "progressDeadlineSeconds"]
        assert list(found["spec"]["bogus"]) == ["a", "z"]
        assert list(found["metadata"])[:2] == ["name", "namespace"]
        assert list(found["spec"]["template"]["spec"]["containers"][0])[:2] == ["name", "image"]


async def test_strict_refuses_a_json_patch_and_keeps_its_values_as_they_are() -> None:
    """The objects on the way are taken apart; the value is not."""
    async with api() as server:
        await server.post(DEPLOYMENTS, DEPLOYMENT)
        body = b'[{"op":"add","path":"/spec/bogus","value":{"z":1,"a":2}}]'
        found = orjson.loads(await _quoted(server, "json-patch", body))
        assert (next(iter(found["spec"])), list(found["spec"]["bogus"])) == ("bogus", ["z", "a"])


async def test_strict_refuses_a_strategic_patch_quoting_it() -> None:
    """As Go prints a map."""
    async with api() as server:
        await server.post(DEPLOYMENTS, DEPLOYMENT)
        body = b'{"spec":{"bogus":1,"replicas":2}}'
        assert await _quoted(server, "strategic-merge-patch", body) == "map[spec:map[bogus:1 replicas:2]]"


@pytest.mark.parametrize(
    ("kind", "body", "warning"),
    [
        ("merge-patch", b'{"data":{"a":"1","a":"2"}}', 'duplicate field \\"data.a\\"'),
        ("strategic-merge-patch", b'{"data":{"a":"1","a":"2"}}', 'duplicate field \\"data.a\\"'),
        (
            "json-patch",
            b'[{"op":"add","path":"/data/z","value":"1","foo":1}]',
            'json patch unknown field \\"[0].foo\\"',
        ),
        (
            "json-patch",
            b'[{"op":"add","op":"add","path":"/data/z","value":"1"}]',
            'json patch duplicate field \\"[0].op\\"',
        ),
    ],
)
async def test_what_is_odd_about_the_patch_itself_is_told(kind: str, body: bytes, warning: str) -> None:
    """A warning by default, a refusal when strict, nothing when ignored."""
    async with api() as server:
        await server.post(CONFIGMAPS, configmap("a", x="1"))
        found = [await _patch(server, f"{CONFIGMAPS}/a", kind, body, how) for how in ("", "Ignore", "Strict")]
        assert [answer.status for answer in found] == [200, 200, 422]
        warned = [[value for name, value in answer.headers if name == "Warning"] for answer in found]
        assert warned == [[f'299 - "{warning}"'], [], []]


@pytest.mark.parametrize(
    ("kind", "validation", "body", "status", "message"),
    [
        ("merge-patch", "", b"null", 400, "Invalid JSON Patch"),
        ("merge-patch", "Ignore", b"{", 400, "Invalid JSON Patch"),
        ("json-patch", "", b"null", 200, ""),
        ("strategic-merge-patch", "", b"null", 200, ""),
        ("json-patch", "Ignore", b"{}", 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        ("json-patch", "", b"[1]", 400, "error decoding patch: json: cannot unmarshal number into Go value of type"
                                        " handlers.jsonPatchOp"),
        ("json-patch", "", b'[{"op":1}]', 400, "error decoding patch: json: cannot unmarshal number into Go struct"
                                               " field jsonPatchOp.op of type string"),
    ],
)  # fmt: skip
async def test_what_is_no_patch(kind: str, validation: str, body: bytes, status: int, message: str) -> None:
    """Go reads null as nothing at all, except where a merge patch is wanted."""
    async with api() as server:
        await server.post(CONFIGMAPS, configmap("a", x="1"))
        answer = await _patch(server, f"{CONFIGMAPS}/a", kind, body, validation)
        assert (answer.status, answer.body.get("message", "")) == (status, message)


async def test_options_of_a_patch_are_checked_together() -> None:
    """force is for apply alone, even if it is false; apply needs a manager."""
    async with api() as server:
        refused = await server.ask(
            "PATCH", f"{CONFIGMAPS}/a?force=false&dryRun=x", b"{}", content_type="application/merge-patch+json"
        )
        assert [cause["field"] for cause in refused.body["details"]["causes"]] == ["force", "dryRun"]
        applied = await server.apply(f"{CONFIGMAPS}/a?dryRun=x", {})
        assert [cause["field"] for cause in applied.body["details"]["causes"]] == ["fieldManager", "dryRun"]
