"""TaintNodesByCondition: a new node takes no pods until it has been seen ready."""

from pynetes.apiserver.admission.attributes import CREATE, Attributes, Policy
from pynetes.apiserver.objects import Context

KEY = "node.kubernetes.io/not-ready"


class TaintNodesByCondition(Policy):
    """Nodes on create."""

    name = "TaintNodesByCondition"
    admits = frozenset({("", "nodes")})

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Add the taint, which the node lifecycle controller takes away."""
        node = attributes.obj
        if node is None or not attributes.on("", "nodes", CREATE):
            return
        spec = node.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(taint.get("key") == KEY and taint.get("effect") == "NoSchedule" for taint in taints):
            spec["taints"] = [*taints, {"key": KEY, "effect": "NoSchedule"}]
