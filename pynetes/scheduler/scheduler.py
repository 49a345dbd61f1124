"""The scheduler: one pod at a time is placed, decided purely on the cache; bindings run beside it.

A cycle takes no await between reading the cache and assuming the pod, so nothing can change in between. The binding,
which does wait for the API server, is a task of its own: a slow one holds up nobody.
"""

import logging
import random
from collections.abc import Sequence

from pynetes.apis.core import namespaces, nodes, pods
from pynetes.apis.policy import poddisruptionbudgets
from pynetes.client.events import Recorder
from pynetes.client.informer import Handler, Informer, InformerFactory
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.tasks import Group
from pynetes.component.tracing import CAUSE, revision
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import UID, Object, is_deleting, key_of
from pynetes.scheduler import framework, metrics, plugins, preemption
from pynetes.scheduler.cache import Cache
from pynetes.scheduler.framework import Event, Fit, Plugin
from pynetes.scheduler.pods import PodInfo, is_terminal
from pynetes.scheduler.preemption import Nomination
from pynetes.scheduler.queue import Queue, Queued
from pynetes.scheduler.volumes import NotBound

NAME = "default-scheduler"
#: Seconds between looks at pods that have waited long.
FLUSH_PERIOD = 1.0

_LOG = logging.getLogger(__name__)


class Scheduler:
    """`await Scheduler(client).run()` schedules until cancelled."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock | None = None,
        dice: random.Random | None = None,
        profile: Sequence[Plugin] | None = None,
        name: str = NAME,
    ) -> None:
        self._client, self._clock, self._dice = client, clock or SystemClock(), dice or random.Random()
        self._plugins = tuple(profile) if profile is not None else plugins.default(self._clock.now)
        self._name = name
        #: Attempts so far, of which some are measured more closely.
        self._cycles = 0
        self.cache = Cache()
        self.queue = Queue(self._plugins, self._clock)
        self._recorder = Recorder(client, clock=self._clock)
        self._informers: InformerFactory | None = None
        self._budgets: Informer | None = None

    async def run(self) -> None:
        """Follow nodes and pods, and schedule. Cancel it to stop."""
        async with Group() as group:
            group.start(self._recorder.run(), name="events")
            self._informers = InformerFactory(self._client, clock=self._clock, group=group, dice=self._dice)
            known_nodes = self._informers.informer(nodes.RESOURCE)
            known_pods = self._informers.informer(
                pods.RESOURCE, field_selector="status.phase!=Succeeded,status.phase!=Failed"
            )
            self._budgets = self._informers.informer(poddisruptionbudgets.RESOURCE)
            known_namespaces = self._informers.informer(namespaces.RESOURCE)
            for plugin in self._plugins:
                plugin.follow(self._informers)
            followed = [self._informers.informer(resource) for resource in plugins.FOLLOWED]
            await self._informers.wait_synced()
            known_namespaces.handle(self._namespace_changed)
            known_nodes.handle(self._node_changed)
            for informer in followed:
                informer.handle(self._waker(informer.resource.plural))
            known_pods.handle(self._pod_changed)
            group.start(self._flush(), name="flush")
            while True:
                self._cycle(await self.queue.pop(), group)

    def unsynced(self) -> str | None:
        """What is missing before pods are scheduled, for a readiness check; None when nothing is."""
        if self._informers is None:
            return "not started"
        missing = self._informers.unsynced()
        return f"not listed yet: {', '.join(missing)}" if missing else None

    # What happens in the cluster.

    def _namespace_changed(self, new: Object, _old: Object | None, gone: bool) -> None:
        name = new["metadata"]["name"]
        if gone:
            self.cache.nodes.namespaces.pop(name, None)
        else:
            self.cache.nodes.namespaces[name] = new["metadata"].get("labels") or {}

    def _node_changed(self, new: Object, old: Object | None, gone: bool) -> None:
        if gone:
            self.cache.remove_node(new["metadata"]["name"])
            return
        self.cache.set_node(new)
        self.queue.happened(Event("nodes", "update" if old else "add"), new, old)

    def _pod_changed(self, new: Object, old: Object | None, gone: bool) -> None:
        key, info = key_of(new), PodInfo(new)
        if gone or is_terminal(new):
            self.queue.remove(key)
            self.cache.withdraw(key)
            self.cache.remove_pod(key)
            self.queue.happened(Event("pods", "delete"), new, old)
        elif info.node_name:
            self.queue.remove(key)
            self.cache.set_pod(info)
            self.queue.happened(Event("pods", "update" if old and PodInfo(old).node_name else "add"), new, old)
        elif (info.spec.get("schedulerName") or NAME) == self._name and not is_deleting(new):
            if not self.cache.is_assumed(key):
                self.queue.add(info)
        else:
            self.queue.remove(key)

    def _waker(self, plural: str) -> Handler:
        def changed(new: Object, old: Object | None, gone: bool) -> None:
            self.queue.happened(Event(plural, "delete" if gone else "update" if old else "add"), new, old)

        return changed

    async def _flush(self) -> None:
        while True:
            await self._clock.sleep(FLUSH_PERIOD)
            self.queue.flush()
            metrics.tell(self.cache, self.queue.rejections(), self._name)

    # One pod.

    def _cycle(self, entry: Queued, group: Group) -> None:
        started = self._clock.monotonic()
        CAUSE.set(revision(entry.info.pod["metadata"]))
        told = metrics.ran if self._cycles % metrics.MEASURED == 0 else None
        self._cycles += 1
        with self.cache.reserved(entry.info):
            result = framework.fit(self._plugins, entry.info, self.cache.nodes, told)
            filtered = self._clock.monotonic()
            status = "Success" if len(result.rows) else "Unschedulable"
            metrics.POINT_SECONDS.observe(filtered - started, "Filter", status, self._name)
            node = self._choose(entry.info, result, told) if len(result.rows) else ""
        if node:
            metrics.POINT_SECONDS.observe(self._clock.monotonic() - filtered, "Score", "Success", self._name)
        if node:
            self.cache.withdraw(entry.info.key)
            self.cache.assume(entry.info, node)
            self._reserve(entry.info, node)
            metrics.ALGORITHM.observe(self._clock.monotonic() - started)
            group.start(self._bind(entry, node, started), name="bind")
        else:
            self._attempted("unschedulable", started)
            self.queue.unschedulable(entry, result.rejected_by or {plugin.name for plugin in self._plugins})
            found = self._preemption(entry.info, result)
            group.start(self._explain(entry.info, result.message, found), name="explain")

    def _choose(self, info: PodInfo, result: Fit, told: framework.Told | None) -> str:
        rows = framework.best(self._plugins, info, self.cache.nodes, result.rows, told)
        return self.cache.nodes.name(int(rows[self._dice.randrange(len(rows))]))

    def _attempted(self, result: str, started: float) -> None:
        metrics.ATTEMPTS.inc(result, self._name)
        metrics.ATTEMPT_SECONDS.observe(self._clock.monotonic() - started, result, self._name)

    def _reserve(self, info: PodInfo, node: str) -> None:
        chosen = self.cache.nodes.node(self.cache.nodes.rows[node])
        for plugin in self._plugins:
            plugin.reserve(info, chosen)

    async def _bind(self, entry: Queued, node: str, started: float) -> None:
        info = entry.info
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": info.key.namespace, "name": info.key.name, "uid": info.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            for plugin in self._plugins:
                await plugin.pre_bind(info, self._client)
            await self._client.create(pods.RESOURCE, binding, subresource="binding", key=info.key)
        except (StatusError, Unreachable, NotBound) as error:
            self._attempted("error", started)
            await self._not_bound(entry, node, error)
            return
        finally:
            for plugin in self._plugins:
                plugin.unreserve(info)
        self.queue.remove(info.key)
        self._attempted("scheduled", started)
        metrics.POD_ATTEMPTS.observe(entry.attempts)
        metrics.SLI.observe(self._clock.monotonic() - entry.added, str(min(entry.attempts, 16)))
        _LOG.info(logs.fact("pod bound", object=info.pod, node=node))
        message = f"Successfully assigned {info.key} to {node}"
        self._recorder.event(info.pod, "Normal", "Scheduled", message, source=self._name, action="Binding")

    async def _not_bound(self, entry: Queued, node: str, error: StatusError | Unreachable | NotBound) -> None:
        self.cache.forget(entry.info)
        if isinstance(error, StatusError) and error.reason == "NotFound":
            self.queue.remove(entry.info.key)
            return
        delay = self.queue.failed(entry)
        _LOG.warning(logs.fact("binding failed", object=entry.info.pod, node=node, error=error, again_in=delay))
        await self._report(entry.info, "SchedulerError", f"binding rejected: {error}")

    def _preemption(self, info: PodInfo, result: Fit) -> Nomination | str:
        """Whose eviction makes room, or why none does; "" when there is nothing to say."""
        if not result.total or self._waits_for_victims(info):
            return ""
        assert self._budgets is not None
        metrics.PREEMPTIONS.inc()
        with self.cache.reserved(info):
            found = preemption.choose(self._plugins, info, self.cache.nodes, result, self._budgets.listed())
        if isinstance(found, Nomination):
            self.cache.nominate(info, found.node)
            metrics.VICTIMS.observe(len(found.victims))
        return found

    async def _explain(self, info: PodInfo, message: str, found: Nomination | str) -> None:
        """No node fits: evict whom that helps, and tell the user."""
        if isinstance(found, str):
            suffix = f" preemption: {found}" if found else ""
            await self._report(info, "Unschedulable", message + suffix)
            return
        for victim in found.victims:
            await self._evict(victim, info)
        await self._report(info, "Unschedulable", message, nominated=found.node)

    def _waits_for_victims(self, info: PodInfo) -> bool:
        """Whether room is being made for the pod already, by pods that are still on their way out."""
        row = self.cache.nodes.rows.get(self.cache.nominated(info.key))
        if row is None:
            return False
        pods_there = self.cache.nodes.pods[row].values()
        return any(is_deleting(other.pod) and other.priority < info.priority for other in pods_there)

    async def _evict(self, victim: PodInfo, preemptor: PodInfo) -> None:
        message = f"{self._name}: preempting to accommodate a higher priority pod"
        now = times.rfc3339(self._clock.now())
        condition: Object = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
        patch = {"status": {"conditions": [{**condition, "message": message, "lastTransitionTime": now}]}}
        try:
            await self._client.patch(pods.RESOURCE, victim.key, patch, kind="strategic", subresource="status")
            await self._client.delete(pods.RESOURCE, victim.key, uid=UID(victim.uid))
        except (StatusError, Unreachable) as error:
            _LOG.info(logs.fact("cannot preempt", object=victim.pod, error=error))
            return
        _LOG.info(logs.fact("pod preempted", object=victim.pod, by=preemptor.key))
        text = f"Preempted by pod {preemptor.uid} on node {victim.node_name}"
        self._recorder.event(victim.pod, "Normal", "Preempted", text, source=self._name, action="Preempting")

    async def _report(self, info: PodInfo, reason: str, message: str, *, nominated: str = "") -> None:
        """Tell the user, in an event and in the pod's condition, why the pod has no node."""
        self._recorder.event(info.pod, "Warning", "FailedScheduling", message, source=self._name, action="Scheduling")
        condition: Object = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        present = (info.pod.get("status") or {}).get("conditions") or ()
        if not nominated and any(condition.items() <= known.items() for known in present):
            return
        condition |= {"lastProbeTime": None, "lastTransitionTime": times.rfc3339(self._clock.now())}
        if generation := info.pod["metadata"].get("generation"):
            condition["observedGeneration"] = generation
        _LOG.info(logs.fact("pod not scheduled", object=info.pod, reason=message))
        try:
            status = {"conditions": [condition], **({"nominatedNodeName": nominated} if nominated else {})}
            await self._client.patch(
                pods.RESOURCE, info.key, {"status": status}, kind="strategic", subresource="status"
            )
        except (StatusError, Unreachable) as error:
            _LOG.info(logs.fact("cannot write the PodScheduled condition", object=info.pod, error=error))
