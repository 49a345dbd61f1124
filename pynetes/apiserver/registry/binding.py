"""pods/binding and bindings: how the scheduler's decision becomes spec.nodeName, once."""

from pynetes.apis.core import pods
from pynetes.apiserver.admission.attributes import CREATE, Attributes
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.call import SUCCESS, Answer, Call
from pynetes.component import tracing
from pynetes.machinery import errors, field, time
from pynetes.machinery.meta import Key, Object


async def create(ctx: Context, call: Call) -> Answer:
    """Bind the pod. Conflict if it is bound, being deleted, or gated."""
    binding = call.body
    metadata = binding.setdefault("metadata", {})
    key = Key(call.key.namespace, call.key.name or metadata.get("name") or "")
    if metadata.get("name") not in (None, "", key.name):
        raise errors.bad_request("name in URL does not match name in Binding object")
    problems = [str(problem) for problem in _problems(binding)]
    if problems:
        # Not a Status reason upstream either: the check sits below the layer that makes them.
        raise errors.failure(500, "", problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    attributes = Attributes(
        user=call.user,
        operation=CREATE,
        resource=pods.RESOURCE,
        namespace=key.namespace,
        name=key.name,
        subresource="binding",
        obj=binding,
        dry_run=call.dry_run,
        warnings=call.warnings,
    )
    await call.admit(attributes)
    now = time.rfc3339(ctx.clock.now())
    stored = await ctx.objects.update(
        pods.RESOURCE, key, lambda pod: bound(pod, binding, now), respecified=False, dry_run=call.dry_run
    )
    return Answer(201, SUCCESS, tracing.revision(stored["metadata"]))


def _problems(binding: Object) -> list[field.Error]:
    target = binding.get("target") or {}
    found = []
    if target.get("kind") not in (None, "", "Node"):
        found.append(field.not_supported("target.kind", target["kind"], ("Node", "<empty>")))
    return found if target.get("name") else [*found, field.required("target.name")]


def bound(pod: Object, binding: Object, now: str) -> Object:
    """The pod on its node, with the binding's labels and annotations. Raises StatusError Conflict."""
    metadata, spec = pod["metadata"], pod["spec"]
    name, wanted = metadata["name"], binding["metadata"]
    uid = wanted.get("uid")
    if uid and uid != metadata.get("uid"):
        raise _conflict(
            name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata.get('uid')}"
        )
    if metadata.get("deletionTimestamp"):
        raise _conflict(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise _conflict(name, f"pod {name} is already assigned to node {field.quote(spec['nodeName'])}")
    if spec.get("schedulingGates"):
        raise _conflict(name, f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = binding["target"]["name"]
    for kind in ("annotations", "labels"):
        if wanted.get(kind):
            metadata[kind] = {**(metadata.get(kind) or {}), **wanted[kind]}
    set_condition(pod, {"type": "PodScheduled", "status": "True"}, now)
    return pod


def _conflict(name: str, detail: str) -> errors.StatusError:
    return errors.conflict("pods/binding", "", name, detail)


def set_condition(pod: Object, condition: Object, now: str) -> None:
    """Add or replace a pod condition; its transition time moves only with its status."""
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    new = {"lastProbeTime": None, "lastTransitionTime": now, **condition}
    for index, old in enumerate(conditions):
        if old["type"] == condition["type"]:
            if old.get("status") == condition["status"] and old.get("lastTransitionTime"):
                new["lastTransitionTime"] = old["lastTransitionTime"]
            conditions[index] = new
            return
    conditions.append(new)
