"""Priority: the number behind a pod's priorityClassName, and one default class at most."""

from pynetes.apis.scheduling import priorityclasses
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.machinery.meta import Key, Object

DEFAULT_POLICY = "PreemptLowerPriority"
GUIDE = "must not be provided in pod spec; priority admission controller computed"


class Priority(Policy):
    """Pods and PriorityClasses."""

    name = "Priority"
    validates = frozenset({("scheduling.k8s.io", "priorityclasses")})
    admits = frozenset({("", "pods")})

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Resolve the class. Raises 403 when it is not there, or the pod brings another number."""
        pod = attributes.obj
        if pod is None or not attributes.on("", "pods", CREATE, UPDATE):
            return
        spec = pod["spec"]
        if attributes.operation == UPDATE:
            # The class may have changed or gone since; the pod keeps what it was given.
            for name in ("priority", "preemptionPolicy"):
                before = (attributes.old or pod)["spec"].get(name)
                if spec.get(name) is None and before is not None:
                    spec[name] = before
            return
        found = _class(ctx, attributes, spec)
        value = int(found.get("value") or 0) if found else 0
        policy = (found.get("preemptionPolicy") if found else None) or DEFAULT_POLICY
        if spec.get("priority") not in (None, value):
            text = (
                f"the integer value of priority ({spec['priority']}) {GUIDE} {value} from the given PriorityClass name"
            )
            raise attributes.forbidden(text)
        if spec.get("preemptionPolicy") not in (None, policy):
            text = f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) {GUIDE} {policy}"
            raise attributes.forbidden(f"{text} from the given PriorityClass name")
        spec["priority"], spec["preemptionPolicy"] = value, policy

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403 for a second default class."""
        new = attributes.obj
        if new is None or not attributes.on("scheduling.k8s.io", "priorityclasses", CREATE, UPDATE):
            return
        if not new.get("globalDefault"):
            return
        other = default_class(ctx)
        if other is None:
            return
        name = other["metadata"]["name"]
        if attributes.operation == CREATE or name != new["metadata"].get("name"):
            text = f"PriorityClass {name} is already marked as default. Only one default can exist"
            raise attributes.forbidden(text)


def _class(ctx: Context, attributes: Attributes, spec: Object) -> Object | None:
    name = spec.get("priorityClassName")
    if not name:
        found = default_class(ctx)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
        return found
    found = ctx.objects.get(priorityclasses.RESOURCE, Key("", name))
    if found is None:
        raise attributes.forbidden(f"no PriorityClass with name {name} was found")
    return found


def default_class(ctx: Context) -> Object | None:
    """The class for pods that name none; of several (a race made them) the one of least value."""
    found = [obj for obj in ctx.objects.list(priorityclasses.RESOURCE) if obj.get("globalDefault")]
    return min(found, key=lambda obj: int(obj.get("value") or 0), default=None)
