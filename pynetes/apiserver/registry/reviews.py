"""Reviews: questions about authentication and authorization, answered and not stored."""

from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.apiserver.authn.tokens import InvalidToken
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz.attributes import Attributes, Verdict
from pynetes.apiserver.authz.rules import Rule
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.call import Answer, Call
from pynetes.machinery import errors, field, fields, labels, managedfields, names, schema, time
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
    answer = _answer(call, "authentication.k8s.io", spec, status)
    answer.body["metadata"] = {**(call.body.get("metadata") or {})}
    return answer


async def self_subject_review(ctx: Context, call: Call) -> Answer:
    """SelfSubjectReview: who the server takes the caller for."""
    metadata = {"creationTimestamp": time.rfc3339(ctx.clock.now())}
    answer = _answer(call, "authentication.k8s.io", None, {"userInfo": call.user.info()})
    answer.body["metadata"] = metadata
    return answer


async def subject_access_review(ctx: Context, call: Call) -> Answer:
    """SubjectAccessReview: may this user do that?"""
    spec = call.body.get("spec") or {}
    _refuse([*_problems(spec), *_user_problems(spec), *_selector_problems(spec), *_metadata_problems(ctx, call)])
    return await _review(ctx, call, spec, _subject(spec))


async def local_subject_access_review(ctx: Context, call: Call) -> Answer:
    """LocalSubjectAccessReview: the same, within the namespace of the request only."""
    spec = call.body.get("spec") or {}
    problems = [*_problems(spec), *_user_problems(spec), *_selector_problems(spec)]
    problems += _metadata_problems(ctx, call, "must be empty except for namespace")
    asked = spec.get("resourceAttributes")
    if asked is not None and (asked.get("namespace") or "") != call.key.namespace:
        text = "must match metadata.namespace"
        problems.append(field.invalid("spec.resourceAttributes.namespace", asked.get("namespace") or "", text))
    if (other := spec.get("nonResourceAttributes")) is not None:
        text = "disallowed on this kind of request"
        problems.append(field.invalid("spec.nonResourceAttributes", _path_and_verb(other), text))
    _refuse(problems)
    return await _review(ctx, call, spec, _subject(spec))


async def self_subject_access_review(ctx: Context, call: Call) -> Answer:
    """SelfSubjectAccessReview: may I?"""
    spec = call.body.get("spec") or {}
    _refuse([*_problems(spec), *_selector_problems(spec), *_metadata_problems(ctx, call)])
    return await _review(ctx, call, spec, call.user)


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
    decision = await ctx.authorizer.authorize(_attributes(spec, user))
    status: Object = {"allowed": decision.allowed}
    if decision.verdict is Verdict.DENY:
        status["denied"] = True
    if decision.reason:
        status["reason"] = decision.reason
    if ignored := _ignored(spec):
        status["evaluationError"] = ignored[0] if len(ignored) == 1 else f"[{', '.join(ignored)}]"
    return _answer(call, AUTHORIZATION, spec, status)


def _problems(spec: Object) -> Iterator[field.Error]:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        text = "cannot be specified in combination with resourceAttributes"
        yield field.invalid("spec.nonResourceAttributes", _path_and_verb(other), text)
    if resource is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield field.invalid("spec.resourceAttributes", None, text)


def _path_and_verb(attributes: Object) -> Object:
    return {"Path": attributes.get("path") or "", "Verb": attributes.get("verb") or ""}


def _user_problems(spec: Object) -> Iterator[field.Error]:
    if not spec.get("user") and not spec.get("groups"):
        yield field.invalid("spec.user", "", "at least one of user or group must be specified")


def _selector_problems(spec: Object) -> Iterator[field.Error]:
    """What upstream's validateResourceAttributes finds; operators of a later release are none of it."""
    for what in ("fieldSelector", "labelSelector"):
        selector, path = (spec.get("resourceAttributes") or {}).get(what), f"spec.resourceAttributes.{what}"
        if selector is None:
            continue
        raw, requirements = selector.get("rawSelector") or "", selector.get("requirements") or []
        if raw and requirements:
            yield field.invalid(f"{path}.rawSelector", raw, "may not specified at the same time as requirements")
        if not raw and not requirements:
            text = f"when {path} is specified, requirements or rawSelector is required"
            yield field.required(f"{path}.requirements", text)
        for index, requirement in enumerate(requirements):
            yield from _requirement_problems(requirement, f"{path}.requirements[{index}]", labelled=what[0] == "l")


def _requirement_problems(requirement: Object, path: str, *, labelled: bool) -> Iterator[field.Error]:
    key, operator, values = (requirement.get(name) or "" for name in ("key", "operator", "values"))
    if not labelled and not key:
        yield field.required(f"{path}.key", "must be specified")
    if operator in ("In", "NotIn") and not values:
        yield field.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        yield field.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    if labelled:
        yield from (field.invalid(f"{path}.key", key, text) for text in names.qualified_name(key))
        for index, value in enumerate(values):
            yield from (field.invalid(f"{path}.values[{index}]", value, text) for text in names.label_value(value))


def _metadata_problems(ctx: Context, call: Call, text: str = "must be empty") -> list[field.Error]:
    given = call.body.get("metadata") or {}
    metadata = {name: value for name, value in given.items() if name not in ("namespace", "managedFields") and value}
    if not metadata.keys() - {"creationTimestamp"}:
        return []
    # Upstream looks at it after it has noted who wrote what.
    whole = {**call.body, "metadata": metadata}
    type_, now = schema.of(call.resource).type, ctx.clock.now()
    managedfields.update(None, whole, type_=type_, manager=call.manager, now=now, reset=(("f:status",),))
    return [field.invalid("metadata", metadata, text)]


def _ignored(spec: Object) -> list[str]:
    """Selectors that the question is put without, which makes it a wider one."""
    found = []
    for what, parse in (("fieldSelector", fields.parse), ("labelSelector", labels.parse)):
        selector = (spec.get("resourceAttributes") or {}).get(what) or {}
        requirements = selector.get("requirements") or []
        broken = [each for each in requirements if not _usable(each, labelled=what[0] == "l")]
        try:
            parse(selector.get("rawSelector") or "")
        except ValueError:
            found.append(f"spec.resourceAttributes.{what} ignored due to parse error")
        if broken:
            how = "ignored" if len(broken) == len(requirements) else "partially ignored"
            found.append(f"spec.resourceAttributes.{what} {how} due to parse error")
    return found


def _usable(requirement: Object, *, labelled: bool) -> bool:
    operator, values = requirement.get("operator"), requirement.get("values") or ()
    if labelled:
        return operator in ("In", "NotIn", "Exists", "DoesNotExist")
    return operator in ("In", "NotIn") and len(values) == 1


def _subject(spec: Object) -> User:
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
    selector = asked.get("fieldSelector") or {}
    required = selector.get("requirements") or ()
    return Attributes(
        user=user,
        verb=asked.get("verb") or "",
        group=asked.get("group") or "",
        version=asked.get("version") or "*",
        resource=asked.get("resource") or "",
        subresource=asked.get("subresource") or "",
        namespace=asked.get("namespace") or "",
        name=asked.get("name") or "",
        field_selector=selector.get("rawSelector")
        or ",".join(
            f"{item['key']}={item['values'][0]}"
            for item in required
            if item.get("operator") == "In" and len(item.get("values") or ()) == 1
        ),
    )


def _refuse(problems: list[field.Error]) -> None:
    if problems:
        # Upstream loses the kind here, and clients see it so.
        raise errors.invalid("", AUTHORIZATION, "", problems)


def _answer(call: Call, group: str, spec: Object | None, status: Object) -> Answer:
    body: Object = {"kind": call.resource.kind, "apiVersion": f"{group}/v1", "metadata": {}}
    if call.key.namespace:
        body["metadata"]["namespace"] = call.key.namespace
    if spec is not None:
        body["spec"] = spec
    body["status"] = status
    return Answer(201, body)
