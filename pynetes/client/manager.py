"""Runs Controller records: one cache per resource for all of them, and per controller a queue and workers.

Whatever a controller would otherwise repeat is here once: waiting for the caches, mapping changes to keys, back-off,
expectations, the log line of a failure, metrics and tracing.
"""

import logging
import random
from collections.abc import Callable, Sequence
from functools import partial

from pynetes.client.context import ControllerContext
from pynetes.client.controller import Controller, Foreseen, Watch
from pynetes.client.events import Recorder
from pynetes.client.informer import Informer, InformerFactory
from pynetes.client.interactions import paths_of
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.client.workqueue import WorkQueue
from pynetes.component import logs, tasks, tracing
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.metrics import REGISTRY
from pynetes.component.tasks import Group
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, controller_of, is_deleting, key_of, uid_of
from pynetes.machinery.resource import Resource

_LOG = logging.getLogger(__name__)
_RUNNING = REGISTRY.gauge(
    "running_managed_controllers",
    "Indicates where instances of a controller are currently running",
    "name", "manager",
)  # fmt: skip


class Manager:
    """`await Manager(client, controllers).run()` works until cancelled."""

    def __init__(
        self,
        client: Client,
        controllers: Sequence[Controller],
        *,
        clock: Clock | None = None,
        dice: random.Random | None = None,
        client_of: Callable[[Controller], Client] | None = None,
    ) -> None:
        """client reads for all and writes events; client_of says as whom each controller writes (else as client)."""
        self._client, self._controllers = client, controllers
        self._client_of = client_of or (lambda _controller: client)
        self._clock, self._dice = clock or SystemClock(), dice
        self._informers: InformerFactory | None = None
        self._runners: list[_Runner] = []

    async def run(self) -> None:
        """Start everything; a task that fails ends all of them. Cancel it to stop."""
        async with Group() as group:
            recorder = Recorder(self._client, clock=self._clock)
            group.start(recorder.run(), name="events")
            informers = InformerFactory(self._client, clock=self._clock, group=group, dice=self._dice)
            self._runners = [
                _Runner(controller, self._client_of(controller), informers, recorder, self._clock, group)
                for controller in self._controllers
            ]
            self._informers = informers
            for runner in self._runners:
                group.start(runner.run(), name=runner.controller.name)
            await tasks.forever()

    def unsynced(self) -> str | None:
        """What is missing before work begins, for a readiness check; None when nothing is."""
        if self._informers is None:
            return "not started"
        missing = self._informers.unsynced()
        return f"not listed yet: {', '.join(missing)}" if missing else None

    @property
    def idle(self) -> bool:
        """Whether every cache is filled and every queue empty: what a test waits for. Delayed keys do not count."""
        return self.unsynced() is None and all(runner.started and runner.queue.idle for runner in self._runners)

    def retries_in(self) -> float | None:
        """Seconds until the next attempt at what failed; None when nothing did."""
        return min((left for runner in self._runners if (left := runner.queue.retries_in()) is not None), default=None)

    def context(self, name: str) -> ControllerContext:
        """The context of a controller, by name."""
        return next(runner.context for runner in self._runners if runner.controller.name == name)


class _Runner:
    """One controller at work."""

    def __init__(
        self,
        controller: Controller,
        client: Client,
        informers: InformerFactory,
        recorder: Recorder,
        clock: Clock,
        group: Group,
    ) -> None:
        self.controller = controller
        self.started = False
        self._component, self._path = client.component, paths_of(client.component).reconcile
        self.queue: WorkQueue[Key] = WorkQueue(controller.name, clock=clock, group=group, observer=self._trace)
        self.context = ControllerContext(
            controller.name, client=client, informers=informers, queue=self.queue, recorder=recorder, clock=clock
        )
        self._watched = [(watch, self._informer(informers, watch)) for watch in controller.watches]

    def _informer(self, informers: InformerFactory, watch: Watch) -> Informer:
        informer = informers.informer(watch.resource, field_selector=watch.field_selector)
        informer.index(watch.indexes or {})
        return informer

    async def run(self) -> None:
        for _, informer in self._watched:
            await informer.wait_synced()
        for watch, informer in self._watched:
            self._follow(watch, informer)
        self.started = True
        for gauge, read in self.controller.shows:
            gauge.reads(partial(read, self.context))
        _RUNNING.set(1, self.controller.name, self._component)
        async with Group() as group:
            for number in range(self.controller.workers):
                group.start(self._work(), name=f"{self.controller.name} worker {number}")
            if self.controller.ticks is not None:
                group.start(self._tick(), name=f"{self.controller.name} ticks")
            await tasks.forever()

    def _follow(self, watch: Watch, informer: Informer) -> None:
        def changed(new: Object, old: Object | None, gone: bool) -> None:
            cause = tracing.revision(new["metadata"])
            try:
                keys = self._keys(watch, new, old, gone)
            except Exception as error:  # one odd object must not stop the controller for all the others
                _LOG.error(logs.fact("cannot map", controller=self.controller.name, object=new), exc_info=error)
                return
            for key in keys:
                self.queue.add(key, cause=cause)

        informer.handle(changed)

    def _keys(self, watch: Watch, new: Object, old: Object | None, gone: bool) -> list[Key]:
        if watch.keys is not None:
            return list(watch.keys(self.context, new, old))
        if watch.owner is None:
            return [key_of(new)]
        owner, before = _owner_key(new, watch.owner), _owner_key(old, watch.owner) if old else None
        if owner is not None:
            if old is None:
                self.context.expectations.saw_create(owner)
            elif gone or is_deleting(new):
                self.context.expectations.saw_delete(owner, uid_of(new))
        return list(dict.fromkeys(key for key in (owner, before) if key is not None))

    async def _tick(self) -> None:
        assert self.controller.ticks is not None
        async for key in self.controller.ticks(self.context):
            self.queue.add(key)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            with self.queue.working(key) as cause:
                await self._reconcile(key, cause)

    async def _reconcile(self, key: Key, cause: int) -> None:
        try:
            again = await self.controller.reconcile(self.context, key)
        except Exception as error:
            delay = self.queue.add_failed(key, cause=cause)
            self._report(key, error, delay)
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again.total_seconds(), cause=cause)
        finally:
            self.context.expectations.finished(key)

    def _report(self, key: Key, error: Exception, delay: float) -> None:
        line = logs.fact("reconcile failed", controller=self.controller.name, object=key, error=error, again_in=delay)
        if isinstance(error, StatusError) and error.reason in ("Conflict", "AlreadyExists"):
            _LOG.debug(line)  # the cache was behind; the retry sees what is there
        elif isinstance(error, StatusError | Unreachable | Foreseen):
            _LOG.warning(line)
        else:
            _LOG.error(line, exc_info=error)

    def _trace(self, key: Key, cause: int, seconds: float) -> None:
        if not self._path:
            return
        tracing.RECORDER.record(
            tracing.Interaction(
                path=self._path,
                at=tracing.now(),
                source=self._component,
                target=self.controller.name,
                action="reconcile",
                object=f"{self.controller.watches[0].resource.qualified} {key}",
                seconds=seconds,
                cause=cause,
            )
        )


def _owner_key(obj: Object, kind: Resource) -> Key | None:
    """The key of obj's controller, if that is of this kind."""
    ref = controller_of(obj)
    if ref is None or ref["kind"] != kind.kind or ref["apiVersion"].rpartition("/")[0] != kind.group:
        return None
    return Key((obj["metadata"].get("namespace") or "") if kind.namespaced else "", ref["name"])
