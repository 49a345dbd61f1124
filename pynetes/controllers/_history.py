"""The templates that a StatefulSet or DaemonSet had, kept as ControllerRevisions for rollout history and undo."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from pynetes.apis.apps import controllerrevisions
from pynetes.client.controller import Context
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.controllers import _templates as templates
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object, key_of
from pynetes.machinery.resource import Resource

HASH_LABEL = "controller-revision-hash"


class Collision(NamedTuple):
    """The name of a new revision is taken by another; the owner's collisionCount has to move."""


def data_of(owner: Object) -> Object:
    """What a revision records: a patch that puts the template back."""
    return {"spec": {"template": owner["spec"]["template"] | {"$patch": "replace"}}}


def build(resource: Resource, owner: Object, number: int, collisions: int) -> Object:
    """The revision of the owner's present template."""
    data = templates.canonical(data_of(owner))
    digest = templates.hash_of(data, collisions)
    labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{owner['metadata']['name']}-{digest}",
            "namespace": owner["metadata"]["namespace"],
            "labels": labels | {HASH_LABEL: digest},
            "ownerReferences": [owned.reference(resource, owner)],
        },
        "data": data,
        "revision": number,
    }


def ordered(revisions: Sequence[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(revisions, key=lambda each: (each["revision"], podinfo.created(each), each["metadata"]["name"]))


def of(ctx: Context, owner: Object) -> list[Object]:
    """The owner's revisions, oldest first."""
    found = ctx.listed(controllerrevisions.RESOURCE, index="controller", value=owner["metadata"]["uid"])
    return ordered(found)


async def current(ctx: Context, resource: Resource, owner: Object, revisions: Sequence[Object]) -> Object | Collision:
    """The revision of the present template, made or moved to the front where it is not there already."""
    collisions = (owner.get("status") or {}).get("collisionCount") or 0
    number = max((each["revision"] for each in revisions), default=0) + 1
    wanted = build(resource, owner, number, collisions)
    same = next((each for each in reversed(revisions) if _equal(each, wanted)), None)
    if same is not None:
        if same["revision"] == number - 1:
            return same
        return await ctx.update(controllerrevisions.RESOURCE, same | {"revision": number})
    try:
        return await ctx.create(controllerrevisions.RESOURCE, wanted)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
    there = await ctx.live(controllerrevisions.RESOURCE, key_of(wanted))
    ours = there is not None and owned.is_controlled_by(there, owner) and _equal(there, wanted)
    return there if there is not None and ours else Collision()


def _equal(one: Object, other: Object) -> bool:
    return bool(templates.canonical(one.get("data")) == templates.canonical(other.get("data")))


def surplus(owner: Object, revisions: Sequence[Object], in_use: Collection[str]) -> list[Object]:
    """The oldest revisions beyond revisionHistoryLimit that nothing uses; in_use has names or hashes."""
    limit = owner["spec"].get("revisionHistoryLimit")
    idle = [each for each in ordered(revisions) if not _used(each, in_use)]
    return idle[: max(0, len(idle) - (10 if limit is None else limit))]


def _used(revision: Object, in_use: Collection[str]) -> bool:
    labels = revision["metadata"].get("labels") or {}
    return revision["metadata"]["name"] in in_use or labels.get(HASH_LABEL) in in_use
