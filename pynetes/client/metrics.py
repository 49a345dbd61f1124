"""metrics.k8s.io as a client sees it: the kinds that a metrics server serves through aggregation.

They are no kinds of the API server itself, so they stand here and not among pynetes/apis.
"""

from datetime import datetime

from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import ZERO, parse
from pynetes.machinery.resource import Column, Resource

GROUP, VERSION = "metrics.k8s.io", "v1beta1"


def _node(name: str) -> Column:
    return Column(name, lambda obj, _: str(obj["usage"].get(name, "")), description=f"Usage of {name}.")


def _pod(name: str) -> Column:
    def total(obj: Object, _: datetime) -> str:
        found = [parse(each["usage"][name]) for each in obj["containers"] if name in each["usage"]]
        return str(sum(found, ZERO)) if found else ""

    return Column(name, total, description=f"Usage of {name} by all containers.")


_WINDOW = Column("Window", ".window", description="The time over which the usage was measured.")
NODES = Resource(
    group=GROUP,
    versions=(VERSION,),
    kind="NodeMetrics",
    plural="nodes",
    namespaced=False,
    verbs=("get", "list"),
    stored=False,
    columns=(_node("cpu"), _node("memory"), _WINDOW),
)
PODS = Resource(
    group=GROUP,
    versions=(VERSION,),
    kind="PodMetrics",
    plural="pods",
    verbs=("get", "list"),
    stored=False,
    columns=(_pod("cpu"), _pod("memory"), _WINDOW),
)
