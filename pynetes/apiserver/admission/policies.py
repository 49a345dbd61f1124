"""What validating and mutating admission policies share: which of them apply to a request, and with what parameters."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple

from pynetes import apis
from pynetes.apiserver.admission import matching
from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.admission.equivalents import Place, matched, place_of, seen
from pynetes.apiserver.admission.expressions import Failed, Scene, conditions_hold
from pynetes.apiserver.objects import Context
from pynetes.machinery import labels
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource

#: Reviews answer questions about rights; policies do not see them.
_REVIEWS = frozenset(
    {
        "localsubjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectreviews",
        "selfsubjectrulesreviews",
        "subjectaccessreviews",
        "tokenreviews",
    }
)
_NONE_FOUND = "no params found for policy binding with `Deny` parameterNotFoundAction"


class Application(NamedTuple):
    """A policy, bound, for one set of parameters; error says why it cannot be evaluated. One that is misconfigured
    refuses whatever its binding's actions are."""

    policy: Object
    binding: Object
    scene: Scene
    #: The request as the policy sees it.
    view: Attributes
    params: Object | None = None
    error: str = ""
    misconfigured: bool = False
    #: Whether the mistake is the policy's, whatever it is bound by.
    unbound: bool = False

    @property
    def name(self) -> str:
        """Of the policy."""
        return str(self.policy["metadata"]["name"])


async def applications(
    ctx: Context, attributes: Attributes, policies: Resource, bindings: Resource
) -> AsyncIterator[Application]:
    """Every policy that the request is subject to, once per binding and parameter object.

    A generator: a mutating policy sees what the one before has changed."""
    if matching.exempt(attributes) or attributes.resource.plural in _REVIEWS:
        return
    bound: dict[str, list[Object]] = {}
    for binding in ctx.objects.list(bindings):
        bound.setdefault(binding["spec"]["policyName"], []).append(binding)
    if not bound:
        return
    for policy in sorted(ctx.objects.list(policies), key=lambda each: str(each["metadata"]["name"])):
        mine = bound.get(policy["metadata"]["name"], ())
        place = _constrained(ctx, attributes, policy["spec"].get("matchConstraints")) if mine else None
        if place is None:
            continue
        if mine and (unknown := _unknown_kind(ctx, policy["spec"].get("paramKind"))):
            view = await seen(ctx, attributes, place)
            error = f"failed to configure policy: {unknown}"
            yield Application(policy, mine[0], Scene(ctx, view), view, None, error, misconfigured=True, unbound=True)
            continue
        for binding in mine:
            if _constrained(ctx, attributes, binding["spec"].get("matchResources")):
                for application in _bound(ctx, await seen(ctx, attributes, place), policy, binding):
                    yield application


def _constrained(ctx: Context, attributes: Attributes, match: Mapping[str, Any] | None) -> Place | None:
    """Where a policy's matchConstraints, or a binding's matchResources, see the request; None if they do not."""
    match = match or {}
    if not matching.selected(ctx, attributes, match) or matched(ctx, attributes, match, "excludeResourceRules"):
        return None
    return matched(ctx, attributes, match, "resourceRules") if match.get("resourceRules") else place_of(attributes)


def _bound(ctx: Context, attributes: Attributes, policy: Object, binding: Object) -> Iterator[Application]:
    spec, scene = policy["spec"], Scene(ctx, attributes)
    try:
        found = _params(ctx, attributes, spec.get("paramKind"), binding["spec"].get("paramRef"))
    except Failed as error:
        yield Application(
            policy, binding, scene, attributes, None, f"failed to configure binding: {error}", misconfigured=True
        )
        return
    for params in found:
        own = Scene(ctx, attributes, params)
        try:
            if not conditions_hold(own, spec.get("matchConditions") or ()):
                continue
        except Failed as error:
            yield Application(policy, binding, own, attributes, params, str(error))
            continue
        own = Scene(ctx, attributes, params, spec.get("variables") or ())
        yield Application(policy, binding, own, attributes, params)


def _unknown_kind(ctx: Context, kind: Object | None) -> str:
    """What is said of a kind of parameters that nobody serves; "" of one that is, or of none."""
    if kind is None or _kind(ctx, kind) is not None:
        return ""
    return f"failed to find resource referenced by paramKind: '{_gvk(kind)}'"


def _kind(ctx: Context, kind: Object) -> Resource | None:
    find = ctx.kind or apis.by_kind
    return find(kind["apiVersion"], kind["kind"])


def _params(ctx: Context, attributes: Attributes, kind: Object | None, ref: Object | None) -> list[Object | None]:
    if kind is None or ref is None:
        return [None]
    resource = _kind(ctx, kind)
    assert resource is not None
    if ref.get("namespace") and not resource.namespaced:
        raise Failed("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    namespace = (ref.get("namespace") or attributes.namespace) if resource.namespaced else ""
    if resource.namespaced and not namespace:
        raise Failed("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    found: list[Object | None] = []
    if ref.get("name"):
        one = ctx.objects.get(resource, Key(namespace, ref["name"]))
        found = [one] if one is not None else []
    else:
        selector = labels.from_label_selector(ref.get("selector"))
        every = ctx.objects.list(resource, namespace)
        found = [each for each in every if selector.matches(each["metadata"].get("labels") or {})]
    if not found and ref.get("parameterNotFoundAction") == "Deny":
        raise Failed(_NONE_FOUND)
    return found


def _gvk(kind: Object) -> str:
    group, _, version = str(kind["apiVersion"]).rpartition("/")
    return f"{group}/{version}, Kind={kind['kind']}"
