"""The Python clients of others deploy and follow the shop's front with a token for one namespace."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.delivery.conftest import EXAMPLES, Deployer


def documents(*names: str) -> Iterator[dict[str, Any]]:
    """The example's objects, for whatever namespace the client is told."""
    for name in names:
        for document in yaml.safe_load_all((EXAMPLES / "shop" / name).read_text()):
            document["metadata"].pop("namespace", None)
            yield document


def front() -> dict[str, Any]:
    return next(each for each in documents("20-front.yaml") if each["kind"] == "Deployment")


@contextmanager
def refused() -> Iterator[None]:
    """Whatever the client calls it, the server said 403."""
    with pytest.raises(Exception) as caught:
        yield
    assert "403" in str(caught.value) or "forbidden" in str(caught.value).lower()


def test_the_official_client(deployer: Deployer) -> None:
    """Creates from files, waits by watching, patches, applies server-side by the dynamic client, lists, deletes."""
    kubernetes = pytest.importorskip("kubernetes")
    from kubernetes import dynamic, utils, watch

    api = kubernetes.config.new_client_from_config(str(deployer.kubeconfig))
    objects = list(documents("10-config.yaml", "20-front.yaml"))
    utils.create_from_yaml(api, yaml_objects=objects, namespace=deployer.namespace)
    apps, core = kubernetes.client.AppsV1Api(api), kubernetes.client.CoreV1Api(api)
    for event in watch.Watch().stream(apps.list_namespaced_deployment, deployer.namespace, timeout_seconds=20):
        if event["object"].status.ready_replicas == 3:
            break
    else:
        pytest.fail("the front did not get ready")
    apps.patch_namespaced_deployment_scale("front", deployer.namespace, {"spec": {"replicas": 1}})
    assert apps.read_namespaced_deployment("front", deployer.namespace).spec.replicas == 1
    assert core.read_namespaced_config_map("catalogue", deployer.namespace).data["SHOP_NAME"] == "The Corner Shop"
    resources = dynamic.DynamicClient(api, discoverer=dynamic.discovery.EagerDiscoverer)
    deployments = resources.resources.get(api_version="apps/v1", kind="Deployment")
    wanted = front()
    wanted["spec"]["replicas"] = 2
    applied = deployments.server_side_apply(
        body=wanted, name="front", namespace=deployer.namespace, field_manager="pipeline", force_conflicts=True
    )
    assert applied.spec.replicas == 2
    with refused():
        core.list_namespaced_secret("kube-system")
    apps.delete_namespaced_deployment("front", deployer.namespace, propagation_policy="Foreground")
    api.close()


async def test_kubernetes_asyncio(deployer: Deployer) -> None:
    """Creates, follows the pods by a watch, and deletes."""
    kubernetes = pytest.importorskip("kubernetes_asyncio")
    configuration = kubernetes.client.Configuration()
    await kubernetes.config.load_kube_config(str(deployer.kubeconfig), client_configuration=configuration)
    async with asyncio.timeout(30), kubernetes.client.ApiClient(configuration) as api:
        apps, core = kubernetes.client.AppsV1Api(api), kubernetes.client.CoreV1Api(api)
        await apps.create_namespaced_deployment(deployer.namespace, front())
        ready = set()
        async with kubernetes.watch.Watch() as watch:
            async for event in watch.stream(core.list_namespaced_pod, deployer.namespace):
                pod = event["object"]
                if any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ()):
                    ready.add(pod.metadata.name)
                if len(ready) == 3:
                    break
        with refused():
            await core.list_pod_for_all_namespaces()
        await apps.delete_namespaced_deployment("front", deployer.namespace)


async def test_kr8s(deployer: Deployer) -> None:
    """Creates, waits for a condition, scales, lists by label, and deletes."""
    kr8s = pytest.importorskip("kr8s")
    from kr8s.asyncio.objects import Deployment, Pod

    async with asyncio.timeout(30):
        api = await kr8s.asyncio.api(kubeconfig=str(deployer.kubeconfig))
        deployment = await Deployment(front(), namespace=deployer.namespace, api=api)
        await deployment.create()
        await deployment.wait("condition=Available")
        await deployment.scale(1)
        pods = [pod async for pod in Pod.list(namespace=deployer.namespace, label_selector={"app": "front"}, api=api)]
        assert pods and all(pod.metadata.labels["app"] == "front" for pod in pods)
        await deployment.delete()
        with refused():
            [each async for each in api.get("secrets", namespace="kube-system")]


def test_lightkube(deployer: Deployer, tmp_path: Path) -> None:
    """Applies server-side, waits for conditions, and replaces the whole set of objects."""
    lightkube = pytest.importorskip("lightkube")
    from lightkube import codecs
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import Secret

    client = lightkube.Client(
        config=lightkube.KubeConfig.from_file(str(deployer.kubeconfig)),
        namespace=deployer.namespace,
        field_manager="pipeline",
    )
    for document in documents("10-config.yaml", "20-front.yaml", "30-stock.yaml"):
        client.apply(codecs.from_dict(document))
    found = client.wait(Deployment, "front", for_conditions=["Available"])
    assert found.metadata.managedFields[0].manager == "pipeline"
    with refused():
        list(client.list(Secret, namespace="kube-system"))
    client.delete(Deployment, "front")
