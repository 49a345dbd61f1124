"""Subresources that are a part of the object: what they may change, and the generic get and update around them.

pods/ephemeralcontainers, pods/resize, namespaces/finalize, certificatesigningrequests/approval. Everything in the body
but that part is ignored, as upstream does (finalize takes labels and annotations too).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pynetes.apis.certificates import certificatesigningrequests
from pynetes.apis.core import namespaces, pods
from pynetes.apiserver.admission.attributes import UPDATE, Attributes
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.call import Answer, Call, Handler
from pynetes.machinery import errors, field, schema, time
from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import parse as quantity
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import gotext, types


@dataclass(frozen=True)
class Part:
    """graft(stored, body, now) changes `stored` in place; problems(new, old) yields what is wrong with the outcome."""

    resource: Resource
    subresource: str
    graft: Callable[[Object, Object, str], None]
    problems: Callable[[Object, Object], Iterator[field.Error]]


async def _get(ctx: Context, call: Call) -> Answer:
    await ctx.objects.fresh(call.resource)
    found = ctx.objects.get(call.resource, call.key)
    if found is None:
        raise errors.not_found(call.resource.plural, call.resource.group, call.key.name)
    return Answer(200, found)


def _update(part: Part) -> Handler:
    async def update(ctx: Context, call: Call) -> Answer:
        resource, key = part.resource, call.key
        given = (call.body.get("metadata") or {}).get("name")
        if given not in (None, "", key.name):
            text = f"the name of the object ({given}) does not match the name on the URL ({key.name})"
            raise errors.bad_request(text)
        old = (await _get(ctx, call)).body
        new = _grafted(part, old, call.body, ctx)
        await call.admit(
            Attributes(
                user=call.user,
                operation=UPDATE,
                resource=resource,
                namespace=key.namespace,
                name=key.name,
                subresource=part.subresource,
                obj=new,
                old=old,
                dry_run=call.dry_run,
                warnings=call.warnings,
            )
        )
        revision = (call.body.get("metadata") or {}).get("resourceVersion") or ""
        stored = await ctx.objects.update(
            resource,
            key,
            lambda current: _grafted(part, current, new, ctx),
            revision=revision,
            dry_run=call.dry_run,
        )
        return Answer(200, stored)

    return update


def _grafted(part: Part, stored: Object, body: Object, ctx: Context) -> Object:
    new = {**stored, "metadata": dict(stored["metadata"]), "spec": dict(stored.get("spec") or {})}
    if "status" in stored:
        new["status"] = dict(stored["status"])
    part.graft(new, body, time.rfc3339(ctx.clock.now()))
    schema.of(part.resource).decode(new)
    schema.of(part.resource).default(new)
    found = list(part.problems(new, stored))
    if found:
        raise errors.invalid(part.resource.kind, part.resource.group, stored["metadata"]["name"], found)
    return new


def _graft_finalizers(new: Object, body: Object, now: str) -> None:
    for name in ("labels", "annotations"):
        if (body.get("metadata") or {}).get(name) is not None:
            new["metadata"][name] = body["metadata"][name]
    new["spec"]["finalizers"] = list((body.get("spec") or {}).get("finalizers") or ())
    if not new["spec"]["finalizers"]:
        del new["spec"]["finalizers"]


def _nothing(new: Object, old: Object) -> Iterator[field.Error]:
    yield from ()


def _graft_conditions(new: Object, body: Object, now: str) -> None:
    status = new.setdefault("status", {})
    before = {condition["type"]: condition for condition in status.get("conditions") or ()}
    status["conditions"] = []
    for given in (body.get("status") or {}).get("conditions") or ():
        condition = dict(given)
        condition.setdefault("lastUpdateTime", now)
        old = before.get(condition["type"]) or {}
        same = old.get("status") == condition.get("status")
        moved = old.get("lastTransitionTime") if same else now
        condition.setdefault("lastTransitionTime", moved or now)
        status["conditions"].append(condition)


def _approval_problems(new: Object, old: Object) -> Iterator[field.Error]:
    conditions = new["status"]["conditions"]
    kinds = [condition["type"] for condition in conditions]
    for index, condition in enumerate(conditions):
        if condition["type"] in ("Approved", "Denied", "Failed") and condition.get("status") != "True":
            yield field.not_supported(f"status.conditions[{index}].status", condition.get("status"), ("True",))
    if "Approved" in kinds and "Denied" in kinds:
        text = "Approved and Denied conditions are mutually exclusive"
        yield field.invalid("status.conditions", "Denied", text)
    for condition in (old.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Approved", "Denied", "Failed") and condition["type"] not in kinds:
            text = f"updates may not remove a condition of type {field.quote(condition['type'])}"
            yield field.forbidden("status.conditions", text)


def _graft_ephemeral(new: Object, body: Object, now: str) -> None:
    new["spec"]["ephemeralContainers"] = list((body.get("spec") or {}).get("ephemeralContainers") or ())
    if not new["spec"]["ephemeralContainers"]:
        del new["spec"]["ephemeralContainers"]


def _ephemeral_problems(new: Object, old: Object) -> Iterator[field.Error]:
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
    if "kubernetes.io/config.mirror" in (old["metadata"].get("annotations") or {}):
        yield field.forbidden("", "static pods do not support ephemeral containers")


def _graft_resources(new: Object, body: Object, now: str) -> None:
    given = body.get("spec") or {}
    for kind in ("containers", "initContainers"):
        wanted = {container["name"]: container for container in given.get(kind) or ()}
        if kind in new["spec"]:
            new["spec"][kind] = [_resized(container, wanted.get(container["name"])) for container in new["spec"][kind]]
    if "resources" in given:
        new["spec"]["resources"] = given["resources"]


def _resized(container: Object, wanted: Object | None) -> Object:
    if wanted is None:
        return container
    new = {**container, "resources": wanted.get("resources") or {}}
    if "resizePolicy" in wanted:
        new["resizePolicy"] = wanted["resizePolicy"]
    return new


def _resize_problems(new: Object, old: Object) -> Iterator[field.Error]:
    if (old.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        yield field.forbidden("", "Pod running has finished and may not be resized")
    before = qos(old["spec"])
    if before != qos(new["spec"]):
        yield field.invalid("spec", before, "Pod QOS Class may not change as a result of resizing")


def qos(spec: Object) -> str:
    """The class by which a pod is evicted: Guaranteed, Burstable or BestEffort."""
    guaranteed, anything = True, False
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name), requests.get(name)
            anything = anything or bool(limit and quantity(limit)) or bool(request and quantity(request))
            same = limit is not None and (request is None or quantity(request) == quantity(limit))
            guaranteed = guaranteed and same and bool(limit and quantity(limit))
    return "Guaranteed" if guaranteed else "Burstable" if anything else "BestEffort"


PARTS = (
    Part(namespaces.RESOURCE, "finalize", _graft_finalizers, _nothing),
    Part(certificatesigningrequests.RESOURCE, "approval", _graft_conditions, _approval_problems),
    Part(pods.RESOURCE, "ephemeralcontainers", _graft_ephemeral, _ephemeral_problems),
    Part(pods.RESOURCE, "resize", _graft_resources, _resize_problems),
)

HANDLERS: dict[tuple[str, str, str, str], Handler] = {
    (part.resource.group, part.resource.plural, part.subresource, verb): handler
    for part in PARTS
    for verb, handler in (("update", _update(part)), ("get", _get))
    # A namespace's finalizers are written here only; they are read with the namespace.
    if not (part.subresource == "finalize" and verb == "get")
}
