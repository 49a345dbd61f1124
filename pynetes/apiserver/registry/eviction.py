"""pods/eviction: a delete that asks the pod's disruption budget first, and charges it."""

from collections.abc import Iterator

from pynetes.apis.core import pods
from pynetes.apis.policy import poddisruptionbudgets
from pynetes.apiserver.admission.attributes import CREATE, Attributes
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.binding import set_condition
from pynetes.apiserver.registry.call import SUCCESS, Answer, Call
from pynetes.machinery import errors, labels, time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object

VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."
#: Pods that a budget may remember as evicted but not yet gone.
MOST_DISRUPTED = 2000


async def create(ctx: Context, call: Call) -> Answer:
    """Evict the pod. 429 with cause DisruptionBudget when its budget has nothing to give."""
    eviction, key = call.body, call.key
    name = (eviction.get("metadata") or {}).get("name")
    if name not in (None, "", key.name):
        raise errors.bad_request("name in URL does not match name in Eviction object")
    attributes = Attributes(
        user=call.user,
        operation=CREATE,
        resource=pods.RESOURCE,
        namespace=key.namespace,
        name=key.name,
        subresource="eviction",
        obj=eviction,
        dry_run=call.dry_run,
        warnings=call.warnings,
    )
    await call.admit(attributes)
    await ctx.objects.fresh(pods.RESOURCE)
    pod = ctx.objects.get(pods.RESOURCE, key)
    if pod is None:
        raise errors.not_found("pods", "", key.name)
    options = dict(eviction.get("deleteOptions") or {})
    _preconditions(pod, options.get("preconditions") or {})
    if not _spared(pod):
        await _charge(ctx, call, pod)
        # The pod was judged as it is: the delete must not hit a namesake that came since.
        options["preconditions"] = {**(options.get("preconditions") or {}), "uid": pod["metadata"]["uid"]}
    await _mark(ctx, call)
    await ctx.objects.delete(pods.RESOURCE, key, options, dry_run=call.dry_run)
    return Answer(201, SUCCESS)


def _preconditions(pod: Object, wanted: Object) -> None:
    metadata = pod["metadata"]
    if wanted.get("uid") and wanted["uid"] != metadata["uid"]:
        detail = (
            f"the UID in the precondition ({wanted['uid']}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict("Pod", "", metadata["name"], detail)
    version = wanted.get("resourceVersion")
    if version and version != metadata["resourceVersion"]:
        detail = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified"
        )
        raise errors.conflict("Pod", "", metadata["name"], detail)


def _spared(pod: Object) -> bool:
    """Whether losing the pod disrupts nothing: it is done, never ran, or is going already."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


async def _charge(ctx: Context, call: Call, pod: Object) -> None:
    found = list(budgets(ctx, pod))
    if len(found) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise errors.failure(500, "", text)
    if not found or _unhealthy_goes(pod, found[0]):
        return
    key = Key(call.key.namespace, found[0]["metadata"]["name"])
    now = time.rfc3339(ctx.clock.now())
    await ctx.objects.update(
        poddisruptionbudgets.RESOURCE, key, lambda pdb: charged(pdb, call.key.name, now), dry_run=call.dry_run
    )


def budgets(ctx: Context, pod: Object) -> Iterator[Object]:
    """The disruption budgets that select the pod."""
    for pdb in ctx.objects.list(poddisruptionbudgets.RESOURCE, pod["metadata"]["namespace"]):
        selector = pdb["spec"].get("selector")
        if selector is not None and labels.from_label_selector(selector).matches(pod["metadata"].get("labels")):
            yield pdb


def _unhealthy_goes(pod: Object, pdb: Object) -> bool:
    """Whether the budget lets a pod go that serves nobody anyway."""
    status = pdb.get("status") or {}
    if any(c["type"] == "Ready" and c["status"] == "True" for c in (pod.get("status") or {}).get("conditions") or ()):
        return False
    if pdb["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    if status.get("observedGeneration", 0) < pdb["metadata"].get("generation", 0):
        return False
    wanted = status.get("desiredHealthy", 0)
    return bool(wanted > 0 and status.get("currentHealthy", 0) >= wanted)


def charged(pdb: Object, pod: str, now: str) -> Object:
    """The budget after one more eviction. Raises StatusError 429 when it has none left."""
    metadata, status = pdb["metadata"], pdb.setdefault("status", {})
    name, allowed = metadata["name"], status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _refused(f"The disruption budget {name} is still being processed by the server.", retry_after=10)
    if allowed < 0:
        raise errors.forbidden("poddisruptionbudgets", "policy", name, "pdb disruptions allowed is negative")
    disrupted = status.setdefault("disruptedPods", {})
    if len(disrupted) > MOST_DISRUPTED:
        raise errors.forbidden(
            "poddisruptionbudgets",
            "policy",
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    if allowed == 0:
        raise _refused(
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently"
        )
    status["disruptionsAllowed"] = allowed - 1
    disrupted[pod] = now
    return pdb


def _refused(text: str, *, retry_after: int = 0) -> StatusError:
    cause = [{"reason": "DisruptionBudget", "message": text}]
    return errors.failure(429, "TooManyRequests", VIOLATION, causes=cause, retryAfterSeconds=retry_after)


async def _mark(ctx: Context, call: Call) -> None:
    now = time.rfc3339(ctx.clock.now())
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }

    def mark(pod: Object) -> Object:
        set_condition(pod, condition, now)
        return pod

    await ctx.objects.update(pods.RESOURCE, call.key, mark, dry_run=call.dry_run)
