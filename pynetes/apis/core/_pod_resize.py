"""Resizing a pod in place: cpu and memory of its containers, and of the pod as a whole, and nothing else (KEP-1287)."""

import copy
from collections.abc import Iterator
from typing import Any

from pynetes.apis.core import _pod_resources, _pod_validation
from pynetes.machinery import field
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

MIRROR = "kubernetes.io/config.mirror"
_LISTS = ("containers", "initContainers")
_RESIZED = ("cpu", "memory")
_ONLY = "only cpu and memory resources"


def grafted(new: Object, old: Object) -> Object:
    """The old spec with the new one's resources; the new one as it is where containers came, went or moved, which
    `problems` then says."""
    if any(len(new.get(kind) or ()) != len(old.get(kind) or ()) for kind in _LISTS):
        return new
    spec = copy.deepcopy(old)
    for kind in _LISTS:
        given = new.get(kind) or []
        if [item.get("name") for item in given] != [item.get("name") for item in old.get(kind) or ()]:
            spec[kind] = given
            continue
        for container, wanted in zip(spec.get(kind) or (), given, strict=True):
            _take(container, wanted, "resources")
            _take(container, wanted, "resizePolicy")
    _take(spec, new, "resources")
    return spec


def _take(target: Object, source: Object, member: str) -> None:
    if source.get(member) is None:
        target.pop(member, None)
    else:
        target[member] = source[member]


def problems(new: Object, old: Object) -> Errors:
    """What is wrong with a resized pod."""
    spec, before = new["spec"], old["spec"]
    if MIRROR in (old["metadata"].get("annotations") or {}):
        yield field.forbidden("[]", "static pods cannot be resized")
        return
    if (before.get("os") or {}).get("name") == "windows":
        yield field.forbidden("[]", "windows pods cannot be resized")
        return
    yield from _pod_validation.validate_own(new)
    quality = (old.get("status") or {}).get("qosClass") or _pod_resources.qos_class(before)
    if quality != _pod_resources.qos_class(spec):
        yield field.invalid("spec", quality, "Pod QOS Class may not change as a result of resizing")
    if not _node_resizes(old.get("status") or {}):
        yield field.forbidden("spec", "Pod running on node without support for resize")
    if _has_own(spec) or _has_own(before):
        yield from _own_problems(spec.get("resources"), before.get("resources"))
    if (old.get("status") or {}).get("nodeAllocatableResourceClaimStatuses"):
        yield field.forbidden("spec", "pods with node allocatable resource claims cannot be resized")
    moved = list(_order_problems(spec, before))
    yield from moved
    if not moved:
        yield from _container_problems(spec, before)


def _node_resizes(status: Object) -> bool:
    """A kubelet that can tells the resources of what it runs."""
    for container in status.get("containerStatuses") or ():
        if (container.get("state") or {}).get("running") is not None:
            return container.get("resources") is not None
    return True


def _has_own(spec: Object) -> bool:
    own = spec.get("resources") or {}
    return bool(own.get("requests") or own.get("limits"))


def _own_problems(new: Object | None, old: Object | None) -> Errors:
    path = "spec.resources"
    if old is not None and new is None:
        yield field.forbidden(path, "pod-level resources cannot be removed")
        return
    for side in ("requests", "limits"):
        if _removed(new, old, side):
            yield field.forbidden(f"{path}.{side}", f"pod-level resource {side} cannot be removed")
    if _others(new) != _others(old):
        yield field.forbidden("spec", f"{_ONLY} are mutable at pod-level")


def _removed(new: Object | None, old: Object | None, side: str) -> bool:
    return bool(((old or {}).get(side) or {}).keys() - ((new or {}).get(side) or {}).keys())


def _others(resources: Object | None) -> Object:
    """What of resources may not change; nothing said and nothing in it are the same."""
    found: dict[str, Any] = {}
    for name, value in (resources or {}).items():
        if name in ("requests", "limits"):
            value = {key: amount for key, amount in (value or {}).items() if key not in _RESIZED}
        if value:
            found[name] = value
    return found


def _order_problems(new: Object, old: Object) -> Errors:
    for kind in _LISTS:
        now, then = new.get(kind) or (), old.get(kind) or ()
        if len(now) != len(then):
            yield field.forbidden(f"spec.{kind}", f"{kind} may not be added or removed on resize")
            continue
        for index, (item, was) in enumerate(zip(now, then, strict=True)):
            if item.get("name") != was.get("name"):
                place = f"spec.{kind}[{index}].name"
                yield field.forbidden(place, f"{kind} may not be renamed or reordered on resize")


def _container_problems(new: Object, old: Object) -> Errors:
    for kind in reversed(_LISTS):
        for index, (item, was) in enumerate(zip(new.get(kind) or (), old.get(kind) or (), strict=True)):
            for side in ("requests", "limits"):
                if _removed(item.get("resources"), was.get("resources"), side):
                    path = f"spec.{kind}[{index}].resources.{side}"
                    yield field.forbidden(path, f"resource {side} cannot be removed")
    for item, was in zip(new.get("containers") or (), old.get("containers") or (), strict=True):
        if _rest(item) != _rest(was):
            yield field.forbidden("spec", f"{_ONLY} are mutable")
    for index, (item, was) in enumerate(
        zip(new.get("initContainers") or (), old.get("initContainers") or (), strict=True)
    ):
        path = f"spec.initContainers[{index}]"
        if _rest(item) != _rest(was):
            yield field.forbidden(path, f"{_ONLY} for init or sidecar containers are mutable")
        policies = [policy.get("restartPolicy") for policy in item.get("resizePolicy") or ()]
        if item != was and item.get("restartPolicy") != "Always" and "RestartContainer" in policies:
            detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
            yield field.forbidden(path, detail)


def _rest(container: Object) -> Object:
    """A container without what a resize may change."""
    return {**container, "resources": _others(container.get("resources"))}
