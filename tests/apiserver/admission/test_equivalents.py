"""matchPolicy: a webhook or policy that names one version of a resource, and requests that come in another."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from tests.apiserver.crd.test_conversion import GROUP, converting, path, widget
from tests.apiserver.harness import API, CONFIGMAPS, configmap
from tests.apiserver.harness import api as serving
from tests.apiserver.hooks import hooked

ADMISSION = "admissionregistration.k8s.io/v1"
HPAS = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
EVENTS = "/api/v1/namespaces/default/events"
HPA = {
    "apiVersion": "autoscaling/v1",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web"},
    "spec": {
        "maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "targetCPUUtilizationPercentage": 70,
    },
}
EVENT = {
    "metadata": {"name": "e", "namespace": "default"},
    "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"},
    "message": "hello",
    "reason": "Said",
    "type": "Normal",
}


class Reviewer:
    """Allows everything, changes what it is told to, and keeps what it was asked."""

    def __init__(self, *steps: dict[str, Any]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._steps = list(steps)

    async def answer(self, request: web.Request) -> web.Response:
        """One review."""
        review = await request.json()
        self.asked.append(review["request"])
        response: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": True}
        if self._steps:
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(self._steps)).decode()}
        return web.json_response({**review, "request": None, "response": response})


@asynccontextmanager
async def mutated(folder: Path, reviewer: Reviewer, rule: dict[str, Any], **hook: str) -> AsyncIterator[API]:
    """A server with one mutating webhook that has this rule."""
    async with serving() as api, hooked(folder, reviewer.answer) as config:
        about = {
            "name": "h.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": config,
            "rules": [{"operations": ["CREATE"], **rule}],
            **hook,
        }
        kind = {"apiVersion": ADMISSION, "kind": "MutatingWebhookConfiguration", "metadata": {"name": "h"}}
        made = await api.post(f"/apis/{ADMISSION}/mutatingwebhookconfigurations", {**kind, "webhooks": [about]})
        assert made.status == 201
        await api.server.cacher.fresh()
        yield api


V2 = {"apiGroups": ["autoscaling"], "apiVersions": ["v2"], "resources": ["horizontalpodautoscalers"]}


async def test_another_version_is_asked_about_in_the_rules_own(tmp_path: Path) -> None:
    """The object is converted, there and back; what was requested is told beside it."""
    target = {"op": "replace", "path": "/spec/metrics/0/resource/target/averageUtilization", "value": 55}
    reviewer = Reviewer(target)
    async with mutated(tmp_path, reviewer, V2) as api:
        answer = await api.post(HPAS, HPA)
    assert (answer.status, answer.body["apiVersion"]) == (201, "autoscaling/v1")
    assert answer.body["spec"]["targetCPUUtilizationPercentage"] == 55
    (asked,) = reviewer.asked
    assert (asked["kind"]["version"], asked["resource"]["version"]) == ("v2", "v2")
    assert (asked["requestKind"]["version"], asked["requestResource"]["version"]) == ("v1", "v1")
    assert asked["object"]["apiVersion"] == "autoscaling/v2"
    assert asked["object"]["spec"]["metrics"][0]["resource"]["name"] == "cpu"


async def test_exact_means_exact(tmp_path: Path) -> None:
    """With matchPolicy Exact another version passes unasked."""
    reviewer = Reviewer()
    async with mutated(tmp_path, reviewer, V2, matchPolicy="Exact") as api:
        assert (await api.post(HPAS, HPA)).status == 201
        assert reviewer.asked == []
        assert (
            await api.post(HPAS.replace("v1", "v2"), {**HPA, "apiVersion": "autoscaling/v2", **V2_SPEC})
        ).status == 201
    assert [asked["kind"]["version"] for asked in reviewer.asked] == ["v2"]


V2_SPEC = {
    "metadata": {"name": "two"},
    "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
}


async def test_another_group_with_the_same_storage(tmp_path: Path) -> None:
    """Events of core are events of events.k8s.io too."""
    reviewer = Reviewer({"op": "replace", "path": "/note", "value": "changed"})
    rule = {"apiGroups": ["events.k8s.io"], "apiVersions": ["v1"], "resources": ["events"]}
    async with mutated(tmp_path, reviewer, rule) as api:
        answer = await api.post(EVENTS, EVENT)
        assert (await api.post(CONFIGMAPS, configmap("x"))).status == 201
    assert (answer.status, answer.body["apiVersion"], answer.body["message"]) == (201, "v1", "changed")
    (asked,) = reviewer.asked
    assert asked["object"]["regarding"]["name"] == "web"
    assert (asked["resource"]["group"], asked["requestResource"]["group"]) == ("events.k8s.io", "")


async def test_a_policy_sees_its_own_version_of_custom_resources(tmp_path: Path) -> None:
    """Even where a webhook has to convert them first; what the request was can be asked about."""
    async with converting(tmp_path) as (api, _):
        rule = {"apiGroups": [GROUP], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["widgets"]}
        spec = {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {"expression": "object.spec.length < 5"},
                {"expression": "request.kind.version == 'v1' && request.requestKind.version == 'v2'"},
            ],
        }
        policy = {"apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": spec}
        assert (await api.post(f"/apis/{ADMISSION}/validatingadmissionpolicies", policy)).status == 201
        binding = {**policy, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "b"}}
        binding["spec"] = {"policyName": "p", "validationActions": ["Deny"]}
        assert (await api.post(f"/apis/{ADMISSION}/validatingadmissionpolicybindings", binding)).status == 201
        await api.server.cacher.fresh()
        async with asyncio.timeout(10):
            assert (await api.post(path("v2"), widget("v2", "small", size=3))).status == 201
            refused = await api.post(path("v2"), widget("v2", "large", size=7))
        assert refused.status == 422
        assert "object.spec.length < 5" in refused.body["message"]


async def test_a_mutating_policy_changes_its_own_version() -> None:
    """What it makes of the object is in the version that was asked for again."""
    async with serving() as api:
        expression = "Object{spec: Object.spec{minReplicas: 2}}"
        mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
        spec = {
            "matchConstraints": {"resourceRules": [{**V2, "operations": ["CREATE"]}]},
            "mutations": [mutation],
            "reinvocationPolicy": "Never",
        }
        policy = {"apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": spec}
        assert (await api.post(f"/apis/{ADMISSION}/mutatingadmissionpolicies", policy)).status == 201
        binding = {**policy, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": "p"}}
        assert (await api.post(f"/apis/{ADMISSION}/mutatingadmissionpolicybindings", binding)).status == 201
        await api.server.cacher.fresh()
        answer = await api.post(HPAS, HPA)
        assert (answer.status, answer.body["apiVersion"], answer.body["spec"]["minReplicas"]) == (
            201,
            "autoscaling/v1",
            2,
        )
        assert answer.body["spec"]["targetCPUUtilizationPercentage"] == 70
