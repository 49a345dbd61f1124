"""All nodes as columns of numbers, so that a filter or a score is a vector operation over the whole cluster.

A node is a row; a freed row is used again. Columns change by difference, with each pod and node event. What is not a
number (labels, ports, images) is indexed by value, so that a plugin asks for the rows that have it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynetes.machinery.meta import Key, Object
from pynetes.scheduler.pods import PodInfo, amount

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]

#: Columns that every cluster has; extended resources get theirs when first seen.
BASE_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")
_ROWS = 16


class NodeColumns:
    """The nodes, what they have and what is taken of it."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.nodes: list[Object | None] = []
        self.pods: list[dict[Key, PodInfo]] = []
        self.resources: dict[str, int] = {name: column for column, name in enumerate(BASE_RESOURCES)}
        self.alive: Mask = np.zeros(_ROWS, dtype=np.bool_)
        self.unschedulable: Mask = np.zeros(_ROWS, dtype=np.bool_)
        #: Nodes with taints that keep pods away, and with taints that only make them the worse choice.
        self.tainted: Mask = np.zeros(_ROWS, dtype=np.bool_)
        self.soft_tainted: Mask = np.zeros(_ROWS, dtype=np.bool_)
        self.allocatable: Numbers = np.zeros((_ROWS, len(BASE_RESOURCES)), dtype=np.int64)
        self.requested: Numbers = np.zeros((_ROWS, len(BASE_RESOURCES)), dtype=np.int64)
        #: CPU and memory taken, with defaults for pods that request nothing.
        self.nonzero: Numbers = np.zeros((_ROWS, 2), dtype=np.int64)
        #: Label key → value → rows.
        self.labelled: dict[str, dict[str, set[int]]] = {}
        #: (protocol, port) → row → addresses.
        self.ports: dict[tuple[str, int], dict[int, list[str]]] = {}
        #: Image name → row → bytes.
        self.images: dict[str, dict[int, int]] = {}
        #: Row → the pods there that have terms of inter-pod affinity.
        self.affine: dict[int, dict[Key, PodInfo]] = {}
        #: Controller UID → row → how many of its pods are there.
        self.replicas: dict[str, Counter[int]] = {}
        #: Namespace → its labels.
        self.namespaces: dict[str, dict[str, str]] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    # Nodes.

    def set_node(self, node: Object) -> None:
        """Add a node, or take over its new version."""
        name = node["metadata"]["name"]
        row = self.rows.get(name)
        if row is None:
            row = self.rows[name] = self._free.pop() if self._free else self._grow()
        else:
            self._unindex(row)
        self.nodes[row], self.alive[row] = node, True
        spec, status = node.get("spec") or {}, node.get("status") or {}
        self.unschedulable[row] = bool(spec.get("unschedulable"))
        effects = {taint["effect"] for taint in spec.get("taints") or ()}
        self.tainted[row] = bool(effects - {"PreferNoSchedule"})
        self.soft_tainted[row] = "PreferNoSchedule" in effects
        self.allocatable[row] = 0
        for resource, text in (status.get("allocatable") or {}).items():
            column = self.column(resource)
            self.allocatable[row, column] = amount(resource, text)
        for key, value in labels_of(node).items():
            self.labelled.setdefault(key, {}).setdefault(value, set()).add(row)
        for image in status.get("images") or ():
            for text in image.get("names") or ():
                self.images.setdefault(text, {})[row] = image.get("sizeBytes") or 0

    def remove_node(self, name: str) -> None:
        """Forget a node and what ran there."""
        row = self.rows.pop(name, None)
        if row is None:
            return
        self._unindex(row)
        for info in tuple(self.pods[row].values()):
            self.remove_pod(name, info, row=row)
        self.nodes[row], self.alive[row] = None, False
        self._free.append(row)

    def _unindex(self, row: int) -> None:
        node = self.nodes[row]
        assert node is not None
        for key, value in labels_of(node).items():
            values = self.labelled[key]
            values[value].discard(row)
            if not values[value]:
                del values[value]
        for image in (node.get("status") or {}).get("images") or ():
            for text in image.get("names") or ():
                self.images.get(text, {}).pop(row, None)

    def _grow(self) -> int:
        row = len(self.nodes)
        self.nodes.append(None)
        self.pods.append({})
        if row >= len(self.alive):
            more = len(self.alive)
            for name in ("alive", "unschedulable", "tainted", "soft_tainted", "allocatable", "requested", "nonzero"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros((more, *column.shape[1:]), dtype=column.dtype)]))
        return row

    def column(self, resource: str) -> int:
        """The column of a resource, made when it is new."""
        column = self.resources.get(resource)
        if column is None:
            column = self.resources[resource] = len(self.resources)
            blank = np.zeros((len(self.alive), 1), dtype=np.int64)
            self.allocatable = np.hstack([self.allocatable, blank])
            self.requested = np.hstack([self.requested, blank])
        return column

    # Pods on nodes.

    def add_pod(self, node: str, info: PodInfo) -> None:
        """Count a pod on its node, if the node is known."""
        row = self.rows.get(node)
        if row is not None:
            self.pods[row][info.key] = info
            self._count(row, info, 1)

    def remove_pod(self, node: str, info: PodInfo, *, row: int | None = None) -> None:
        """Take a pod off its node."""
        row = self.rows.get(node) if row is None else row
        if row is not None and self.pods[row].pop(info.key, None) is not None:
            self._count(row, info, -1)

    def _count(self, row: int, info: PodInfo, sign: int) -> None:
        for resource, value in info.requests.items():
            column = self.column(resource)
            self.requested[row, column] += sign * value
        self.nonzero[row] += np.multiply(info.nonzero, sign)
        if info.controller:
            self._count_replica(row, info.controller, sign)
        if info.has_pod_affinity:
            self._count_affine(row, info, sign)
        for port in info.host_ports:
            taken = self.ports.setdefault((port.protocol, port.port), {}).setdefault(row, [])
            if sign > 0:
                taken.append(port.ip)
            else:
                taken.remove(port.ip)
                if not taken:
                    del self.ports[port.protocol, port.port][row]

    def _count_replica(self, row: int, controller: str, sign: int) -> None:
        counts = self.replicas.setdefault(controller, Counter())
        counts[row] += sign
        if not counts[row]:
            del counts[row]
            if not counts:
                del self.replicas[controller]

    def _count_affine(self, row: int, info: PodInfo, sign: int) -> None:
        here = self.affine.setdefault(row, {})
        if sign > 0:
            here[info.key] = info
        else:
            here.pop(info.key, None)
            if not here:
                del self.affine[row]

    # What plugins ask for.

    def mask(self, rows: Iterable[int] = ()) -> Mask:
        """A mask of just these rows."""
        found = np.zeros(len(self.alive), dtype=np.bool_)
        found[list(rows)] = True
        return found

    def rows_where(self, mask: Mask, predicate: Callable[[Object], Any]) -> Mask:
        """Of the rows in mask, those whose node satisfies predicate: for what has no column."""
        return self.mask(row for row in np.flatnonzero(mask).tolist() if predicate(self.node(row)))

    def node(self, row: int) -> Object:
        """The node of a living row."""
        node = self.nodes[row]
        assert node is not None
        return node

    def name(self, row: int) -> str:
        """The name of a living row's node."""
        return str(self.node(row)["metadata"]["name"])


def labels_of(node: Object) -> dict[str, str]:
    """A node's labels."""
    return node["metadata"].get("labels") or {}
