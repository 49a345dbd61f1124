"""Keeps a VolumeAttributesClass that is deleted until no claim and no volume names it any more."""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.storage import volumeattributesclasses as classes
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.machinery.meta import Key, Object, is_deleting
from pynetes.machinery.resource import Resource

FINALIZER = "kubernetes.io/vac-protection"


def named(obj: Object) -> tuple[str, ...]:
    """The classes that a claim or a volume names: wanted, in effect, and in the middle of taking effect."""
    status = obj.get("status") or {}
    found = (
        obj["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return tuple({name for name in found if name})


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    class_ = await ctx.cached(classes.RESOURCE, key)
    if class_ is None:
        return None
    finalizers = class_["metadata"].get("finalizers") or []
    if not is_deleting(class_):
        kept = finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
    else:
        users = (*_users(ctx, claims.RESOURCE, key.name), *_users(ctx, volumes.RESOURCE, key.name))
        kept = finalizers if users else [name for name in finalizers if name != FINALIZER]
    if kept != finalizers:
        await ctx.update(classes.RESOURCE, class_ | {"metadata": class_["metadata"] | {"finalizers": kept}})
    return None


def _users(ctx: Context, resource: Resource, name: str) -> list[Object]:
    return list(ctx.listed(resource, index="attributes-class", value=name))


def on_user(_lookup: Lookup, new: Object, old: Object | None) -> Iterator[Key]:
    """The classes that an object names or named."""
    for name in {*named(new), *(named(old) if old else ())}:
        yield Key("", name)


CONTROLLER = Controller(
    name="volumeattributesclass-protection-controller",
    reconcile=reconcile,
    watches=(
        Watch(classes.RESOURCE),
        Watch(claims.RESOURCE, keys=on_user, indexes={"attributes-class": named}),
        Watch(volumes.RESOURCE, keys=on_user, indexes={"attributes-class": named}),
    ),
    rules=(
        Rule("persistentvolumeclaims,persistentvolumes", "get,list,watch"),
        Rule("volumeattributesclasses.storage.k8s.io", "get,list,update,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
