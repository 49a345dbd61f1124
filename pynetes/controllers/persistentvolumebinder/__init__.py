"""Binds claims to volumes, asks for new volumes where none fits, and says what becomes of volumes without their claim.

Claims and volumes point to each other, and are written one after the other. Every step is decided from what both say,
so a binder that is stopped in the middle goes on where it was: a volume first says for whom it is, then the claim says
what it has, and only then is the claim done. Whoever provisions and deletes volumes does so outside, by annotations.
"""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.storage import storageclasses
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers.persistentvolumebinder import claim as of_claim
from pynetes.controllers.persistentvolumebinder import metrics
from pynetes.controllers.persistentvolumebinder import volume as of_volume
from pynetes.machinery.meta import Key, Object, key_of


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    """A key with a namespace is a claim's, one without a volume's."""
    if key.namespace:
        claim = await ctx.cached(claims.RESOURCE, key)
        if claim is not None:
            await of_claim.sync(ctx, claim)
        return None
    volume = await ctx.cached(volumes.RESOURCE, key)
    if volume is not None:
        await of_volume.sync(ctx, volume)
    return None


def by_volume(claim: Object) -> tuple[str, ...]:
    """Indexes claims by the volume that they name."""
    return (claim["spec"]["volumeName"],) if claim["spec"].get("volumeName") else ()


def waiting(claim: Object) -> tuple[str, ...]:
    """Indexes claims without a volume by their class."""
    return () if claim["spec"].get("volumeName") else (f"={binding.class_of(claim)}",)


def on_claim(_lookup: Lookup, claim: Object, old: Object | None) -> Iterator[Key]:
    """A claim, and the volume that it names or named."""
    yield key_of(claim)
    for each in (claim, old):
        if each is not None and each["spec"].get("volumeName"):
            yield Key("", each["spec"]["volumeName"])


def on_volume(lookup: Lookup, volume: Object, old: Object | None) -> Iterator[Key]:
    """A volume, the claim that it is for, and those that wait for one like it."""
    yield key_of(volume)
    ref = volume["spec"].get("claimRef")
    if ref:
        yield Key(ref.get("namespace") or "default", ref["name"])
    for claim in lookup.listed(claims.RESOURCE, index="volume", value=volume["metadata"]["name"]):
        yield key_of(claim)
    became = old is None or _phase(old) != "Available"
    if not ref and _phase(volume) == "Available" and became:
        for claim in lookup.listed(claims.RESOURCE, index="waiting", value=f"={binding.class_of(volume)}"):
            yield key_of(claim)


def _phase(volume: Object) -> str:
    return str((volume.get("status") or {}).get("phase") or "")


def on_class(lookup: Lookup, class_: Object, _old: Object | None) -> Iterator[Key]:
    """The claims that wait for a class, or for any to be the default."""
    for name in (class_["metadata"]["name"], ""):
        for claim in lookup.listed(claims.RESOURCE, index="waiting", value=f"={name}"):
            yield key_of(claim)


CONTROLLER = Controller(
    name="persistentvolume-binder-controller",
    service_account="persistent-volume-binder",
    reconcile=reconcile,
    shows=metrics.SHOWS,
    watches=(
        Watch(claims.RESOURCE, keys=on_claim, indexes={"volume": by_volume, "waiting": waiting}),
        Watch(volumes.RESOURCE, keys=on_volume),
        Watch(storageclasses.RESOURCE, keys=on_class),
    ),
    rules=(
        Rule("persistentvolumes", "create,delete,get,list,update,watch"),
        Rule("persistentvolumes/status", "update"),
        Rule("persistentvolumeclaims", "get,list,update,watch"),
        Rule("persistentvolumeclaims/status", "update"),
        Rule("storageclasses.storage.k8s.io", "get,list,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
