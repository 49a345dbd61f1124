"""LimitRanger: what containers get that ask for nothing, and how much anything in the namespace may ask for."""

from collections.abc import Iterator, Mapping

from pynetes.apis.core import _pod_resources, limitranges
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import parse as quantity

ANNOTATION = "kubernetes.io/limit-ranger"
Quantities = Mapping[str, str]


class LimitRanger(Policy):
    """Pods and claims."""

    name = "LimitRanger"
    rules = limitranges.RESOURCE
    admits = frozenset({("", "pods")})

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Fill containers' requests and limits in, and note it in an annotation."""
        pod = attributes.obj
        if pod is None or not attributes.on("", "pods", CREATE):
            return
        done = [note for limit in _limits(ctx, attributes, "Container") for note in _fill(pod["spec"], limit)]
        if done:
            annotations = pod["metadata"].setdefault("annotations", {})
            annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(done)

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403 listing every limit that is broken."""
        obj = attributes.obj
        if obj is None:
            return
        if attributes.on("", "pods", CREATE):
            problems = _pod_problems
        elif attributes.on("", "persistentvolumeclaims", CREATE, UPDATE):
            problems = _claim_problems
        else:
            return
        for limit_range in ctx.objects.list(limitranges.RESOURCE, attributes.namespace):
            # The first range that is broken answers alone; what several containers have in common it says once.
            found = list(dict.fromkeys(problems(limit_range, obj["spec"])))
            if found:
                raise attributes.forbidden(found[0] if len(found) == 1 else f"[{', '.join(found)}]")


def _limits(ctx: Context, attributes: Attributes, kind: str) -> Iterator[Object]:
    for limit_range in ctx.objects.list(limitranges.RESOURCE, attributes.namespace):
        for limit in limit_range["spec"].get("limits") or ():
            if limit["type"] == kind:
                yield limit


def _fill(spec: Object, limit: Object) -> Iterator[str]:
    for field, title in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(field) or ():
            resources = container.setdefault("resources", {})
            for side, default in (("requests", "defaultRequest"), ("limits", "default")):
                # A request defaults to its limit before it defaults to the range's default.
                own = resources.get("limits") or {} if side == "requests" else {}
                added = _missing({**_default(limit, side, default)}, resources.get(side) or {}, own)
                if added:
                    resources[side] = {**(resources.get(side) or {}), **added}
                    word = side.removesuffix("s")
                    yield f"{', '.join(sorted(added))} {word} for {title} {container['name']}"


def _default(limit: Object, side: str, field: str) -> Object:
    """Default requests fall back to default limits, and those to the maximum, as the API defaults a LimitRange."""
    limits = {**(limit.get("max") or {}), **(limit.get("default") or {})}
    if side == "limits":
        return limits
    return {**(limit.get("min") or {}), **limits, **(limit.get(field) or {})}


def _missing(defaults: Object, given: Object, own: Object) -> Object:
    return {name: value for name, value in defaults.items() if name not in given and name not in own}


def _pod_problems(limit_range: Object, spec: Object) -> Iterator[str]:
    for limit in limit_range["spec"].get("limits") or ():
        if limit["type"] == "Container":
            for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                yield from _problems(limit, container.get("resources") or {}, "Container")
        elif limit["type"] == "Pod":
            yield from _problems(limit, _total(spec), "Pod")


def _problems(limit: Object, resources: Object, kind: str) -> Iterator[str]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, bound in sorted((limit.get("min") or {}).items()):
        yield from _minimum(name, bound, kind, requests, limits)
    for name, bound in sorted((limit.get("max") or {}).items()):
        yield from _maximum(name, bound, kind, requests, limits)
    for name, bound in sorted((limit.get("maxLimitRequestRatio") or {}).items()):
        yield from _ratio(name, bound, kind, requests, limits)


def _minimum(name: str, bound: str, kind: str, requests: Quantities, limits: Quantities) -> Iterator[str]:
    text, least = f"minimum {name} usage per {kind} is {bound}", quantity(bound)
    if name not in requests:
        yield f"{text}.  No request is specified"
        return
    if quantity(requests[name]) < least:
        yield f"{text}, but request is {requests[name]}"
    elif name in limits and quantity(limits[name]) < least:
        yield f"{text}, but limit is {limits[name]}"


def _maximum(name: str, bound: str, kind: str, requests: Quantities, limits: Quantities) -> Iterator[str]:
    text, most = f"maximum {name} usage per {kind} is {bound}", quantity(bound)
    if name not in limits:
        yield f"{text}.  No limit is specified"
        return
    if most < quantity(limits[name]):
        yield f"{text}, but limit is {limits[name]}"
    elif name in requests and most < quantity(requests[name]):
        yield f"{text}, but request is {requests[name]}"


def _ratio(name: str, bound: str, kind: str, requests: Quantities, limits: Quantities) -> Iterator[str]:
    text = f"{name} max limit to request ratio per {kind} is {bound}"
    request, limit = (quantity(given[name]).milli() if name in given else 0 for given in (requests, limits))
    if not request:
        yield f"{text}, but no request is specified or request is 0"
    elif not limit:
        yield f"{text}, but no limit is specified or limit is 0"
    elif limit / request > quantity(bound).milli() / 1000:
        yield f"{text}, but provided ratio is {limit / request:.6f}"


def _total(spec: Object) -> Object:
    """What a pod asks for: its containers as they run together, or its own budget. Overhead is not the author's."""
    without = {name: value for name, value in spec.items() if name != "overhead"}
    return {
        side: {name: str(value) for name, value in _pod_resources.total(without, side).items()}
        for side in ("requests", "limits")
    }


def _claim_problems(limit_range: Object, spec: Object) -> Iterator[str]:
    requests = (spec.get("resources") or {}).get("requests") or {}
    for limit in limit_range["spec"].get("limits") or ():
        if limit["type"] == "PersistentVolumeClaim":
            yield from _request_problems(limit, requests)


def _request_problems(limit: Object, requests: Quantities) -> Iterator[str]:
    kind = "PersistentVolumeClaim"
    for name, bound in sorted((limit.get("min") or {}).items()):
        if name in requests and quantity(requests[name]) < quantity(bound):
            yield f"minimum {name} usage per {kind} is {bound}, but request is {requests[name]}"
    for name, bound in sorted((limit.get("max") or {}).items()):
        if name in requests and quantity(bound) < quantity(requests[name]):
            yield f"maximum {name} usage per {kind} is {bound}, but request is {requests[name]}"
