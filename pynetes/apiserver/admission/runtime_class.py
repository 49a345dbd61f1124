"""RuntimeClass: a pod takes over its runtime's overhead, node selector and tolerations."""

from pynetes.apis.node import runtimeclasses
from pynetes.apiserver.admission.attributes import CREATE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.quantity import parse as quantity

UNDEFINED = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
DIFFERENT = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"


class RuntimeClass(Policy):
    """Pods on create."""

    name = "RuntimeClass"
    admits = frozenset({("", "pods")})

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403 when the class is not there or contradicts the pod."""
        pod = attributes.obj
        if pod is None or not attributes.on("", "pods", CREATE):
            return
        spec, found = pod["spec"], None
        if name := spec.get("runtimeClassName"):
            # The class may have been made, or deleted, right before.
            await ctx.objects.fresh(runtimeclasses.RESOURCE)
            found = ctx.objects.get(runtimeclasses.RESOURCE, Key("", name))
            if found is None:
                raise attributes.forbidden(f'pod rejected: RuntimeClass "{name}" not found')
        _overhead(attributes, spec, ((found or {}).get("overhead") or {}).get("podFixed"))
        _scheduling(attributes, spec, (found or {}).get("scheduling") or {})


def _overhead(attributes: Attributes, spec: Object, fixed: Object | None) -> None:
    given = spec.get("overhead")
    if not fixed:
        if given:
            raise attributes.forbidden(UNDEFINED)
        return
    if not given:
        spec["overhead"] = dict(fixed)
    elif {k: quantity(v) for k, v in given.items()} != {k: quantity(v) for k, v in fixed.items()}:
        raise attributes.forbidden(DIFFERENT)


def _scheduling(attributes: Attributes, spec: Object, wanted: Object) -> None:
    selector = dict(spec.get("nodeSelector") or {})
    for key, value in (wanted.get("nodeSelector") or {}).items():
        if selector.setdefault(key, value) != value:
            raise attributes.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}"
            )
    if selector:
        spec["nodeSelector"] = selector
    held = list(spec.get("tolerations") or ())
    added = [dict(toleration) for toleration in wanted.get("tolerations") or () if toleration not in held]
    if added:
        spec["tolerations"] = [*held, *added]
