"""Nodes, pods and a running scheduler on the fake API, for the scheduler's tests."""

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from pynetes.apis.core import pods
from pynetes.client.fake import FakeAPI
from pynetes.component.tasks import Group
from pynetes.machinery.meta import Key, Object
from pynetes.scheduler.scheduler import Scheduler
from pynetes.testing.clock import VirtualClock, settle


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", count: str = "110", **more: Any) -> Object:
    """A node; more has labels, taints, unschedulable and further allocatable resources."""
    labels, allocatable = more.pop("labels", {}), more.pop("allocatable", {})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": more,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": count, **allocatable}},
    }


def pod(name: str, *, cpu: str = "", memory: str = "", ports: Iterable[Object] = (), **spec: Any) -> Object:
    """A pod with one container; spec fields as keywords, labels as labels=."""
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    labels = spec.pop("labels", {})
    container = {"name": "c", "image": "busybox", "resources": {"requests": requests}, "ports": list(ports)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "labels": labels},
        "spec": {"containers": [container], **spec},
    }


class World:
    """A scheduler at work."""

    def __init__(self, api: FakeAPI, clock: VirtualClock, scheduler: Scheduler) -> None:
        self.api, self.clock, self.scheduler = api, clock, scheduler

    async def put(self, *objects: Object) -> None:
        """Add or change objects and let the scheduler react."""
        for obj in objects:
            self.api.put(obj)
        await settle()

    async def remove(self, obj: Object) -> None:
        """Remove an object and let the scheduler react."""
        self.api.remove(obj)
        await settle()

    def place(self, name: str) -> str:
        """The node of a pod; "" when it has none."""
        return self.get(name)["spec"].get("nodeName") or ""

    def message(self, name: str) -> str:
        """The message of the pod's PodScheduled condition."""
        return next((c["message"] for c in self.get(name)["status"]["conditions"] if c["type"] == "PodScheduled"), "")

    def get(self, name: str) -> Object:
        """A pod as stored."""
        found = self.api.get(pods.RESOURCE, Key("default", name))
        assert found is not None
        return found


@asynccontextmanager
async def scheduling(*objects: Object) -> AsyncIterator[World]:
    """A scheduler over these objects."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)
    for obj in objects:
        api.put(obj)
    scheduler = Scheduler(api.client(component="kube-scheduler"), clock=clock, dice=random.Random(1))
    async with Group() as group:
        group.start(scheduler.run())
        await settle()
        yield World(api, clock, scheduler)
