"""What the scheduler believes about the cluster: nodes, the pods on them, and the pods it has just placed itself.

A placed ("assumed") pod counts at once, long before the API server has confirmed its binding, so that the next pod sees
the room it takes. The watch confirms it; a failed binding takes it back.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pynetes.machinery.meta import Key, Object
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.pods import PodInfo


class Cache:
    """Columns of nodes, kept up by difference."""

    def __init__(self) -> None:
        self.nodes = NodeColumns()
        self._placed: dict[Key, tuple[str, PodInfo]] = {}
        #: Pods by the name of their node, also of nodes that are not (or no longer) known.
        self._by_node: dict[str, dict[Key, PodInfo]] = {}
        self._assumed: set[Key] = set()
        self._nominated: dict[Key, tuple[str, PodInfo]] = {}

    def set_node(self, node: Object) -> None:
        """A node came or changed; pods that were seen on it before it are counted now."""
        name = node["metadata"]["name"]
        new = name not in self.nodes.rows
        self.nodes.set_node(node)
        if new:
            for info in self._by_node.get(name, {}).values():
                self.nodes.add_pod(name, info)

    def remove_node(self, name: str) -> None:
        """A node is gone."""
        self.nodes.remove_node(name)

    def assume(self, info: PodInfo, node: str) -> None:
        """Count a pod on the node that was chosen for it."""
        self._place(info, node)
        self._assumed.add(info.key)

    def forget(self, info: PodInfo) -> None:
        """The binding failed: the pod takes no room after all."""
        if info.key in self._assumed:
            self.remove_pod(info.key)

    def set_pod(self, info: PodInfo) -> None:
        """The watch shows a pod on its node."""
        self._assumed.discard(info.key)
        self._place(info, info.node_name)

    def remove_pod(self, key: Key) -> None:
        """A pod is gone or finished."""
        self._assumed.discard(key)
        if placed := self._placed.pop(key, None):
            node, info = placed
            self.nodes.remove_pod(node, info)
            on_node = self._by_node[node]
            del on_node[key]
            if not on_node:
                del self._by_node[node]

    def placed(self) -> list[tuple[Key, tuple[str, PodInfo]]]:
        """Every pod on a node: its key, the node's name, the pod."""
        return list(self._placed.items())

    @property
    def sizes(self) -> dict[str, int]:
        """How much is known, by kind."""
        return {"nodes": len(self.nodes), "pods": len(self._placed), "assumed_pods": len(self._assumed)}

    def nominate(self, info: PodInfo, node: str) -> None:
        """Room is being made for the pod on this node."""
        self._nominated[info.key] = (node, info)

    def nominated(self, key: Key) -> str:
        """The node on which room is being made for a pod; "" is none."""
        return self._nominated[key][0] if key in self._nominated else ""

    def withdraw(self, key: Key) -> None:
        """No room needs to be kept for the pod any more."""
        self._nominated.pop(key, None)

    @contextmanager
    def reserved(self, info: PodInfo) -> Iterator[None]:
        """Count the room that is being made for pods at least as important as info, for the time of the block."""
        others = [
            (node, other)
            for key, (node, other) in self._nominated.items()
            if key != info.key and other.priority >= info.priority and key not in self._placed
        ]
        for node, other in others:
            self.nodes.add_pod(node, other)
        try:
            yield
        finally:
            for node, other in others:
                self.nodes.remove_pod(node, other)

    def is_assumed(self, key: Key) -> bool:
        """Whether the pod was placed and is not confirmed yet."""
        return key in self._assumed

    def _place(self, info: PodInfo, node: str) -> None:
        known = self._placed.get(info.key)
        if known is not None and known[0] == node and known[1].spec == info.spec and known[1].labels == info.labels:
            return  # the usual update: a status that takes nothing
        self.remove_pod(info.key)
        self._placed[info.key] = (node, info)
        self._by_node.setdefault(node, {})[info.key] = info
        self.nodes.add_pod(node, info)
