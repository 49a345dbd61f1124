"""The controllers against the real API server, scheduler and scripted nodes, in one process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.apps import daemonsets, deployments, replicasets, statefulsets
from pynetes.apis.batch import jobs
from pynetes.apis.core import configmaps, namespaces, pods, secrets, serviceaccounts, services
from pynetes.apis.discovery import endpointslices
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.testing.cluster import Cluster
from tests.controllers.harness import template

WAIT = 30
WEB = Key("shop", "web")


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Two nodes, and a namespace "shop"."""
    async with asyncio.timeout(WAIT), Cluster(nodes=2) as made:
        await made.client.create(
            namespaces.RESOURCE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        )
        await made.until(serviceaccounts.RESOURCE, Key("shop", "default"), lambda _: True)
        await made.until(configmaps.RESOURCE, Key("shop", "kube-root-ca.crt"), lambda _: True)
        yield made


def workload(resource: Resource, name: str, **spec: Any) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(app=name)} | spec,
    }


async def make(cluster: Cluster, obj: Object, resource: Resource) -> None:
    await cluster.client.create(resource, obj)


def rolled_out(replicas: int) -> Callable[[Object], bool]:
    def holds(found: Object) -> bool:
        status = found.get("status") or {}
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        names = ("replicas", "updatedReplicas", "availableReplicas")
        return seen and all(status.get(name) == replicas for name in names)

    return holds


async def gone(cluster: Cluster, resource: Resource, namespace: str = "shop") -> None:
    """Wait until nothing of a resource is left."""
    while True:
        listed = await cluster.client.list(resource, namespace=namespace)
        if not listed.items:
            return
        watch = cluster.client.watch(resource, namespace=namespace, resource_version=listed.resource_version)
        async with watch as events:
            async for event in events:
                if event.type == "DELETED":
                    break


async def test_from_deployment_to_endpoints_and_back(cluster: Cluster) -> None:
    """Deployment → ReplicaSet → Pod → EndpointSlice; a rollout and its undo; and garbage collection behind."""
    await make(cluster, workload(deployments.RESOURCE, "web", replicas=3), deployments.RESOURCE)
    service = {"metadata": {"name": "web", "namespace": "shop"}, "apiVersion": "v1", "kind": "Service"}
    ports = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    await make(cluster, service | {"spec": ports}, services.RESOURCE)
    first = await cluster.until(deployments.RESOURCE, WEB, rolled_out(3))
    name = (await cluster.client.list(endpointslices.RESOURCE, namespace="shop")).items[0]["metadata"]["name"]

    def all_ready(found: Object) -> bool:
        ready = [each for each in found["endpoints"] or () if each["conditions"]["ready"]]
        return len(ready) == 3 == len(found["endpoints"])

    await cluster.until(endpointslices.RESOURCE, Key("shop", name), all_ready)
    new = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a:2"}]}}}}
    await cluster.client.patch(deployments.RESOURCE, WEB, new, kind="strategic")
    second = await cluster.until(deployments.RESOURCE, WEB, rolled_out(3))
    assert second["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    back = [{"op": "replace", "path": "/spec/template", "value": first["spec"]["template"]}]
    await cluster.client.patch(deployments.RESOURCE, WEB, back, kind="json")
    third = await cluster.until(deployments.RESOURCE, WEB, rolled_out(3))
    assert third["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert len((await cluster.client.list(replicasets.RESOURCE, namespace="shop")).items) == 2
    await cluster.client.delete(deployments.RESOURCE, WEB)
    await gone(cluster, replicasets.RESOURCE)
    await gone(cluster, pods.RESOURCE)


async def test_foreground_and_orphan_deletion(cluster: Cluster) -> None:
    """Foreground: the owner goes last. Orphan: the dependents stay, without owner."""
    await make(cluster, workload(deployments.RESOURCE, "web", replicas=2), deployments.RESOURCE)
    await cluster.until(deployments.RESOURCE, WEB, rolled_out(2))
    await cluster.client.delete(deployments.RESOURCE, WEB, propagation="Orphan")
    await gone(cluster, deployments.RESOURCE)
    (left,) = (await cluster.client.list(replicasets.RESOURCE, namespace="shop")).items
    assert not left["metadata"].get("ownerReferences")
    await cluster.client.delete(replicasets.RESOURCE, Key("shop", left["metadata"]["name"]), propagation="Foreground")
    await gone(cluster, replicasets.RESOURCE)
    assert (await cluster.client.list(pods.RESOURCE, namespace="shop")).items == []


async def test_other_workloads_and_rest(cluster: Cluster) -> None:
    """StatefulSet, DaemonSet and Job reach their end, and then nothing is written any more."""
    await make(cluster, workload(statefulsets.RESOURCE, "db", replicas=2, serviceName="db"), statefulsets.RESOURCE)
    await make(cluster, workload(daemonsets.RESOURCE, "agent"), daemonsets.RESOURCE)
    once = template(app="work")
    once["spec"]["restartPolicy"] = "Never"
    job: Object = workload(jobs.RESOURCE, "work") | {"spec": {"completions": 3, "parallelism": 2, "template": once}}
    await make(cluster, job, jobs.RESOURCE)
    await cluster.until(
        statefulsets.RESOURCE, Key("shop", "db"), lambda found: found["status"].get("availableReplicas") == 2
    )
    await cluster.until(
        daemonsets.RESOURCE, Key("shop", "agent"), lambda found: found["status"].get("numberAvailable") == 2
    )

    def complete(found: Object) -> bool:
        told = (found.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Complete" for each in told)

    done = await cluster.until(jobs.RESOURCE, Key("shop", "work"), complete)
    assert done["status"]["succeeded"] == 3
    await asyncio.sleep(1)  # events are written in the background
    before = (await cluster.client.list(pods.RESOURCE)).resource_version
    await asyncio.sleep(2)  # below the period of the nodes' heartbeats
    listed = await cluster.client.list(pods.RESOURCE)
    assert int(listed.resource_version) - int(before) <= 4


async def _named(cluster: Cluster, name: str) -> str:
    """The revision at which the namespace is there; "" when it is not."""
    listed = await cluster.client.list(namespaces.RESOURCE, field_selector=f"metadata.name={name}")
    return listed.resource_version if listed.items else ""


async def test_namespace_deletion(cluster: Cluster) -> None:
    """A namespace goes with all that is in it."""
    await make(cluster, workload(deployments.RESOURCE, "web", replicas=2), deployments.RESOURCE)
    await cluster.until(deployments.RESOURCE, WEB, rolled_out(2))
    await cluster.client.delete(namespaces.RESOURCE, Key("", "shop"))
    while listed := await _named(cluster, "shop"):
        async with cluster.client.watch(namespaces.RESOURCE, name="shop", resource_version=listed) as events:
            async for event in events:
                if event.type == "DELETED":
                    break
    for resource in (deployments.RESOURCE, replicasets.RESOURCE, pods.RESOURCE, configmaps.RESOURCE):
        assert (await cluster.client.list(resource, namespace="shop")).items == []


async def test_adoption_and_release(cluster: Cluster) -> None:
    """A matching orphan is adopted instead of a pod made; one that no longer matches is released and replaced."""
    orphan = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "orphan", "namespace": "shop", "labels": {"app": "web"}},
        "spec": template()["spec"],
    }
    key = Key("shop", "orphan")
    await make(cluster, orphan, pods.RESOURCE)
    await make(cluster, workload(replicasets.RESOURCE, "web", replicas=2), replicasets.RESOURCE)
    await cluster.until(replicasets.RESOURCE, WEB, lambda found: (found.get("status") or {}).get("readyReplicas") == 2)
    adopted = await cluster.client.get(pods.RESOURCE, key)
    assert adopted["metadata"]["ownerReferences"][0]["name"] == "web"
    assert len((await cluster.client.list(pods.RESOURCE, namespace="shop")).items) == 2
    await cluster.client.patch(pods.RESOURCE, key, {"metadata": {"labels": {"app": "other"}}})
    await cluster.until(pods.RESOURCE, key, lambda found: not found["metadata"].get("ownerReferences"))
    while len((listed := await cluster.client.list(pods.RESOURCE, namespace="shop")).items) < 3:
        async with cluster.client.watch(
            pods.RESOURCE, namespace="shop", resource_version=listed.resource_version
        ) as events:
            async for event in events:
                if event.type == "ADDED":
                    break


async def test_custom_resources_own_and_go_with_their_namespace(cluster: Cluster) -> None:
    """An object owned by a custom resource is collected with it; namespaces take custom resources along."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    await make(cluster, definition, customresourcedefinitions.RESOURCE)

    def established(found: Object) -> bool:
        told = (found.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Established" and each["status"] == "True" for each in told)

    await cluster.until(customresourcedefinitions.RESOURCE, Key("", "widgets.example.com"), established)
    widgets = Resource(group="example.com", versions=("v1",), kind="Widget", plural="widgets")
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}}
    owner = await cluster.client.create(widgets, body)
    ref = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": owner["metadata"]["uid"]}
    metadata = {"name": "owned", "namespace": "shop", "ownerReferences": [ref]}
    await make(cluster, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}, secrets.RESOURCE)
    await cluster.client.delete(widgets, Key("shop", "w"))
    await gone(cluster, secrets.RESOURCE)
    await cluster.client.create(widgets, body)
    await cluster.client.delete(namespaces.RESOURCE, Key("", "shop"))
    await gone(cluster, widgets)
