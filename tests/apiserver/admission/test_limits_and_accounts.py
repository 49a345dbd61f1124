"""What LimitRanges, accounts with Secrets of their own and default classes refuse, in upstream's words."""

from typing import Any

import pytest

from pynetes.apis.core import limitranges, namespaces, pods, serviceaccounts
from pynetes.apis.scheduling import priorityclasses
from pynetes.apiserver.admission.attributes import UPDATE
from pynetes.apiserver.objects import Context
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from tests.apiserver.admission.test_policies import admit, pod, put
from tests.apiserver.fakes import context, obj


@pytest.fixture
def ctx() -> Context:
    made = context()
    put(made, namespaces.RESOURCE, "shop", status={"phase": "Active"})
    put(made, serviceaccounts.RESOURCE, "default", "shop")
    return made


async def refusal(ctx: Context, new: Object, **parts: Any) -> str:
    with pytest.raises(StatusError) as raised:
        await admit(ctx, new, **parts)
    return str(raised.value).partition("forbidden: ")[2]


def containers(*limits: Object, **more: Any) -> list[Object]:
    return [
        {"name": f"c{index}", "image": "i", "resources": {"limits": limit, "requests": limit}, **more}
        for index, limit in enumerate(limits)
    ]


async def test_the_same_problem_twice_is_said_once(ctx: Context) -> None:
    """Two containers above the same maximum by the same amount have one message, without brackets."""
    put(ctx, limitranges.RESOURCE, "l", "shop", spec={"limits": [{"type": "Container", "max": {"cpu": "1"}}]})
    new = pod(containers=containers({"cpu": "2"}, {"cpu": "2"}))
    assert await refusal(ctx, new) == "maximum cpu usage per Container is 1, but limit is 2"
    new = pod(containers=containers({"cpu": "2"}, {"cpu": "3"}))
    first, second = (f"maximum cpu usage per Container is 1, but limit is {amount}" for amount in "23")
    assert await refusal(ctx, new) == f"[{first}, {second}]"


async def test_one_range_is_broken_at_a_time(ctx: Context) -> None:
    """Each LimitRange is judged by itself."""
    for name in ("a", "b"):
        put(ctx, limitranges.RESOURCE, name, "shop", spec={"limits": [{"type": "Pod", "max": {"cpu": "1"}}]})
    new = pod(containers=containers({"cpu": "2"}))
    assert await refusal(ctx, new) == "maximum cpu usage per Pod is 1, but limit is 2"


async def test_sidecars_and_the_pods_own_budget_count(ctx: Context) -> None:
    """A sidecar runs beside the containers; a budget of the pod stands for all of them."""
    put(ctx, limitranges.RESOURCE, "l", "shop", spec={"limits": [{"type": "Pod", "max": {"cpu": "2"}}]})
    sidecar = containers({"cpu": "1"}, restartPolicy="Always")
    sidecar[0]["name"] = "side"
    new = pod(initContainers=sidecar, containers=containers({"cpu": "2"}))
    assert await refusal(ctx, new) == "maximum cpu usage per Pod is 2, but limit is 3"
    own = {"limits": {"cpu": "5"}, "requests": {"cpu": "1"}}
    new = pod(resources=own, containers=containers({"cpu": "1"}))
    assert await refusal(ctx, new) == "maximum cpu usage per Pod is 2, but limit is 5"


def reading(secret: str, name: str = "c") -> Object:
    reference = {"secretKeyRef": {"name": secret, "key": "k"}}
    return {"name": name, "image": "i", "env": [{"name": "E", "valueFrom": reference}]}


@pytest.mark.parametrize(
    ("spec", "subject"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "x"}}]}, 'volume with secret.secretName="x"'),
        ({"containers": [reading("x")]}, 'container c with envVar E referencing secret.secretName="x"'),
        (
            {"initContainers": [reading("x", "i")]},
            'init container i with envVar E referencing secret.secretName="x"',
        ),
    ],
)
async def test_mountable_secrets(ctx: Context, spec: Object, subject: str) -> None:
    """With the annotation a pod may use its account's Secrets only."""
    account = obj(serviceaccounts.RESOURCE, "own", "shop")
    account["metadata"]["annotations"] = {"kubernetes.io/enforce-mountable-secrets": "true"}
    account["secrets"] = [{"name": "mine"}]
    ctx.objects.put(serviceaccounts.RESOURCE, account)  # type: ignore[attr-defined]
    await admit(ctx, pod(serviceAccountName="own", containers=[reading("mine")]))
    text = await refusal(ctx, pod(serviceAccountName="own", **spec))
    assert text == f"{subject} is not allowed because service account own does not reference that secret"
    text = await refusal(ctx, pod(serviceAccountName="own", imagePullSecrets=[{"name": "p"}]))
    assert text.startswith('imagePullSecrets[0].name="p" is not allowed because service account own does not')
    await admit(ctx, pod(**spec))
    late = pod(serviceAccountName="own", ephemeralContainers=[reading("x", "e")])
    text = await refusal(
        ctx, late, resource=pods.RESOURCE, operation=UPDATE, old=late, subresource="ephemeralcontainers"
    )
    assert text.startswith('ephemeral container e with envVar E referencing secret.secretName="x" is not allowed')


async def test_a_default_class_cannot_be_made_anew(ctx: Context) -> None:
    """Creating the default class once more is refused for being a second default, before it is found to exist."""
    put(ctx, priorityclasses.RESOURCE, "d", value=1, globalDefault=True)
    new = obj(priorityclasses.RESOURCE, "d", value=1, globalDefault=True)
    text = await refusal(ctx, new, resource=priorityclasses.RESOURCE, namespace="")
    assert text == "PriorityClass d is already marked as default. Only one default can exist"
    await admit(ctx, new, resource=priorityclasses.RESOURCE, namespace="", operation=UPDATE, old=new)
