"""What webhooks answer, well and badly, and who sees an object again once it was changed."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.apiserver.admission.test_user_policies import BASE, GROUP, RULES, bind
from tests.apiserver.harness import API, CONFIGMAPS, configmap
from tests.apiserver.harness import api as serving
from tests.apiserver.hooks import hooked

Answer = Callable[[dict[str, Any]], web.Response]
CALLING = 'Internal error occurred: failed calling webhook "h.example.com": '
INVALID = f"{CALLING}received invalid webhook response: "


def reviewed(request: dict[str, Any], about: dict[str, Any] | None = None, **response: Any) -> web.Response:
    """A review that answers the request."""
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", **(about or {})}
    return web.json_response({**review, "response": {"uid": request["uid"], "allowed": True, **response}})


def steps(*given: dict[str, Any]) -> str:
    """A JSON patch as answers carry it."""
    return base64.b64encode(json.dumps(given).encode()).decode()


def hook(config: object, name: str = "h.example.com", **more: object) -> dict[str, object]:
    """A webhook for config maps."""
    versions = {"admissionReviewVersions": ["v1"], "sideEffects": "None"}
    return {"name": name, "clientConfig": config, "rules": RULES, **versions, **more}


async def configure(api: API, kind: str, *hooks: dict[str, object]) -> None:
    """These webhooks, of Mutating or Validating."""
    about = {"apiVersion": GROUP, "kind": f"{kind}WebhookConfiguration", "metadata": {"name": "h"}}
    answer = await api.post(f"{BASE}/{kind.lower()}webhookconfigurations", {**about, "webhooks": list(hooks)})
    assert answer.status == 201, answer.body
    await api.server.cacher.fresh()


async def answered(folder: Path, kind: str, answer: Answer, **more: object) -> Any:
    """What the creation of a config map is answered when the webhook answers this."""

    async def asked(request: web.Request) -> web.StreamResponse:
        return answer((await request.json())["request"])

    async with hooked(folder, asked) as config, serving() as api:
        await configure(api, kind, hook(config, **more))
        return await api.post(CONFIGMAPS, configmap("x", a="1"))


WRONG: dict[str, tuple[str, Answer, str]] = {
    "no response": (
        "Validating",
        lambda _: web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}),
        f"{INVALID}webhook response was absent",
    ),
    "no kind": (
        "Validating",
        lambda request: web.json_response({"response": {"uid": request["uid"], "allowed": True}}),
        f"{INVALID}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
    ),
    "v1beta1": (
        "Validating",
        lambda request: reviewed(request, {"apiVersion": "admission.k8s.io/v1beta1"}),
        f"{CALLING}failed to call webhook: "
        "converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion",
    ),
    "validating patch": (
        "Validating",
        lambda request: reviewed(request, patch=steps(), patchType="JSONPatch"),
        f"{INVALID}validating webhook may not return response.patch",
    ),
    "validating patch type": (
        "Validating",
        lambda request: reviewed(request, patchType="JSONPatch"),
        f"{INVALID}validating webhook may not return response.patchType",
    ),
    "patch without type": (
        "Mutating",
        lambda request: reviewed(request, patch=steps()),
        f"{INVALID}webhook returned response.patch but not response.patchType",
    ),
    "type without patch": (
        "Mutating",
        lambda request: reviewed(request, patchType="JSONPatch"),
        f"{INVALID}webhook returned response.patchType but not response.patch",
    ),
    "another type": (
        "Mutating",
        lambda request: reviewed(request, patch=steps({"op": "remove", "path": "/data"}), patchType="Merge"),
        f'{CALLING}unsupported patch type "Merge"',
    ),
    "no list of steps": (
        "Mutating",
        lambda request: reviewed(request, patch=base64.b64encode(b"{}").decode(), patchType="JSONPatch"),
        f"{CALLING}received undecodable patch in webhook response: "
        "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
    ),
    "not found": (
        "Mutating",
        lambda _: web.Response(status=404, text="none"),
        f"{CALLING}failed to call webhook: the server could not find the requested resource",
    ),
    "broken": (
        "Mutating",
        lambda _: web.Response(status=500, text="out of luck\n"),
        f"{CALLING}failed to call webhook: "
        'an error on the server ("out of luck") has prevented the request from succeeding',
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_an_answer_that_makes_no_sense_fails_the_request(tmp_path: Path, case: str) -> None:
    """With upstream's words, as an internal error."""
    kind, answer, message = WRONG[case]
    found = await answered(tmp_path, kind, answer)
    assert (found.status, found.body["message"]) == (500, message)
    assert found.body["details"]["causes"] == [{"message": message.removeprefix("Internal error occurred: ")}]


async def test_a_refusal_keeps_what_the_webhook_said(tmp_path: Path) -> None:
    """Reason, details and code are its own, but success is none, and a code below 400 neither."""
    said = {"status": "Success", "code": 200, "reason": "Invalid", "kind": "Odd", "details": {"name": "n"}}
    found = await answered(tmp_path, "Validating", lambda request: reviewed(request, allowed=False, status=said))
    text = 'admission webhook "h.example.com" denied the request: Invalid'
    about = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": text}
    assert found.body == {**about, "reason": "Invalid", "details": {"name": "n"}, "code": 400}


async def test_webhooks_see_again_what_others_changed(tmp_path: Path) -> None:
    """Those that ask for it are called once more after the change of another, even one of the second run."""
    asked_with: list[dict[str, str]] = []

    async def asked(request: web.Request) -> web.StreamResponse:
        review = (await request.json())["request"]
        asked_with.append(review["object"]["data"])
        step = {"op": "add", "path": f"/data/n{len(asked_with)}", "value": "x"}
        return reviewed(review, patch=steps(step), patchType="JSONPatch")

    async with hooked(tmp_path, asked) as config, serving() as api:
        hooks = [hook(config, f"{name}.example.com", reinvocationPolicy="IfNeeded") for name in ("a", "b")]
        await configure(api, "Mutating", *hooks)
        answer = await api.post(CONFIGMAPS, configmap("x", a="1"))
        assert [len(data) for data in asked_with] == [1, 2, 3, 4]
        assert sorted(answer.body["data"]) == ["a", "n1", "n2", "n3", "n4"]


async def test_a_policy_that_changes_something_has_all_run_again() -> None:
    """Those of IfNeeded do so themselves; those of Never are left alone."""
    for policy, expected in (("IfNeeded", "xyy"), ("Never", "xy")):
        async with serving() as api:
            written = "Object{data: {'a': object.data.a + 'y'}}"
            mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": written}}
            await bind(api, "Mutating", {"mutations": [mutation], "reinvocationPolicy": policy})
            answer = await api.post(CONFIGMAPS, configmap("x", a="x"))
            assert answer.body["data"] == {"a": expected}
