"""A cacher over the memory store, running, and objects to put into it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pynetes.component.clock import SystemClock
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.storage.cache import Cacher
from pynetes.storage.memory import MemoryBackend
from pynetes.storage.store import Store

PODS = Resource(group="", versions=("v1",), kind="Pod", plural="pods", fields={"spec.nodeName": ".spec.nodeName"})


def pod(name: str, namespace: str = "default", *, node: str = "", **labels: str) -> Object:
    """A pod with what the cache looks at."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node} if node else {}}


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
async def cacher(backend: MemoryBackend) -> AsyncIterator[Cacher]:
    made = Cacher(backend, SystemClock(), [PODS])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.run())
        await made.ready()
        yield made
        running.cancel()


@pytest.fixture
def store(backend: MemoryBackend, cacher: Cacher) -> Store:
    return Store(PODS, backend, cacher)
