"""NetworkPolicy: which traffic reaches and leaves pods."""

from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Ports are TCP; a policy is for ingress, and for egress too if it has such rules."""
    spec = obj.get("spec")
    if spec is None:
        return
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if "egress" in spec else [])]


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    default=default,
    columns=(Column("Pod-Selector", cells.selector(".spec.podSelector")), Column.AGE),
)
