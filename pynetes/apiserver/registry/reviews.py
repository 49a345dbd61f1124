"""Reviews: questions about authentication and authorization, answered and not stored."""

from collections.abc import Mapping
from typing import Any

from pynetes.apiserver.authn.tokens import InvalidToken
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz.attributes import Attributes, Verdict
from pynetes.apiserver.authz.rules import Rule
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.call import Answer, Call
from pynetes.machinery import errors, field, managedfields, schema, time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

AUTHORIZATION = "authorization.k8s.io"


async def token_review(ctx: Context, call: Call) -> Answer:
    """TokenReview: whose token it is."""
    spec = call.body.get("spec") or {}
    token, audiences = spec.get("token") or "", tuple(spec.get("audiences") or ())
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    status: Object = {"user": {}}
    found = None
    try:
        found = await ctx.authentication.token(token, audiences) if ctx.authentication else None
    except InvalidToken:
        status["error"] = "[invalid bearer token]"
    if found is not None:
        status = {"authenticated": True, "user": found.user.info(), "audiences": list(found.audiences)}
    return _answer(call, "authentication.k8s.io", spec, status)


async def self_subject_review(ctx: Context, call: Call) -> Answer:
    """SelfSubjectReview: who the server takes the caller for."""
    metadata = {"creationTimestamp": time.rfc3339(ctx.clock.now())}
    answer = _answer(call, "authentication.k8s.io", None, {"userInfo": call.user.info()})
    answer.body["metadata"] = metadata
    return answer


async def subject_access_review(ctx: Context, call: Call) -> Answer:
    """SubjectAccessReview: may this user do that?"""
    spec = call.body.get("spec") or {}
    return await _review(ctx, call, spec, _subject(spec))


async def local_subject_access_review(ctx: Context, call: Call) -> Answer:
    """LocalSubjectAccessReview: the same, within the namespace of the request only."""
    spec = call.body.get("spec") or {}
    user = _subject(spec)
    if "nonResourceAttributes" in spec:
        raise _invalid(field.invalid("spec.nonResourceAttributes", None, "disallowed on this kind of request"))
    asked = (spec.get("resourceAttributes") or {}).get("namespace") or ""
    if asked != call.key.namespace:
        text = "must match metadata.namespace"
        raise _invalid(field.invalid("spec.resourceAttributes.namespace", asked, text))
    return await _review(ctx, call, spec, user)


async def self_subject_access_review(ctx: Context, call: Call) -> Answer:
    """SelfSubjectAccessReview: may I?"""
    return await _review(ctx, call, call.body.get("spec") or {}, call.user)


async def self_subject_rules_review(ctx: Context, call: Call) -> Answer:
    """SelfSubjectRulesReview: what may I do in this namespace, as far as it can be listed?"""
    spec = call.body.get("spec") or {}
    namespace = spec.get("namespace") or ""
    if not namespace:
        raise errors.bad_request("no namespace on request")
    status: Object = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
    held = ctx.rbac.held(call.user, namespace) if ctx.rbac else None
    for rule, _ in held.rules if held else ():
        _list_rule(status, rule)
    problems = [*(held.errors if held else ()), *ctx.authorizer.unlisted(call.user)]
    if problems:
        status["evaluationError"] = ", ".join(problems)
        status["incomplete"] = bool(ctx.authorizer.unlisted(call.user))
    return _answer(call, AUTHORIZATION, {}, status)


def _list_rule(status: Object, rule: Rule) -> None:
    if rule.paths:
        status["nonResourceRules"].append({"verbs": sorted(rule.verbs), "nonResourceURLs": list(rule.paths)})
    if rule.resources:
        found = {"verbs": sorted(rule.verbs), "apiGroups": sorted(rule.groups), "resources": sorted(rule.resources)}
        if rule.names:
            found["resourceNames"] = sorted(rule.names)
        status["resourceRules"].append(found)


async def _review(ctx: Context, call: Call, spec: Object, user: User) -> Answer:
    _check(ctx, call, spec)
    decision = await ctx.authorizer.authorize(_attributes(spec, user))
    status: Object = {"allowed": decision.allowed}
    if decision.verdict is Verdict.DENY:
        status["denied"] = True
    if decision.reason:
        status["reason"] = decision.reason
    return _answer(call, AUTHORIZATION, spec, status)


def _check(ctx: Context, call: Call, spec: Object) -> None:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        shown = {"Path": other.get("path") or "", "Verb": other.get("verb") or ""}
        text = "cannot be specified in combination with resourceAttributes"
        raise _invalid(field.invalid("spec.nonResourceAttributes", shown, text))
    if resource is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid(field.invalid("spec.resourceAttributes", None, text))
    given = call.body.get("metadata") or {}
    metadata = {name: value for name, value in given.items() if name not in ("namespace", "managedFields") and value}
    if metadata.keys() - {"creationTimestamp"}:
        # Upstream looks at it after it has noted who wrote what.
        whole = {**call.body, "metadata": metadata}
        type_, now = schema.of(call.resource).type, ctx.clock.now()
        managedfields.update(None, whole, type_=type_, manager=call.manager, now=now, reset=(("f:status",),))
        raise _invalid(field.invalid("metadata", metadata, "must be empty"))


def _subject(spec: Object) -> User:
    if not spec.get("user") and not spec.get("groups"):
        raise _invalid(field.invalid("spec.user", "", "at least one of user or group must be specified"))
    extra: Mapping[str, Any] = spec.get("extra") or {}
    return User(
        spec.get("user") or "",
        uid=spec.get("uid") or "",
        groups=tuple(spec.get("groups") or ()),
        extra={name.lower(): tuple(values) for name, values in extra.items()},
    )


def _attributes(spec: Object, user: User) -> Attributes:
    asked = spec.get("resourceAttributes")
    if asked is None:
        other = spec["nonResourceAttributes"]
        return Attributes(user=user, verb=other.get("verb") or "", path=other.get("path") or "")
    fields = (asked.get("fieldSelector") or {}).get("requirements") or ()
    return Attributes(
        user=user,
        verb=asked.get("verb") or "",
        group=asked.get("group") or "",
        version=asked.get("version") or "*",
        resource=asked.get("resource") or "",
        subresource=asked.get("subresource") or "",
        namespace=asked.get("namespace") or "",
        name=asked.get("name") or "",
        field_selector=",".join(
            f"{item['key']}={item['values'][0]}"
            for item in fields
            if item.get("operator") == "In" and len(item.get("values") or ()) == 1
        ),
    )


def _invalid(problem: field.Error) -> StatusError:
    # Upstream loses the kind here, and clients see it so.
    return errors.invalid("", AUTHORIZATION, "", [problem])


def _answer(call: Call, group: str, spec: Object | None, status: Object) -> Answer:
    body: Object = {"kind": call.resource.kind, "apiVersion": f"{group}/v1", "metadata": {}}
    if call.key.namespace:
        body["metadata"]["namespace"] = call.key.namespace
    if spec is not None:
        body["spec"] = spec
    body["status"] = status
    return Answer(201, body)
