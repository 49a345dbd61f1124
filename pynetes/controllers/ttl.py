"""Tells kubelets how long they may cache Secrets and ConfigMaps: the more nodes, the longer.

Where a kubelet watches what it needs, this is only a fallback; it is an annotation on the node.
"""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import nodes
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.machinery.meta import Key, Object

ANNOTATION = "node.alpha.kubernetes.io/ttl"
#: (up to how many nodes, seconds).
_STEPS = ((100, 0), (500, 15), (1000, 30), (2000, 60))
_LARGEST = 300


def seconds(count: int) -> int:
    """The time to live in a cluster of this many nodes."""
    return next((ttl for limit, ttl in _STEPS if count <= limit), _LARGEST)


def everyone(lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """The node itself; all nodes when the number of them crosses a step."""
    yield Key("", node["metadata"]["name"])
    count = len(lookup.listed(nodes.RESOURCE))
    if (old is None and seconds(count) != seconds(count - 1)) or (old is node and seconds(count) != seconds(count + 1)):
        yield from (Key("", each["metadata"]["name"]) for each in lookup.listed(nodes.RESOURCE))


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    node = await ctx.cached(nodes.RESOURCE, key)
    if node is None:
        return None
    wanted = str(seconds(len(ctx.listed(nodes.RESOURCE))))
    if (node["metadata"].get("annotations") or {}).get(ANNOTATION) != wanted:
        await ctx.patch(nodes.RESOURCE, key, {"metadata": {"annotations": {ANNOTATION: wanted}}})
    return None


CONTROLLER = Controller(
    name="ttl-controller",
    reconcile=reconcile,
    watches=(Watch(nodes.RESOURCE, keys=everyone),),
    rules=(
        Rule("nodes", "list,patch,update,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
