"""Empties a namespace that is being deleted, then lets it go.

Pods go first, so that nothing that still runs loses its ConfigMaps, and everything else once they are gone. What is
left is told in the namespace's conditions; the namespace itself goes when its finalizer "kubernetes" is taken off.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pynetes.apis.core import namespaces, pods
from pynetes.client.context import ControllerContext
from pynetes.client.controller import Controller, Lookup, Rule, Watch
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _discovery as discovery
from pynetes.controllers import _pods as podinfo
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting
from pynetes.machinery.resource import Resource

FINALIZER = "kubernetes"
#: How soon to look again at content that only finalizers hold.
_AGAIN = timedelta(seconds=1)


@dataclass
class Remains:
    """What is left of a namespace's content after a round of deletion."""

    undiscovered: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    #: resource.group → objects left.
    objects: Counter[str] = field(default_factory=Counter)
    #: finalizer → objects that bear it.
    finalizers: Counter[str] = field(default_factory=Counter)
    #: How long pods may still take to end.
    grace: timedelta = timedelta()

    @property
    def nothing(self) -> bool:
        """Whether the namespace is empty, and known to be."""
        return not (self.undiscovered or self.errors or self.objects)


def note(remains: Remains, resource: Resource, left: Sequence[Object]) -> None:
    """Count the objects of a resource that are still there."""
    if not left:
        return
    remains.objects[f"{resource.plural}.{resource.group}"] += len(left)
    for obj in left:
        remains.finalizers.update(obj["metadata"].get("finalizers") or ())
        if resource == pods.RESOURCE and not podinfo.is_terminal(obj):
            seconds = obj["metadata"].get("deletionGracePeriodSeconds") or 0
            remains.grace = max(remains.grace, timedelta(seconds=seconds))


def told(old: Iterable[Object], remains: Remains, now: datetime) -> list[Object]:
    """The conditions that say what remains."""

    def counted(counts: Counter[str], phrase: str) -> str:
        return ", ".join(f"{name} {phrase.format(counts[name])}" for name in sorted(counts))

    failed, errors = remains.undiscovered, remains.errors
    table = (
        (
            "NamespaceDeletionDiscoveryFailure",
            ("DiscoveryFailed", f"Discovery failed for some groups, {len(failed)} failing: {', '.join(failed)}")
            if failed
            else None,
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            (
                "ContentDeletionFailed",
                f"Failed to delete all resource types, {len(errors)} remaining: {', '.join(errors)}",
            )
            if errors
            else None,
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        (
            "NamespaceContentRemaining",
            (
                "SomeResourcesRemain",
                f"Some resources are remaining: {counted(remains.objects, 'has {} resource instances')}",
            )
            if remains.objects
            else None,
            ("ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            (
                "SomeFinalizersRemain",
                "Some content in the namespace has finalizers remaining: "
                + counted(remains.finalizers, "in {} resource instances"),
            )
            if remains.finalizers
            else None,
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    )
    kept = list(old)
    for kind, problem, fine in table:
        reason, message = problem or fine
        kept = conditions.put(kept, kind, "True" if problem else "False", reason, message, now)
    return kept


async def reconcile(ctx: ControllerContext, key: Key) -> timedelta | None:
    namespace = await ctx.cached(namespaces.RESOURCE, key)
    if namespace is None or not is_deleting(namespace):
        return None
    namespace = await ctx.live(namespaces.RESOURCE, key)
    if namespace is None or not is_deleting(namespace):
        return None
    finalizers = (namespace.get("spec") or {}).get("finalizers") or []
    if FINALIZER not in finalizers:
        return None
    remains = await empty(ctx, key.name)
    status = (namespace.get("status") or {}) | {"phase": "Terminating"}
    status["conditions"] = told(status.get("conditions") or (), remains, ctx.now())
    if status != namespace.get("status"):
        namespace = await ctx.client.update(namespaces.RESOURCE, namespace | {"status": status}, subresource="status")
    if remains.nothing:
        spec = {"finalizers": [name for name in finalizers if name != FINALIZER]}
        await ctx.client.update(namespaces.RESOURCE, namespace | {"spec": spec}, subresource="finalize")
        return None
    return max(_AGAIN, remains.grace / 2)


async def empty(ctx: ControllerContext, namespace: str) -> Remains:
    """Delete what is in the namespace, pods first and the rest once no pod is left; say what remains."""
    remains = Remains()
    await _clear(ctx, namespace, pods.RESOURCE, remains)
    if remains.objects:
        return remains
    resources, remains.undiscovered = await discovery.discover(ctx.client)
    for resource in resources:
        if resource.namespaced and resource != pods.RESOURCE and {"delete", "list"} <= set(resource.verbs):
            await _clear(ctx, namespace, resource, remains)
    return remains


async def _clear(ctx: ControllerContext, namespace: str, resource: Resource, remains: Remains) -> None:
    try:
        left = (await ctx.client.list(resource, namespace=namespace)).items
        if left:
            await _delete(ctx, namespace, resource, left)
            left = (await ctx.client.list(resource, namespace=namespace)).items
    except StatusError as error:
        if not discovery.is_absent(error):
            remains.errors.append(f"{resource.qualified}: {error}")
        return
    note(remains, resource, left)


async def _delete(ctx: ControllerContext, namespace: str, resource: Resource, left: Sequence[Object]) -> None:
    if "deletecollection" in resource.verbs:
        await ctx.client.delete_collection(resource, namespace=namespace)
        return
    for obj in left:
        await ctx.delete(resource, obj)


def of_pod(lookup: Lookup, pod: Object, old: Object | None) -> Iterator[Key]:
    """The last pod of a dying namespace wakes it."""
    name = pod["metadata"]["namespace"]
    if old is pod and not lookup.listed(pods.RESOURCE, namespace=name):
        yield Key("", name)


CONTROLLER = Controller(
    name="namespace-controller",
    reconcile=reconcile,
    watches=(Watch(namespaces.RESOURCE), Watch(pods.RESOURCE, keys=of_pod)),
    workers=10,
    rules=(
        Rule("namespaces", "delete,get,list,watch"),
        Rule("namespaces/finalize,namespaces/status", "update"),
        Rule("*.*", "delete,deletecollection,get,list,watch"),
    ),
)
