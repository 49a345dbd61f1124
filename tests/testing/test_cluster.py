"""The in-process cluster: everything works together, over the real client, and over HTTPS too."""

import asyncio

from pynetes.apis.apps import deployments
from pynetes.apis.core import events, nodes, pods
from pynetes.client.rest import Client
from pynetes.machinery.meta import Key, Object
from pynetes.testing.cluster import Cluster

KEY = Key("default", "web")


def deployment(replicas: int) -> Object:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "default", "name": "web"},
        "spec": spec,
    }


async def test_a_deployment_runs_on_scripted_nodes(cluster: Cluster) -> None:
    """Deployment, ReplicaSet, scheduler and nodes bring the pods up, and deleting takes all of it away."""
    async with asyncio.timeout(20):
        await cluster.client.create(deployments.RESOURCE, deployment(3))
        await cluster.until(deployments.RESOURCE, KEY, lambda found: found["status"].get("readyReplicas") == 3)
        listed = await cluster.client.list(pods.RESOURCE, namespace="default")
        assert {pod["spec"]["nodeName"] for pod in listed.items} == {"node-1", "node-2"}
        await cluster.client.delete(deployments.RESOURCE, KEY, propagation="Foreground")
        while (await cluster.client.list(pods.RESOURCE, namespace="default")).items:
            await asyncio.sleep(0.01)


async def test_it_serves_https(cluster: Cluster) -> None:
    """The kubeconfig works over the network, with a verified certificate."""
    async with asyncio.timeout(20):
        client = Client.from_kubeconfig(str(cluster.kubeconfig))
        try:
            await cluster.until(nodes.RESOURCE, Key("", "node-1"), lambda node: True)
            await cluster.until(nodes.RESOURCE, Key("", "node-2"), lambda node: True)
            names = [node["metadata"]["name"] for node in (await client.list(nodes.RESOURCE)).items]
            assert names == ["node-1", "node-2"]
        finally:
            await client.close()


async def test_events_are_found_by_the_object_they_are_about(cluster: Cluster) -> None:
    """What `kubectl describe` asks for: the events of one pod, among them where it was scheduled to."""
    async with asyncio.timeout(20):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"containers": [{"name": "c", "image": "busybox"}]},
        }
        made = await cluster.client.create(pods.RESOURCE, pod)
        about = f"involvedObject.name=web,involvedObject.uid={made['metadata']['uid']}"
        while not (
            found := await cluster.client.list(events.RESOURCE, namespace="default", field_selector=about)
        ).items:
            await asyncio.sleep(0.01)
        assert found.items[0]["reason"] == "Scheduled"


async def test_settling_waits_for_everything_that_follows(cluster: Cluster) -> None:
    """After it, the pods of a Deployment run; and after a deletion, all that depended on it is gone."""
    async with asyncio.timeout(20):
        await cluster.client.create(deployments.RESOURCE, deployment(5))
        await cluster.settle()
        assert (await cluster.client.get(deployments.RESOURCE, KEY))["status"]["readyReplicas"] == 5
        await cluster.client.delete(deployments.RESOURCE, KEY)
        await cluster.settle()
        assert not (await cluster.client.list(pods.RESOURCE, namespace="default")).items
