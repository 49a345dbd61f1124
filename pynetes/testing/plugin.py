"""The pytest plugin: a cluster for tests that are not asynchronous, such as those of an operator or a chart.

    pytest_plugins = ["pynetes.testing.plugin"]

    def test_my_operator(kubernetes: Kubernetes) -> None:
        subprocess.run(["kubectl", f"--kubeconfig={kubernetes.kubeconfig}", "apply", "-f", "chart/"], check=True)

The cluster runs in a thread of its own, one per test session, and is reached over HTTPS like any other; `namespace`
gives each test a place of its own in it.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from pynetes.apis.core import namespaces, serviceaccounts
from pynetes.machinery.meta import Key, Object
from pynetes.testing.cluster import Cluster
from pynetes.testing.nodes import Stage, Stages, default_stages

T = TypeVar("T")

#: Seconds in which the cluster must be there; it takes a fraction of one.
START_TIMEOUT = 30.0


@dataclass(frozen=True)
class Kubernetes:
    """Where the cluster is."""

    url: str
    #: An administrator's kubeconfig.
    kubeconfig: Path
    cluster: Cluster
    loop: asyncio.AbstractEventLoop
    scripts: dict[str, Stages] = field(default_factory=dict)

    def run(self, work: Coroutine[Any, Any, T], *, timeout: float = START_TIMEOUT) -> T:
        """Do work in the cluster's own event loop, as with `kubernetes.cluster.client`, and wait for it."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self.loop).result()

    def settle(self, *, timeout: float = START_TIMEOUT) -> None:
        """Wait until no controller and no pod has work left. Raises TimeoutError if they never come to rest."""
        self.run(self.cluster.settle(), timeout=timeout)

    def script(self, namespace: str, stages: Stages) -> None:
        """Decide what becomes of a namespace's pods from now on."""
        self.scripts[namespace] = stages


class _Thread:
    """A cluster in a thread with an event loop of its own."""

    def __init__(self, *, nodes: int) -> None:
        self._nodes = nodes
        self._scripts: dict[str, Stages] = {}
        self._started: Future[Kubernetes] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="kubernetes", daemon=True)

    def start(self) -> Kubernetes:
        self._thread.start()
        return self._started.result(START_TIMEOUT)

    def stop(self) -> None:
        running = self._started.result(0)
        running.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_TIMEOUT)

    def _stages(self, pod: Object) -> Sequence[Stage]:
        return self._scripts.get(pod["metadata"]["namespace"], default_stages)(pod)

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        try:
            async with Cluster(nodes=self._nodes, stages=self._stages) as cluster:
                loop = asyncio.get_running_loop()
                self._started.set_result(Kubernetes(cluster.url, cluster.kubeconfig, cluster, loop, self._scripts))
                await self._stop.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Kubernetes]:
    """A cluster with two nodes for the whole session."""
    thread = _Thread(nodes=2)
    yield thread.start()
    thread.stop()


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Iterator[str]:
    """A new namespace, ready for pods, deleted after the test."""
    name = f"test-{uuid4().hex[:8]}"
    client = kubernetes.cluster.client

    async def make() -> None:
        await client.create(namespaces.RESOURCE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        await kubernetes.cluster.until(serviceaccounts.RESOURCE, Key(name, "default"), lambda _: True)

    async def remove() -> None:
        await client.delete(namespaces.RESOURCE, Key("", name))

    kubernetes.run(make())
    yield name
    kubernetes.scripts.pop(name, None)
    kubernetes.run(remove())
