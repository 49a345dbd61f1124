"""Publishes what drivers say of this node: CSINode, topology labels, and the annotation with the drivers' node IDs."""

import json
from collections.abc import Callable

from pynetes.apis.core import nodes
from pynetes.apis.storage import csinodes
from pynetes.client.rest import Client
from pynetes.kubelet.plugins.registry import Refused
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.rpc.csi import csi_pb2 as pb

NODE_ID = "csi.volume.kubernetes.io/nodeid"
TRIES = 10


def entry(driver: str, info: pb.NodeGetInfoResponse) -> Object:
    """A driver's entry of CSINode."""
    segments = info.accessible_topology.segments
    made: Object = {"name": driver, "nodeID": info.node_id, "topologyKeys": sorted(segments)}
    if info.max_volumes_per_node > 0:
        made["allocatable"] = {"count": info.max_volumes_per_node}
    return made


def with_driver(node: Object, made: Object) -> Object:
    """CSINode with a driver's entry added or replaced. Pure."""
    drivers = (node.get("spec") or {}).get("drivers") or []
    kept = [one for one in drivers if one["name"] != made["name"]]
    return {**node, "spec": {"drivers": [*kept, made]}}


def without_driver(node: Object, driver: str) -> Object:
    """CSINode without a driver. Pure."""
    drivers = (node.get("spec") or {}).get("drivers") or []
    return {**node, "spec": {"drivers": [one for one in drivers if one["name"] != driver]}}


class NodeInfo:
    """Writes for one node."""

    def __init__(self, client: Client, node: str) -> None:
        self._client, self._key = client, Key("", node)

    async def ensure(self) -> None:
        """Have a CSINode, though it be empty: the scheduler then knows that the node's drivers are told there."""
        if await self._client.find(csinodes.RESOURCE, self._key) is None:
            await self._create({"spec": {"drivers": []}})

    async def publish(self, driver: str, info: pb.NodeGetInfoResponse) -> None:
        """Tell of a driver. Raises Refused where a label of the node contradicts its topology, StatusError."""
        node = await self._client.get(nodes.RESOURCE, self._key)
        await self._client.patch(nodes.RESOURCE, self._key, node_patch(node, driver, info), kind="strategic")
        made = entry(driver, info)
        await self._change(lambda csinode: with_driver(csinode, made))

    async def withdraw(self, driver: str) -> None:
        """The driver is gone from the node; labels stay, since volumes may still name them."""
        await self._change(lambda csinode: without_driver(csinode, driver))
        node = await self._client.get(nodes.RESOURCE, self._key)
        ids = _ids(node)
        if ids.pop(driver, None) is not None:
            value = json.dumps(ids, separators=(",", ":")) if ids else None
            patch = {"metadata": {"annotations": {NODE_ID: value}}}
            await self._client.patch(nodes.RESOURCE, self._key, patch, kind="strategic")

    async def _change(self, change: Callable[[Object], Object]) -> None:
        for _ in range(TRIES):
            found = await self._client.find(csinodes.RESOURCE, self._key)
            try:
                if found is None:
                    await self._create(change({"spec": {"drivers": []}}))
                elif (changed := change(found)) != found:
                    await self._client.update(csinodes.RESOURCE, changed)
                return
            except StatusError as error:
                if error.reason not in ("Conflict", "AlreadyExists"):
                    raise
        raise Refused(f"CSINode {self._key.name} kept changing meanwhile")

    async def _create(self, body: Object) -> None:
        node = await self._client.get(nodes.RESOURCE, self._key)
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._key.name, "uid": node["metadata"]["uid"]}
        metadata = {"name": self._key.name, "ownerReferences": [owner]}
        made = {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": metadata, **body}
        await self._client.create(csinodes.RESOURCE, made)


def node_patch(node: Object, driver: str, info: pb.NodeGetInfoResponse) -> Object:
    """The patch for the node's labels and annotation. Raises Refused. Pure."""
    labels = node["metadata"].get("labels") or {}
    for key, value in info.accessible_topology.segments.items():
        if key in labels and labels[key] != value:
            raise Refused(f"driver {driver} says {key}={value}, but the node's label says {labels[key]!r}")
    ids = {**_ids(node), driver: info.node_id}
    annotation = json.dumps(ids, separators=(",", ":"), sort_keys=True)
    return {
        "metadata": {
            "labels": dict(info.accessible_topology.segments),
            "annotations": {NODE_ID: annotation},
        }
    }


def _ids(node: Object) -> dict[str, str]:
    text = (node["metadata"].get("annotations") or {}).get(NODE_ID)
    try:
        return dict(json.loads(text)) if text else {}
    except ValueError:
        return {}
