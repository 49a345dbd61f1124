"""An Ingress without a class gets the one that is marked as the default, and no other Ingress is touched."""

import pytest

from pynetes.apis.networking import ingressclasses, ingresses
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from pynetes.apiserver.admission.default_ingress_class import CLASS_ANNOTATION, DEFAULT_CLASS, DefaultIngressClass
from pynetes.apiserver.objects import Context
from pynetes.machinery.meta import Object
from tests.apiserver.fakes import ADMIN, context, obj


@pytest.fixture
def ctx() -> Context:
    return context()


def put(ctx: Context, name: str, *, default: str = "true", created: str = "2026-01-01T00:00:00Z") -> None:
    """An IngressClass."""
    made = obj(ingressclasses.RESOURCE, name, spec={"controller": "example.com/controller"})
    made["metadata"] |= {"annotations": {DEFAULT_CLASS[0]: default}, "creationTimestamp": created}
    ctx.objects.put(ingressclasses.RESOURCE, made)  # type: ignore[attr-defined]


async def admit(
    ctx: Context, *, operation: str = CREATE, annotations: dict[str, str] | None = None, **spec: str
) -> Object:
    """What becomes of an Ingress's spec."""
    new = obj(ingresses.RESOURCE, "web", "default", spec=dict(spec))
    new["metadata"]["annotations"] = annotations or {}
    attributes = Attributes(
        resource=ingresses.RESOURCE, obj=new, user=ADMIN, operation=operation, namespace="default", name="web"
    )
    await DefaultIngressClass().admit(ctx, attributes)
    found: Object = new["spec"]
    return found


async def test_the_default_class_is_filled_in(ctx: Context) -> None:
    """On create; the newest, where several are marked."""
    put(ctx, "plain", default="false")
    assert await admit(ctx) == {}
    put(ctx, "old")
    assert await admit(ctx) == {"ingressClassName": "old"}
    put(ctx, "new", created="2026-02-01T00:00:00Z")
    assert await admit(ctx) == {"ingressClassName": "new"}


async def test_who_says_what_class_it_is_keeps_it(ctx: Context) -> None:
    """By the field, by the older annotation, or by having been there before."""
    put(ctx, "default")
    assert await admit(ctx, ingressClassName="mine") == {"ingressClassName": "mine"}
    assert await admit(ctx, ingressClassName="") == {"ingressClassName": ""}
    assert await admit(ctx, annotations={CLASS_ANNOTATION: "mine"}) == {}
    assert await admit(ctx, operation=UPDATE) == {}
