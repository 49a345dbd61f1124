"""Binding and evicting pods."""

import copy

import pytest

from pynetes.apis.core import pods
from pynetes.apis.policy import poddisruptionbudgets
from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry import binding, eviction
from pynetes.apiserver.registry.call import Call
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from tests.apiserver.fakes import ADMIN, context, obj

KEY = Key("shop", "web")


@pytest.fixture
def ctx() -> Context:
    return context()


def put(ctx: Context, **status: object) -> Object:
    spec = {"containers": [{"name": "c"}]}
    made = obj(pods.RESOURCE, "web", "shop", metadata={"labels": {"app": "web"}}, spec=spec, status=dict(status))
    return ctx.objects.put(pods.RESOURCE, made)  # type: ignore[attr-defined, no-any-return]


async def admit(_: Attributes) -> None:
    """No policies here."""


def call(subresource: str, body: Object) -> Call:
    return Call(
        user=ADMIN, verb="create", resource=pods.RESOURCE, subresource=subresource, key=KEY, body=body, admit=admit
    )


def bind(node: str, **metadata: object) -> Call:
    return call("binding", {"metadata": {"name": "web", **metadata}, "target": {"kind": "Node", "name": node}})


async def test_binding(ctx: Context) -> None:
    """The pod has a node and a condition, and what the binding brings along."""
    put(ctx)
    answer = await binding.create(ctx, bind("n1", labels={"zone": "a"}))
    assert answer.code == 201
    pod = ctx.objects.get(pods.RESOURCE, KEY) or {}
    assert pod["spec"]["nodeName"] == "n1"
    assert pod["metadata"]["labels"] == {"app": "web", "zone": "a"}
    assert pod["status"]["conditions"][0]["type"] == "PodScheduled"


async def test_bound_once(ctx: Context) -> None:
    """The second scheduler loses."""
    put(ctx)
    await binding.create(ctx, bind("n1"))
    with pytest.raises(StatusError, match='already assigned to node "n1"') as caught:
        await binding.create(ctx, bind("n2"))
    assert caught.value.reason == "Conflict"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, "is being deleted"),
        ({"spec": {"schedulingGates": [{"name": "g"}]}}, "non-empty .spec.schedulingGates"),
    ],
)
async def test_not_to_be_bound(ctx: Context, changed: Object, text: str) -> None:
    """Deleted and gated pods get no node."""
    pod = copy.deepcopy(put(ctx))
    for part, values in changed.items():
        pod[part] |= values
    ctx.objects.put(pods.RESOURCE, pod)  # type: ignore[attr-defined]
    with pytest.raises(StatusError, match=text):
        await binding.create(ctx, bind("n1"))


async def test_binding_of_a_namesake(ctx: Context) -> None:
    """A binding made for a pod that was replaced since does not bind its successor."""
    put(ctx)
    with pytest.raises(StatusError, match="UID in precondition"):
        await binding.create(ctx, bind("n1", uid="another"))


def budget(ctx: Context, allowed: int, **status: object) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    given = {"observedGeneration": 1, "disruptionsAllowed": allowed, "desiredHealthy": 1, "currentHealthy": 1, **status}
    made = obj(poddisruptionbudgets.RESOURCE, "b", "shop", metadata={"generation": 1}, spec=spec, status=given)
    ctx.objects.put(poddisruptionbudgets.RESOURCE, made)  # type: ignore[attr-defined]


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


async def test_eviction_charges_the_budget(ctx: Context) -> None:
    """The budget knows of the eviction before the pod is gone, so two at once cannot both pass."""
    put(ctx, **READY)
    budget(ctx, 1)
    await eviction.create(ctx, call("eviction", {"metadata": {"name": "web"}}))
    assert ctx.objects.get(pods.RESOURCE, KEY) is None
    stored = ctx.objects.get(poddisruptionbudgets.RESOURCE, Key("shop", "b")) or {}
    assert stored["status"]["disruptionsAllowed"] == 0
    assert list(stored["status"]["disruptedPods"]) == ["web"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({}, "The disruption budget b needs 1 healthy pods and has 1 currently"),
        ({"observedGeneration": 0}, "The disruption budget b is still being processed by the server."),
    ],
)
async def test_spent_budget(ctx: Context, status: Object, text: str) -> None:
    """429 with a cause, and the pod stays."""
    put(ctx, **READY)
    budget(ctx, 0, **status)
    with pytest.raises(StatusError) as caught:
        await eviction.create(ctx, call("eviction", {"metadata": {"name": "web"}}))
    assert caught.value.code == 429
    assert caught.value.status["details"]["causes"] == [{"reason": "DisruptionBudget", "message": text}]
    assert ctx.objects.get(pods.RESOURCE, KEY) is not None


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
async def test_pods_that_disrupt_nothing(ctx: Context, phase: str) -> None:
    """What does not serve may go whatever the budget says."""
    put(ctx, phase=phase)
    budget(ctx, 0)
    await eviction.create(ctx, call("eviction", {"metadata": {"name": "web"}}))
    assert ctx.objects.get(pods.RESOURCE, KEY) is None
