"""A cluster for tests that are not asynchronous: it lives in a thread with an event loop of its own.

Everything a test does here it could do with kubectl and the kubeconfig as well; these methods are for what no client
can: time, faults, scripts, snapshots, recordings.
"""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource
from pynetes.testing.clock import VirtualClock
from pynetes.testing.cluster import Cluster, Snapshot
from pynetes.testing.faults import Fault
from pynetes.testing.recording import Recorded
from pynetes.testing.scripts import Execution, Output, Script, Stage, Stages, default_stages, unknown_command

T = TypeVar("T")

#: Seconds within which the cluster must be there, or a piece of work done.
TIMEOUT = 30.0
#: New objects after which Python looks for garbage in cycles, in a process that has a cluster.
COLLECT_AFTER = 50_000
CLOCKS = ("real", "virtual", "automatic")


@dataclass(frozen=True)
class Options:
    """What a test may want of its cluster."""

    nodes: int = 2
    #: memory, or sqlite.
    store: str = "memory"
    #: real; virtual, which only `advance` moves; automatic, which runs ahead whenever nobody has work left.
    clock: str = "real"

    def __post_init__(self) -> None:
        """Raise ValueError for what there is not."""
        if self.clock not in CLOCKS:
            raise ValueError(f"clock={self.clock!r}: one of {', '.join(CLOCKS)}")

    def cluster(self, content: Snapshot | None) -> Cluster:
        """Not started yet."""
        clock = None if self.clock == "real" else VirtualClock(datetime.now(UTC))
        return Cluster(
            nodes=self.nodes, store=self.store, clock=clock, automatic=self.clock == "automatic", content=content
        )


@dataclass(frozen=True)
class Kubernetes:
    """A running cluster."""

    url: str
    #: An administrator's kubeconfig.
    kubeconfig: Path
    #: The cluster itself, for use within `run`.
    cluster: Cluster
    loop: asyncio.AbstractEventLoop
    options: Options

    def run(self, work: Coroutine[Any, Any, T], *, timeout: float = TIMEOUT) -> T:
        """Do work in the cluster's own event loop, as with `cluster.cluster.client`, and wait for it."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self.loop).result()

    def _now(self, work: Callable[[], T]) -> T:
        async def do() -> T:
            return work()

        return self.run(do())

    # Objects

    def apply(self, manifest: str | Path | Object, *, namespace: str = "default") -> Sequence[Object]:
        """Server-side apply of YAML, a file or an object; the objects as they are then. Raises StatusError.

        A kind that a CustomResourceDefinition defines can be used afterwards."""
        return self.run(self._apply(list(_documents(manifest)), namespace))

    async def _apply(self, documents: Sequence[Object], namespace: str) -> Sequence[Object]:
        applied = []
        for document in documents:
            resource = self._of_kind(document)
            if resource.namespaced:
                document = {**document, "metadata": {"namespace": namespace, **document["metadata"]}}
            client = self.cluster.client
            applied.append(
                await client.patch(
                    resource, key_of(document), document, kind="apply", field_manager="pytest", force=True
                )
            )
            if document["kind"] == "CustomResourceDefinition":
                await self._served(document)
        return applied

    async def _served(self, definition: Object) -> None:
        """Until the next document, or line of the test, may use the new kind."""
        spec, client = definition["spec"], self.cluster.client
        version = next(each["name"] for each in spec["versions"] if each["served"])
        resource = self._of_kind(definition)
        while not self.cluster.server.api.served.by_kind(f"{spec['group']}/{version}", spec["names"]["kind"]):
            status = (await client.get(resource, key_of(definition))).get("status") or {}
            told = {each["type"]: each["status"] for each in status.get("conditions") or ()}
            if told.get("NamesAccepted") == "False":
                return  # it will never be served, as its status says
            await asyncio.sleep(0.005)

    def get(self, kind: str, name: str, *, namespace: str = "default") -> Object | None:
        """An object by kind, plural or short name (`deployments`, `deploy`, `widgets.example.com`); None without it."""
        resource = self.resource(kind)
        return self.run(self.cluster.client.find(resource, _key(resource, namespace, name)))

    def list(self, kind: str, *, namespace: str = "default") -> Sequence[Object]:
        """All of a kind in a namespace; "" for all namespaces."""
        resource = self.resource(kind)
        found = self.run(self.cluster.client.list(resource, namespace=namespace if resource.namespaced else ""))
        return list(found.items)

    def delete(self, kind: str, name: str, *, namespace: str = "default") -> None:
        """Ask for an object's end; dependents follow in the background. Raises StatusError."""
        resource = self.resource(kind)
        self.run(self.cluster.client.delete(resource, _key(resource, namespace, name)))

    def until(
        self,
        kind: str,
        name: str,
        holds: Callable[[Object], bool],
        *,
        namespace: str = "default",
        timeout: float = TIMEOUT,
    ) -> Object:
        """Wait, by watching, until a condition holds of an object. Raises TimeoutError."""
        resource = self.resource(kind)
        return self.run(self.cluster.until(resource, _key(resource, namespace, name), holds), timeout=timeout)

    def resource(self, name: str) -> Resource:
        """The record of a kind by any of its names. Raises LookupError."""
        wanted = name.lower()
        for resource in self.cluster.server.api.served:
            if wanted in (resource.plural, resource.qualified, resource.kind.lower(), *resource.short_names):
                return resource
        raise LookupError(f"the cluster serves no {name!r}; is its CustomResourceDefinition applied?")

    def _of_kind(self, document: Object) -> Resource:
        found = self.cluster.server.api.served.by_kind(document["apiVersion"], document["kind"])
        if found is None:
            raise LookupError(f"the cluster serves no {document['kind']} of {document['apiVersion']}")
        return found

    # Time

    def settle(self, *, timeout: float = TIMEOUT) -> None:
        """Wait until no controller and no pod has work left. Raises TimeoutError if they never come to rest."""
        self.run(self.cluster.settle(), timeout=timeout)

    def advance(self, seconds: float, *, timeout: float = TIMEOUT) -> None:
        """Let time pass on a virtual clock (`clock="virtual"` in the marker). Raises TypeError on another."""
        self.run(self.cluster.advance(seconds), timeout=timeout)

    # What pods do

    def script(
        self,
        namespace: str,
        stages: Sequence[Stage] | Stages = default_stages,
        *,
        name: str = "*",
        logs: str | Callable[[Object, str], str] = "",
        exec: Callable[[Execution], Output | str] = unknown_command,  # noqa: A002 (kubectl's word)
    ) -> None:
        """Decide what the pods of a namespace do from now on, or those whose names match a pattern."""
        script = Script(stages=stages, logs=logs, exec=exec)
        self._now(lambda: self.cluster.scripts.add(script, namespace=namespace, name=name))

    def become(self, name: str, stage: Stage, *, namespace: str = "default") -> None:
        """Take a pod to another state now: a probe fails, a container is killed."""
        self.run(self.cluster.become(Key(namespace, name), stage))

    # Faults

    @contextlib.contextmanager
    def fault(self, **wanted: Any) -> Iterator[Fault]:
        """A fault of the API for as long as the context lasts; arguments as testing.faults.Fault has them."""
        fault = self._now(lambda: self.cluster.faults.add(**wanted))
        try:
            yield fault
        finally:
            self._now(lambda: self.cluster.faults.remove(fault))

    def drop_watches(self, kind: str) -> None:
        """End every watch of a kind, as a restarting API server does."""
        self._now(lambda: self.cluster.drop_watches(self.resource(kind)))

    def expire_watches(self, kind: str) -> None:
        """End them, and answer 410 to who wants to go on from where it was."""
        self._now(lambda: self.cluster.expire_watches(self.resource(kind)))

    @contextlib.contextmanager
    def without_controllers(self) -> Iterator[None]:
        """As while a controller manager has lost its lease."""
        self.run(self.cluster.stop_controllers())
        try:
            yield
        finally:
            self._now(self.cluster.start_controllers)

    @contextlib.contextmanager
    def without_node(self, name: str) -> Iterator[None]:
        """As while a node's machine is off."""
        self.run(self.cluster.lose_node(name))
        try:
            yield
        finally:
            self._now(lambda: self.cluster.find_node(name))

    # What happened

    def requests(self, **wanted: str) -> Sequence[Recorded]:
        """The requests so far; patterns for user, verb, resource, namespace and name."""
        return self._now(lambda: self.cluster.recording.requests(**wanted))

    # Copies

    def snapshot(self) -> Snapshot:
        """Everything that is stored now."""
        return self._now(self.cluster.snapshot)

    def restore(self, content: Snapshot) -> None:
        """Bring the objects back; clients see the differences as changes."""
        self.run(self.cluster.restore(content))

    @contextlib.contextmanager
    def fork(self) -> "Iterator[Kubernetes]":
        """A second cluster that begins with what this one has, and goes its own way."""
        with started(self.options, content=self.snapshot()) as other:
            yield other


def _key(resource: Resource, namespace: str, name: str) -> Key:
    return Key(namespace if resource.namespaced else "", name)


def _documents(manifest: str | Path | Object) -> Iterator[Object]:
    if isinstance(manifest, dict):
        yield manifest
    elif isinstance(manifest, Path) and manifest.is_dir():
        for path in sorted([*manifest.glob("*.yaml"), *manifest.glob("*.yml")]):
            yield from _documents(path)
    else:
        text = manifest.read_text() if isinstance(manifest, Path) else str(manifest)
        yield from (document for document in yaml.safe_load_all(text) if document)


@contextlib.contextmanager
def started(options: Options | None = None, *, content: Snapshot | None = None) -> Iterator[Kubernetes]:
    """A cluster in a thread, for as long as the context lasts. Raises what kept it from starting."""
    thread = _Thread(options or Options(), content)
    try:
        yield thread.start()
    finally:
        thread.stop()


class _Thread:
    def __init__(self, options: Options, content: Snapshot | None) -> None:
        self._options, self._content = options, content
        self._started: Future[Kubernetes] = Future()
        # asyncio's own event loop and not uvloop: it shows when nobody has anything left to do.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="kubernetes", daemon=True)

    def start(self) -> Kubernetes:
        # Requests leave hardly any cycles behind: looking for them as often as by default is 7 % of a test's time.
        gc.set_threshold(max(gc.get_threshold()[0], COLLECT_AFTER), *gc.get_threshold()[1:])
        self._thread.start()
        cluster = self._started.result(TIMEOUT)
        # Modules and what a cluster begins with stay for as long as it runs: looking through them was another 15 %.
        gc.freeze()
        return cluster

    def stop(self) -> None:
        if not self._started.done() or self._started.exception() is not None:
            return
        self._started.result(0).loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(TIMEOUT)
        gc.unfreeze()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        try:
            async with self._options.cluster(self._content) as cluster:
                loop = asyncio.get_running_loop()
                self._started.set_result(Kubernetes(cluster.url, cluster.kubeconfig, cluster, loop, self._options))
                await self._stop.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
