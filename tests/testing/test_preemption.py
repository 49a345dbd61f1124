"""Preemption with the rights that the scheduler really has, against the real API server."""

import asyncio

from pynetes.apis.core import events, pods
from pynetes.apis.scheduling import priorityclasses
from pynetes.machinery.meta import Key, Object
from pynetes.testing.cluster import Cluster


def pod(name: str, **spec: str) -> Object:
    container = {"name": "c", "image": "busybox", "resources": {"requests": {"cpu": "6"}}}
    metadata = {"namespace": "default", "name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


async def test_an_important_pod_takes_the_place_of_another(cluster: Cluster) -> None:
    """Two nodes are full; the important pod runs where one of the others had to leave, which is told why."""
    async with asyncio.timeout(20):
        important = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "important"},
            "value": 1000,
        }
        await cluster.client.create(priorityclasses.RESOURCE, important)
        for name in ("a", "b"):
            await cluster.client.create(pods.RESOURCE, pod(name))
            await cluster.until(pods.RESOURCE, Key("default", name), lambda found: "nodeName" in found["spec"])
        await cluster.client.create(pods.RESOURCE, pod("high", priorityClassName="important"))
        key = Key("default", "high")
        found = await cluster.until(pods.RESOURCE, key, lambda high: high["status"].get("phase") == "Running")
        assert found["spec"]["priority"] == 1000
        left = {each["metadata"]["name"] for each in (await cluster.client.list(pods.RESOURCE)).items}
        assert len(left) == 2
        while not (told := await cluster.client.list(events.RESOURCE, field_selector="reason=Preempted")).items:
            await asyncio.sleep(0.01)
        assert told.items[0]["involvedObject"]["name"] not in left
