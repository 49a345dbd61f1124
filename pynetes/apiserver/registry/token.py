"""serviceaccounts/token: issues a token, bound to an object and to audiences."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import nodes, pods, secrets, serviceaccounts
from pynetes.apiserver.admission.attributes import CREATE, Attributes
from pynetes.apiserver.authn.service_account import Wanted
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.call import Answer, Call
from pynetes.machinery import errors, field, time
from pynetes.machinery.meta import Key, Object

DEFAULT_SECONDS = 3600
SHORTEST, LONGEST = 600, 1 << 32
#: What kubelets ask for on behalf of pods that do not say; only these tokens are extended.
POD_SECONDS = 3607
EXTENDED_SECONDS = 365 * 24 * 3600

BOUND = {
    ("v1", "Pod"): ("pod", pods.RESOURCE),
    ("v1", "Secret"): ("secret", secrets.RESOURCE),
    ("v1", "Node"): ("node", nodes.RESOURCE),
}


async def create(ctx: Context, call: Call) -> Answer:
    """Answer the TokenRequest with its status filled in."""
    if ctx.issuer is None:
        raise errors.not_found("serviceaccounts", "", call.key.name)
    request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", **call.body}
    spec = request["spec"] = dict(request.get("spec") or {})
    spec["audiences"] = spec.get("audiences") or list(ctx.settings.audiences)
    if spec.get("expirationSeconds") is None:
        spec["expirationSeconds"] = DEFAULT_SECONDS
    spec.setdefault("boundObjectRef", None)
    metadata = _metadata(ctx, call, request.get("metadata") or {})
    account = await _find(ctx, call)
    problems = list(_problems(spec))
    if problems:
        raise errors.invalid("TokenRequest", "authentication.k8s.io", "", problems)
    await call.admit(
        Attributes(
            user=call.user,
            operation=CREATE,
            resource=serviceaccounts.RESOURCE,
            namespace=call.key.namespace,
            name=call.key.name,
            subresource="token",
            obj=request,
            dry_run=call.dry_run,
            warnings=call.warnings,
        )
    )
    bound = await _bound(ctx, account, spec["boundObjectRef"])
    now, seconds = ctx.clock.now(), int(spec["expirationSeconds"])
    if ctx.settings.max_token_seconds:
        longest = ctx.settings.max_token_seconds
        if seconds > longest:
            call.warnings.append(f"requested expiration of {seconds} seconds shortened to {longest} seconds")
            seconds = spec["expirationSeconds"] = longest
    token = ctx.issuer.issue(_wanted(ctx, account, spec["audiences"], seconds, bound), now)
    status = {"token": token, "expirationTimestamp": time.rfc3339(now + timedelta(seconds=seconds))}
    answer = {"kind": request["kind"], "apiVersion": request["apiVersion"], "metadata": metadata}
    return Answer(201, {**answer, "spec": spec, "status": status})


async def _find(ctx: Context, call: Call) -> Object:
    account = ctx.objects.get(serviceaccounts.RESOURCE, call.key)
    if account is None:
        await ctx.objects.fresh(serviceaccounts.RESOURCE)
        account = ctx.objects.get(serviceaccounts.RESOURCE, call.key)
    if account is None:
        raise errors.not_found("serviceaccounts", "", call.key.name)
    return account


def _metadata(ctx: Context, call: Call, given: Object) -> Object:
    for name, wanted in (("name", call.key.name), ("namespace", call.key.namespace)):
        if given.get(name) not in (None, "", wanted):
            path = field.invalid(f"metadata.{name}", given[name], f"must match the service account {name} if specified")
            raise errors.invalid("TokenRequest", "authentication.k8s.io", call.key.name, [path])
    return {
        **given,
        "name": call.key.name,
        "namespace": call.key.namespace,
        "uid": str(uuid.uuid4()),
        "creationTimestamp": time.rfc3339(ctx.clock.now()),
    }


def _problems(spec: Object) -> Iterator[field.Error]:
    path, seconds = "spec.expirationSeconds", spec["expirationSeconds"]
    if seconds < SHORTEST:
        yield field.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    if seconds > LONGEST:
        yield field.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


async def _bound(ctx: Context, account: Object, ref: Object | None) -> tuple[str, Object] | None:
    if ref is None:
        return None
    kind = (ref.get("apiVersion") or "", ref.get("kind") or "")
    if kind not in BOUND:
        group_version = kind[0] if "/" in kind[0] else f"/{kind[0]}"
        raise errors.bad_request(f"cannot bind token to object of type {group_version}, Kind={kind[1]}")
    claim, resource = BOUND[kind]
    namespace = account["metadata"]["namespace"] if resource.namespaced else ""
    key = Key(namespace, ref.get("name") or "")
    obj = ctx.objects.get(resource, key)
    if obj is None:
        await ctx.objects.fresh(resource)
        obj = ctx.objects.get(resource, key)
    if obj is None:
        raise errors.not_found(resource.plural, resource.group, key.name)
    name = account["metadata"]["name"]
    if claim == "pod" and (obj["spec"].get("serviceAccountName") or "") != name:
        account_name = field.quote(name)
        text = f"cannot bind token for serviceaccount {account_name} to pod running with different serviceaccount name."
        raise errors.bad_request(text)
    if ref.get("uid") and ref["uid"] != obj["metadata"]["uid"]:
        detail = (
            f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(kind[1], "", key.name, detail)
    return claim, obj


def _wanted(
    ctx: Context, account: Object, audiences: list[str], seconds: int, bound: tuple[str, Object] | None
) -> Wanted:
    node, warn_after = None, 0
    if bound is not None and bound[0] == "pod":
        name = bound[1]["spec"].get("nodeName")
        node = ctx.objects.get(nodes.RESOURCE, Key("", name)) if name else None
        ours = set(audiences) <= set(ctx.settings.audiences)
        if ctx.settings.extend_token_expiration and seconds == POD_SECONDS and ours:
            seconds, warn_after = EXTENDED_SECONDS, POD_SECONDS
    return Wanted(account=account, audiences=audiences, seconds=seconds, bound=bound, node=node, warn_after=warn_after)
