"""Subresources that are a part of the object: which part a write through them changes, and what it may not be.

pods/ephemeralcontainers, pods/resize, namespaces/finalize, certificatesigningrequests/approval. The rest of the body is
ignored, as upstream does; all else about the write (patches, ownership, generation) is generic.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pynetes.apis.certificates import certificatesigningrequests
from pynetes.apis.core import _pod_resize, _pod_validation, namespaces, pods
from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import gotext, types


@dataclass(frozen=True)
class Part:
    """graft(new, old, now) leaves in new, which is the client's, only what it may change; problems(new, old) yields
    what is wrong with the outcome."""

    resource: Resource
    subresource: str
    graft: Callable[[Object, Object, str], None]
    problems: Callable[[Object, Object], Iterator[field.Error]]


def _become(new: Object, old: Object, *, metadata: bool) -> None:
    """All is the old object's; metadata the client's, or of it just who wrote what."""
    given = new["metadata"]
    new.clear()
    new |= copy.deepcopy(old)
    if metadata:
        new["metadata"] = given
    else:
        new["metadata"] |= {name: given[name] for name in ("managedFields", "resourceVersion") if name in given}


def _graft_finalizers(new: Object, old: Object, now: str) -> None:
    finalizers = list((new.get("spec") or {}).get("finalizers") or ())
    _become(new, old, metadata=True)
    new["spec"] = {"finalizers": finalizers} if finalizers else {}


def _finalize_problems(new: Object, old: Object) -> Iterator[field.Error]:
    yield from namespaces.validate(new, old)


def _graft_conditions(new: Object, old: Object, now: str) -> None:
    given = (new.get("status") or {}).get("conditions") or ()
    _become(new, old, metadata=True)
    certificatesigningrequests.set_conditions(new, given, old, now)


def _approval_problems(new: Object, old: Object) -> Iterator[field.Error]:
    yield from certificatesigningrequests.validate_conditions(new, old, approval=True)


def _graft_ephemeral(new: Object, old: Object, now: str) -> None:
    containers = list((new.get("spec") or {}).get("ephemeralContainers") or ())
    _become(new, old, metadata=False)
    new["spec"]["ephemeralContainers"] = containers
    if not containers:
        del new["spec"]["ephemeralContainers"]


def _ephemeral_problems(new: Object, old: Object) -> Iterator[field.Error]:
    if _pod_resize.MIRROR in (old["metadata"].get("annotations") or {}):
        yield field.forbidden("[]", "static pods do not support ephemeral containers")
        return
    yield from _pod_validation.validate_own(new)
    now = {container["name"]: container for container in new["spec"].get("ephemeralContainers") or ()}
    for container in old["spec"].get("ephemeralContainers") or ():
        name = field.quote(container["name"])
        if container["name"] not in now:
            text = f"existing ephemeral containers {name} may not be removed\n"
            yield field.forbidden("spec.ephemeralContainers", text)
        elif now[container["name"]] != container:
            type_ = types.named("api.core.v1.EphemeralContainer")
            difference = gotext.diff(gotext.shown(type_, container), gotext.shown(type_, now[container["name"]]))
            text = f"existing ephemeral containers {name} may not be changed\n{difference}"
            yield field.forbidden("spec.ephemeralContainers", text)


def _graft_resources(new: Object, old: Object, now: str) -> None:
    spec = _pod_resize.grafted(new.get("spec") or {}, old["spec"])
    _become(new, old, metadata=False)
    new["spec"] = spec


PARTS = {
    (part.resource.group, part.resource.plural, part.subresource): part
    for part in (
        Part(namespaces.RESOURCE, "finalize", _graft_finalizers, _finalize_problems),
        Part(certificatesigningrequests.RESOURCE, "approval", _graft_conditions, _approval_problems),
        Part(pods.RESOURCE, "ephemeralcontainers", _graft_ephemeral, _ephemeral_problems),
        Part(pods.RESOURCE, "resize", _graft_resources, _pod_resize.problems),
    )
}
