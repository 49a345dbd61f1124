"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or cannot be reached."""

from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.machinery.meta import Object

KEYS = NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


class DefaultTolerationSeconds(Policy):
    """Pods, unless they say themselves how long."""

    name = "DefaultTolerationSeconds"
    admits = frozenset({("", "pods")})

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Add what is missing of the two tolerations."""
        pod = attributes.obj
        if pod is None or not attributes.on("", "pods", CREATE, UPDATE):
            return
        tolerations = list(pod["spec"].get("tolerations") or ())
        missing = [key for key in KEYS if not any(_tolerates(toleration, key) for toleration in tolerations)]
        if missing:
            seconds = {NOT_READY: ctx.settings.not_ready_seconds, UNREACHABLE: ctx.settings.unreachable_seconds}
            pod["spec"]["tolerations"] = [*tolerations, *(_toleration(key, seconds[key]) for key in missing)]


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key") in (None, "", key) and toleration.get("effect") in (None, "", "NoExecute")


def _toleration(key: str, seconds: int) -> Object:
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
