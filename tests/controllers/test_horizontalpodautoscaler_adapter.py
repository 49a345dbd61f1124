"""Autoscaling by an adapter's numbers: a process of its own behind APIServices, with the controller's own rights."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.apiregistration import apiservices
from pynetes.apis.apps import deployments
from pynetes.apis.autoscaling import horizontalpodautoscalers
from pynetes.apis.core import events, pods, services
from pynetes.apis.discovery import endpointslices
from pynetes.component import command
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, Leaf, names
from pynetes.testing.clock import VirtualClock
from pynetes.testing.cluster import Cluster
from tests.controllers import adapter

WEB = Key("default", "web")


class Stage:
    """A cluster, the file that the adapter reads, and a Deployment `web`."""

    def __init__(self, cluster: Cluster, clock: VirtualClock, numbers: Path) -> None:
        self.cluster, self.clock, self._numbers = cluster, clock, numbers

    def tell(self, versions: tuple[str, ...] = ("v1beta2",), **numbers: Any) -> None:
        """From now on these are the numbers."""
        at = time.rfc3339(self.clock.now())
        new = self._numbers.with_suffix(".next")
        new.write_text(json.dumps({"versions": versions, "at": at, **numbers}))
        new.rename(self._numbers)

    async def pods(self) -> list[str]:
        """The Deployment's."""
        return [each["metadata"]["name"] for each in (await self.cluster.client.list(pods.RESOURCE)).items]

    async def deploy(self, replicas: int) -> None:
        """With containers main and side; only main requests CPU."""
        requests = {"requests": {"cpu": "100m"}}
        containers = [{"name": "main", "image": "web:1", "resources": requests}, {"name": "side", "image": "side:1"}]
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        await self.cluster.client.create(
            deployments.RESOURCE, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}
        )
        await self.cluster.until(
            deployments.RESOURCE, WEB, lambda it: (it.get("status") or {}).get("readyReplicas") == replicas
        )

    async def scale_by(self, *metrics: Object, **more: Any) -> None:
        """Create the autoscaler; it looks at once."""
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        spec = {"scaleTargetRef": target, "maxReplicas": 20, "metrics": list(metrics), **more}
        await self.cluster.client.create(
            horizontalpodautoscalers.RESOURCE, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}
        )
        await self.cluster.settle()

    async def after(self, seconds: int) -> int:
        """The Deployment's replicas then."""
        for _ in range(seconds // 15):
            await self.cluster.advance(15)
            await self.cluster.settle()
        return await self.replicas()

    async def replicas(self) -> int:
        """That the Deployment should have."""
        return int((await self.cluster.client.get(deployments.RESOURCE, WEB))["spec"]["replicas"])

    async def status(self) -> Object:
        """Of the autoscaler, with its conditions by type."""
        status: Object = (await self.cluster.client.get(horizontalpodautoscalers.RESOURCE, WEB))["status"]
        return status | {"conditions": {each["type"]: each for each in status["conditions"]}}


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """With the adapter running and all its APIs available."""
    clock = VirtualClock(datetime.now(UTC))
    async with asyncio.timeout(90), Cluster(clock=clock) as cluster:
        stage = Stage(cluster, clock, folder / "numbers")
        stage.tell(versions=("v1beta1", "v1beta2"))
        authority = issue.authority("adapter-ca", datetime.now(UTC))
        leaf = Leaf("adapter", CLUSTER_CA, "adapter", server=True, names=names("adapter.default.svc"))
        pair = issue.leaf(leaf, authority, datetime.now(UTC))
        (folder / "crt").write_bytes(pair.certificate_pem)
        (folder / "key").write_bytes(pair.key_pem)
        argv = [sys.executable, adapter.__file__, *(str(folder / name) for name in ("numbers", "crt", "key"))]
        async with command.running(argv):
            while not (folder / "numbers.port").exists():
                await asyncio.sleep(0.02)
            await _announce(cluster, int((folder / "numbers.port").read_text()), authority.certificate_pem)
            yield stage


async def _announce(cluster: Cluster, port: int, authority: bytes) -> None:
    about = {"name": "adapter", "namespace": "default"}
    await cluster.client.create(
        services.RESOURCE, {"metadata": about, "spec": {"ports": [{"name": "https", "port": 443}]}}
    )
    # Past validation, which has loopback addresses in no slice.
    await cluster.server.stored.create(
        endpointslices.RESOURCE,
        {
            "metadata": {**about, "labels": {"kubernetes.io/service-name": "adapter"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        },
    )
    served = [(adapter.CUSTOM, "v1beta1"), (adapter.CUSTOM, "v1beta2")]
    for group, version in (*served, (adapter.EXTERNAL, "v1beta1"), (adapter.RESOURCE, "v1beta1")):
        name = f"{version}.{group}"
        spec = {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100}
        spec |= {"service": {"namespace": "default", "name": "adapter"}}
        spec |= {"caBundle": base64.b64encode(authority).decode()}
        await cluster.client.create(apiservices.RESOURCE, {"metadata": {"name": name}, "spec": spec})
        await cluster.until(apiservices.RESOURCE, Key("", name), _available)


def _available(service: Object) -> bool:
    return any(each["status"] == "True" for each in (service.get("status") or {}).get("conditions") or ())


def external(name: str, selector: dict[str, str] | None = None, **target: str) -> Object:
    """A source in spec.metrics."""
    metric = {"name": name, **({"selector": {"matchLabels": selector}} if selector else {})}
    kind = "Value" if "value" in target else "AverageValue"
    return {"type": "External", "external": {"metric": metric, "target": {"type": kind, **target}}}


async def test_a_queue_outside_drives_the_deployment(tmp_path: Path) -> None:
    """The sum of the series that the selector takes; an average is shared, and growth at most doubles in a round."""
    async with staged(tmp_path) as stage:
        await stage.deploy(2)
        series = [({"queue": "a"}, "30"), ({"queue": "a"}, "30500m"), ({"queue": "b"}, "1000")]
        stage.tell(external={"length": [list(each) for each in series]})
        await stage.scale_by(external("length", {"queue": "a"}, averageValue="10"))
        assert await stage.replicas() == 4
        assert await stage.after(15) == 7
        status = await stage.status()
        (metric,) = status["currentMetrics"]
        assert metric["external"]["metric"]["selector"] == {"matchLabels": {"queue": "a"}}
        assert status["conditions"]["ScalingActive"]["reason"] == "ValidMetricFound"
        stage.tell(external={"length": [[{"queue": "a"}, "10"]]})
        assert await stage.after(285) == 7
        assert await stage.after(30) == 1


async def test_an_objects_metric_in_the_version_that_the_adapter_has(tmp_path: Path) -> None:
    """custom.metrics.k8s.io/v1beta1 is asked where v1beta2 is not served; a value is compared with the ready pods."""
    async with staged(tmp_path) as stage:
        await stage.deploy(2)
        place = "ingresses.networking.k8s.io/main/hits"
        stage.tell(versions=("v1beta1",), custom={place: "150"})
        about = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "main"}
        source = {"describedObject": about, "metric": {"name": "hits"}, "target": {"type": "Value", "value": "100"}}
        await stage.scale_by({"type": "Object", "object": source})
        assert await stage.replicas() == 3
        status = await stage.status()
        assert status["currentMetrics"][0]["object"]["current"] == {"value": "150"}
        stage.tell(custom={place: "109"})
        assert await stage.after(15) == 3


async def test_a_metric_of_a_custom_resource(tmp_path: Path) -> None:
    """It is asked for under the plural and the group that its definition gives, which its kind does not tell."""
    async with staged(tmp_path) as stage:
        await stage.deploy(2)
        names = {"plural": "buses", "singular": "bus", "kind": "Bus"}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
        made = {"metadata": {"name": "buses.example.com"}, "spec": spec}
        await stage.cluster.client.create(customresourcedefinitions.RESOURCE, made)
        await stage.cluster.settle()
        stage.tell(custom={"buses.example.com/night/riders": "150"})
        about = {"apiVersion": "example.com/v1", "kind": "Bus", "name": "night"}
        source = {"describedObject": about, "metric": {"name": "riders"}, "target": {"type": "Value", "value": "100"}}
        await stage.scale_by({"type": "Object", "object": source})
        assert await stage.replicas() == 3


async def test_a_metric_of_every_pod(tmp_path: Path) -> None:
    """The average decides; a pod without a number counts as idle when that means growth."""
    async with staged(tmp_path) as stage:
        await stage.deploy(2)
        stage.tell(pods={"requests": dict.fromkeys(await stage.pods(), "30")})
        target = {"type": "AverageValue", "averageValue": "10"}
        source = {"metric": {"name": "requests"}, "target": target}
        await stage.scale_by({"type": "Pods", "pods": source})
        assert await stage.replicas() == 4
        # The two new pods have no number yet: 60 over four pods still asks for six.
        assert await stage.after(15) == 6


async def test_one_container_of_a_pod_is_judged_alone(tmp_path: Path) -> None:
    """A busy sidecar does not count, nor that it requests nothing; windows may be written 1m0.5s."""
    async with staged(tmp_path) as stage:
        await stage.deploy(2)
        await stage.after(90)

        async def uses(main: str) -> None:
            containers = {"main": {"cpu": main}, "side": {"cpu": "4"}}
            stage.tell(usage=dict.fromkeys(await stage.pods(), containers))

        await uses("150m")
        target = {"type": "Utilization", "averageUtilization": 50}
        source = {"name": "cpu", "container": "main", "target": target}
        await stage.scale_by({"type": "ContainerResource", "containerResource": source})
        assert await stage.replicas() == 4
        status = await stage.status()
        current = status["currentMetrics"][0]["containerResource"]
        assert current["container"] == "main"
        assert current["current"] == {"averageUtilization": 150, "averageValue": "150m"}


async def test_tolerances_of_each_direction(tmp_path: Path) -> None:
    """Five percent more is followed if the behaviour says so; thirty percent less is borne likewise."""
    async with staged(tmp_path) as stage:
        await stage.deploy(10)
        stage.tell(custom={"services/web/load": "105"})
        about = {"apiVersion": "v1", "kind": "Service", "name": "web"}
        source = {"describedObject": about, "metric": {"name": "load"}, "target": {"type": "Value", "value": "100"}}
        with pytest.raises(StatusError, match="must be greater than or equal to 0"):
            await stage.scale_by({"type": "Object", "object": source}, behavior={"scaleUp": {"tolerance": "-0.1"}})
        down = {"tolerance": "0.4", "stabilizationWindowSeconds": 0}
        await stage.scale_by(
            {"type": "Object", "object": source}, behavior={"scaleUp": {"tolerance": "0.0495"}, "scaleDown": down}
        )
        assert await stage.replicas() == 11
        stage.tell(custom={"services/web/load": "70"})
        assert await stage.after(30) == 11
        stage.tell(custom={"services/web/load": "59"})
        assert await stage.after(15) == 7


async def test_policies_and_windows_as_time_passes(tmp_path: Path) -> None:
    """Two pods a minute up; down half of them a minute, once no recommendation of a minute asks for more."""
    async with staged(tmp_path) as stage:
        await stage.deploy(2)
        stage.tell(external={"length": [[{}, "100"]]})
        up = {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}
        down = {
            "policies": [
                {"type": "Percent", "value": 50, "periodSeconds": 60},
                {"type": "Pods", "value": 1, "periodSeconds": 60},
            ],
            "selectPolicy": "Max",
            "stabilizationWindowSeconds": 60,
        }
        behavior = {"scaleUp": up, "scaleDown": down}
        await stage.scale_by(external("length", averageValue="10"), behavior=behavior)
        assert await stage.replicas() == 4
        assert (await stage.status())["conditions"]["ScalingLimited"]["reason"] == "ScaleUpLimit"
        assert await stage.after(45) == 4
        assert await stage.after(15) == 6
        assert await stage.after(60) == 8
        stage.tell(external={"length": [[{}, "10"]]})
        assert await stage.after(45) == 8
        assert (await stage.status())["conditions"]["AbleToScale"]["reason"] == "ScaleDownStabilized"
        assert await stage.after(30) == 4
        assert await stage.after(60) == 2


async def test_a_metric_that_is_missing_keeps_its_place(tmp_path: Path) -> None:
    """The other still makes the Deployment grow, never shrink; the adapter's words reach an event."""
    async with staged(tmp_path) as stage:
        await stage.deploy(2)
        stage.tell(external={"length": [[{}, "30"]]})
        source = {"metric": {"name": "nothing"}, "target": {"type": "Value", "value": "1"}}
        source |= {"describedObject": {"apiVersion": "v1", "kind": "Service", "name": "web"}}
        await stage.scale_by({"type": "Object", "object": source}, external("length", averageValue="10"))
        assert await stage.replicas() == 3
        assert [each["type"] for each in (await stage.status())["currentMetrics"]] == ["", "External"]
        stage.tell(external={"length": [[{}, "10"]]})
        assert await stage.after(600) == 3
        assert (await stage.status())["conditions"]["ScalingActive"]["reason"] == "FailedGetObjectMetric"
        listed = (await stage.cluster.client.list(events.RESOURCE, namespace="default")).items
        told = {each["reason"]: each.get("message") or each.get("note") for each in listed}
        assert "could not find the metric nothing for services web" in told["FailedGetObjectMetric"]
