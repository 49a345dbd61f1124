"""Dependents of a controller: whose they are, adopting orphans, releasing strangers, making new ones.

An object belongs to the controller that its controller reference names by UID. One that matches the selector and has
no such reference is adopted; one that has ours and no longer matches is released.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial

from pynetes.client.controller import Context, Lookup, Watch
from pynetes.component import tasks
from pynetes.machinery.errors import StatusError
from pynetes.machinery.labels import Selector
from pynetes.machinery.meta import Key, Object, controller_of, is_deleting, key_of, uid_of
from pynetes.machinery.resource import Resource

#: Batches of creates double from one, so that a quota or an admission plugin that refuses all is asked only once.
_LARGEST_BATCH = 500
#: The index of objects without controller, by namespace: adopting looks at these, not at everybody's.
_ORPHANS = "orphans"


def reference(resource: Resource, owner: Object, *, controller: bool = True) -> Object:
    """An owner reference to owner, as a controller's children bear it."""
    ref: Object = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
    }
    if controller:
        ref |= {"controller": True, "blockOwnerDeletion": True}
    return ref


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """Whether obj's controller reference has owner's UID."""
    ref = controller_of(obj)
    return ref is not None and ref["uid"] == uid_of(owner)


async def claim(
    ctx: Context, resource: Resource, owner: Object, children: Resource, selector: Selector
) -> list[Object]:
    """The children that are owner's after adopting and releasing what the selector says."""
    namespace = owner["metadata"]["namespace"]
    mine: list[Object] = []
    may_adopt: bool | None = None
    candidates = [
        *ctx.listed(children, index="controller", value=uid_of(owner)),
        *ctx.listed(children, index=_ORPHANS, value=namespace),
    ]
    for child in candidates:
        ref = controller_of(child)
        matches = selector.matches(child["metadata"].get("labels"))
        if ref is not None:
            if ref["uid"] != uid_of(owner):
                continue
            if matches:
                mine.append(child)
            elif not is_deleting(owner):
                await _release(ctx, children, child, owner)
            continue
        if not matches or is_deleting(owner) or is_deleting(child):
            continue
        if may_adopt is None:
            may_adopt = await _may_adopt(ctx, resource, owner)
        if may_adopt and (adopted := await _adopt(ctx, resource, owner, children, child)):
            mine.append(adopted)
    return mine


async def _may_adopt(ctx: Context, resource: Resource, owner: Object) -> bool:
    """Only an owner that still lives may adopt: the cache may not have seen its deletion yet."""
    fresh = await ctx.live(resource, key_of(owner))
    return fresh is not None and uid_of(fresh) == uid_of(owner) and not is_deleting(fresh)


async def _adopt(ctx: Context, resource: Resource, owner: Object, children: Resource, child: Object) -> Object | None:
    refs = [reference(resource, owner)]
    return await _patch(ctx, children, child, {"metadata": {"ownerReferences": refs, "uid": uid_of(child)}})


async def _release(ctx: Context, children: Resource, child: Object, owner: Object) -> None:
    refs = [{"$patch": "delete", "uid": uid_of(owner)}]
    await _patch(ctx, children, child, {"metadata": {"ownerReferences": refs, "uid": uid_of(child)}})


async def _patch(ctx: Context, children: Resource, child: Object, patch: Object) -> Object | None:
    try:
        return await ctx.patch(children, key_of(child), patch, kind="strategic")
    except StatusError as error:
        # Gone, or another object of that name: the UID in the patch did not fit. Either way it is not ours.
        if error.reason in ("NotFound", "Invalid", "Conflict"):
            return None
        raise


def pod_from_template(template: Object, resource: Resource, owner: Object) -> Object:
    """A pod as the template wants it, controlled by owner and named after it."""
    wanted = template.get("metadata") or {}
    metadata: Object = {
        "generateName": f"{owner['metadata']['name']}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [reference(resource, owner)],
    }
    metadata |= {name: deepcopy(wanted[name]) for name in ("labels", "annotations", "finalizers") if wanted.get(name)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": deepcopy(template["spec"])}


async def slow_start(count: int, create: Callable[[int], Awaitable[None]]) -> tuple[int, StatusError | None]:
    """Call create(0 … count-1) in doubling batches, ending after the batch in which one failed.

    Returns how many succeeded and the first error.
    """
    done, batch = 0, 1
    while done < count:
        size = min(batch, count - done, _LARGEST_BATCH)
        errors: list[StatusError] = []
        works: list[Callable[[], Awaitable[None]]] = [
            partial(_attempt, create, number, errors) for number in range(done, done + size)
        ]
        await tasks.gather_limited(works, limit=size)
        done += size - len(errors)
        if errors:
            return done, errors[0]
        batch *= 2
    return done, None


async def _attempt(create: Callable[[int], Awaitable[None]], number: int, errors: list[StatusError]) -> None:
    try:
        await create(number)
    except StatusError as error:
        errors.append(error)


async def create_pod(ctx: Context, pods: Resource, owner: Object, pod: Object) -> Object:
    """Create the pod and tell of it in an event about owner."""
    try:
        made = await ctx.create(pods, pod)
    except StatusError as error:
        if not namespace_is_terminating(error):
            ctx.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
        raise
    ctx.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
    return made


async def delete_pod(ctx: Context, pods: Resource, owner: Object, pod: Object) -> None:
    """Delete the pod and tell of it in an event about owner."""
    try:
        await ctx.delete(pods, pod)
    except StatusError as error:
        ctx.event(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
        raise
    ctx.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")


def namespace_is_terminating(error: StatusError) -> bool:
    """Whether a create failed because the namespace goes away, which no retry will change."""
    causes: Sequence[Object] = (error.status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def orphans(children: Resource, resource: Resource, selector: Callable[[Object], Selector]) -> Watch:
    """The watch that `claim` needs: wakes every owner whose selector matches a child without controller."""

    def wake(lookup: Lookup, child: Object, _old: Object | None) -> Iterator[Key]:
        if controller_of(child) is not None or is_deleting(child):
            return
        for owner in lookup.listed(resource, namespace=child["metadata"].get("namespace") or ""):
            if selector(owner).matches(child["metadata"].get("labels")):
                yield key_of(owner)

    return Watch(children, keys=wake, indexes={_ORPHANS: _orphaned_in})


def _orphaned_in(child: Object) -> tuple[str, ...]:
    return () if controller_of(child) is not None else (child["metadata"].get("namespace") or "",)
