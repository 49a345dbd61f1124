"""Makes claims from pods' templates, and gives devices back when the pods that had them are over.

A pod's template becomes a claim that the pod owns, named in the pod's status. A claim is reserved for pods; an entry of
a pod that is gone or finished is taken out, and a claim that nobody has reserved any more loses its devices.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta

from pynetes.apis.core import pods
from pynetes.apis.resource import resourceclaims as claims
from pynetes.apis.resource import resourceclaimtemplates as templates
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import _pods as podinfo
from pynetes.machinery.meta import Key, Object, is_deleting, key_of

FINALIZER = "resource.kubernetes.io/delete-protection"
EXTENDED = "resource.kubernetes.io/extended-resource-claim"
POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
_CREATED = REGISTRY.counter(
    "resourceclaim_controller_creates_total",
    "Number of ResourceClaims creation requests, categorized by creation status and admin access",
    "status", "admin_access",
)  # fmt: skip
_CLAIMS = REGISTRY.gauge(
    "resourceclaim_controller_resource_claims",
    "Number of ResourceClaims, categorized by allocation status, admin access, and source.",
    "allocated", "admin_access", "source",
)  # fmt: skip
#: What stands before the name in the keys of claims, among those of pods.
_CLAIM = "claim:"


def made(pod: Object, entry: Object, template: Object) -> Object:
    """The claim of one of a pod's templates. Pure."""
    metadata, given = pod["metadata"], template["spec"].get("metadata") or {}
    owner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "namespace": metadata["namespace"],
            "generateName": f"{metadata['name']}-{entry['name']}-"[:57],
            "ownerReferences": [owner],
            "labels": given.get("labels") or {},
            "annotations": {**(given.get("annotations") or {}), POD_CLAIM: entry["name"]},
        },
        "spec": template["spec"]["spec"],
    }


def is_admins(claim: Object) -> bool:
    """Whether one of its requests is for adminAccess."""
    requests = (claim["spec"].get("devices") or {}).get("requests") or ()
    return any((one.get("exactly") or one).get("adminAccess") for one in requests)


def counted(lookup: Lookup) -> Iterable[tuple[tuple[str, ...], float]]:
    """The claims there are, by what the metric tells them apart by."""
    found: Counter[tuple[str, ...]] = Counter()
    for claim in lookup.listed(claims.RESOURCE):
        notes = claim["metadata"].get("annotations") or {}
        source = "resource_claim_template" if POD_CLAIM in notes else "extended_resource" if EXTENDED in notes else ""
        allocated = bool((claim.get("status") or {}).get("allocation"))
        found[str(allocated).lower(), str(is_admins(claim)).lower(), source] += 1
    return found.items()


def still_reserved(claim: Object, live: set[str]) -> list[Object]:
    """The reservations that stay: those of pods that live, and of whatever is no pod. Pure."""
    reserved = (claim.get("status") or {}).get("reservedFor") or ()
    return [one for one in reserved if one.get("resource") != "pods" or one["uid"] in live]


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    if key.name.startswith(_CLAIM):
        await _release(ctx, Key(key.namespace, key.name.removeprefix(_CLAIM)))
        return None
    pod = await ctx.cached(pods.RESOURCE, key)
    if pod is None or is_deleting(pod) or podinfo.is_terminal(pod):
        return None
    told = {one["name"]: one for one in (pod.get("status") or {}).get("resourceClaimStatuses") or ()}
    fresh = []
    for entry in pod["spec"].get("resourceClaims") or ():
        if entry.get("resourceClaimTemplateName") and entry["name"] not in told:
            claim = await _claim(ctx, pod, entry)
            if claim is not None:
                fresh.append({"name": entry["name"], "resourceClaimName": claim["metadata"]["name"]})
    if fresh:
        patch = {"status": {"resourceClaimStatuses": [*told.values(), *fresh]}}
        await ctx.patch(pods.RESOURCE, key, patch, subresource="status")
    return None


async def _claim(ctx: Context, pod: Object, entry: Object) -> Object | None:
    """The claim of a template: the one that is there, or a new one."""
    for one in ctx.listed(claims.RESOURCE, namespace=pod["metadata"]["namespace"]):
        owners = one["metadata"].get("ownerReferences") or ()
        named = (one["metadata"].get("annotations") or {}).get(POD_CLAIM) == entry["name"]
        if named and any(owner["uid"] == pod["metadata"]["uid"] for owner in owners):
            return one
    name = entry["resourceClaimTemplateName"]
    template = await ctx.cached(templates.RESOURCE, Key(pod["metadata"]["namespace"], name))
    if template is None:
        text = f'resource claim template "{name}" not found'
        ctx.event(pod, "Warning", "FailedResourceClaimCreation", f"PodResourceClaim {entry['name']}: {text}")
        return None
    wanted = made(pod, entry, template)
    status = "failure"
    try:
        claim = await ctx.create(claims.RESOURCE, wanted)
        status = "success"
    finally:
        _CREATED.inc(status, str(is_admins(wanted)).lower())
    return claim


async def _release(ctx: Context, key: Key) -> None:
    """Take reservations of pods that are over out; without any the devices are given back."""
    # The cache only says when to look; the decision needs the live object.
    for read in (ctx.cached, ctx.live):
        claim = await read(claims.RESOURCE, key)
        if claim is None or released(claim, _live(ctx, key.namespace)) is None:
            return
    fresh = released(claim or {}, _live(ctx, key.namespace))
    if claim is None or fresh is None:
        return
    if fresh != claim.get("status"):
        claim = await ctx.update_status(claims.RESOURCE, {**claim, "status": fresh})
    finalizers = claim["metadata"].get("finalizers") or []
    if not fresh.get("reservedFor") and not fresh.get("allocation") and FINALIZER in finalizers:
        left = [one for one in finalizers if one != FINALIZER]
        await ctx.update(claims.RESOURCE, {**claim, "metadata": {**claim["metadata"], "finalizers": left}})


def _live(ctx: Context, namespace: str) -> set[str]:
    listed = ctx.listed(pods.RESOURCE, namespace=namespace)
    return {pod["metadata"]["uid"] for pod in listed if not podinfo.is_terminal(pod)}


def released(claim: Object, live: set[str]) -> Object | None:
    """The status that a claim ought to have, None where it is right and nothing else is to do. Pure."""
    status = claim.get("status") or {}
    before = list(status.get("reservedFor") or ())
    kept = still_reserved(claim, live)
    fresh = {**status, "reservedFor": kept}
    # A claim that was allocated a moment ago is not reserved yet: its devices go when the last reservation does.
    if not kept and (before or is_deleting(claim)):
        fresh.pop("allocation", None)
        fresh.pop("devices", None)
    idle = not kept and not fresh.get("allocation") and FINALIZER in (claim["metadata"].get("finalizers") or ())
    changed = kept != before or fresh.get("allocation") != status.get("allocation")
    # The finalizer comes before the allocation: only of a claim that had one is it taken away.
    return fresh if changed or (idle and (before or is_deleting(claim) or "reservedFor" in status)) else None


def of_pod(lookup: Lookup, pod: Object, old: Object | None) -> Iterator[Key]:
    """The pod itself for its templates; its claims when it is over."""
    entries = pod["spec"].get("resourceClaims") or ()
    extended = ((pod.get("status") or {}).get("extendedResourceClaimStatus") or {}).get("resourceClaimName")
    if not entries and not extended:
        return
    yield key_of(pod)
    if old is pod or podinfo.is_terminal(pod):
        if extended:
            yield Key(pod["metadata"]["namespace"], f"{_CLAIM}{extended}")
        told = {one["name"]: one for one in (pod.get("status") or {}).get("resourceClaimStatuses") or ()}
        for entry in entries:
            name = entry.get("resourceClaimName") or told.get(entry["name"], {}).get("resourceClaimName")
            if name:
                yield Key(pod["metadata"]["namespace"], f"{_CLAIM}{name}")


def of_claim(lookup: Lookup, claim: Object, old: Object | None) -> Iterator[Key]:
    """Claims that may have to be let go, and the pods that wait for one to be made."""
    key = key_of(claim)
    if old is not claim:
        yield Key(key.namespace, f"{_CLAIM}{key.name}")


def of_template(lookup: Lookup, template: Object, old: Object | None) -> Iterator[Key]:
    """The pods that name a new template."""
    if old is None:
        key = key_of(template)
        for pod in lookup.listed(pods.RESOURCE, namespace=key.namespace):
            entries = pod["spec"].get("resourceClaims") or ()
            if any(one.get("resourceClaimTemplateName") == key.name for one in entries):
                yield key_of(pod)


CONTROLLER = Controller(
    name="resourceclaim-controller",
    service_account="resource-claim-controller",
    reconcile=reconcile,
    shows=((_CLAIMS, counted),),
    watches=(
        Watch(pods.RESOURCE, keys=of_pod),
        Watch(claims.RESOURCE, keys=of_claim),
        Watch(templates.RESOURCE, keys=of_template),
    ),
    rules=(
        Rule("pods", "get,list,watch"),
        Rule("pods/finalizers", "update"),
        Rule("pods/status", "patch"),
        Rule("resourceclaims.resource.k8s.io", "create,delete,get,list,patch,update,watch"),
        Rule("resourceclaims.resource.k8s.io/status", "patch,update"),
        Rule("resourceclaimtemplates.resource.k8s.io", "get,list,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
