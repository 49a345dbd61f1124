"""Keeps what the runtime runs, and says which pods changed (upstream's pod lifecycle event generator).

Three sources, from the quickest to the surest:
- A pod worker refreshes its own pod after acting: what the kubelet does itself is known at once.
- The runtime's event stream tells of a container that ended. CRI may learn of it a moment after the event is sent, so
  the pod is looked at a few times until the change shows.
- A list of everything, every second without an event stream and every ten with one.
A status is fetched only for what changed; a container that has exited is never asked about twice.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from pynetes.component.clock import Clock
from pynetes.kubelet import metrics
from pynetes.kubelet.cri import events, messages, state
from pynetes.kubelet.cri.runtime import STATES, Runtime, RuntimeFailure
from pynetes.kubelet.cri.state import Container, PodRuntime, Sandbox, State
from pynetes.rpc.cri import runtime_v1_pb2 as pb

log = logging.getLogger(__name__)

RELIST = 1.0
RELIST_WITH_EVENTS = 10.0
#: When to look again after the event of an exit, in seconds after each other.
AFTER_EXIT = (0.0, 0.01, 0.03, 0.1, 0.3, 0.6)


class Pleg:
    """The cache of PodRuntime by pod UID. `run` keeps it true and calls on_change with what changed."""

    def __init__(self, runtime: Runtime, clock: Clock, on_change: Callable[[str], None]) -> None:
        self._runtime, self._clock, self._on_change = runtime, clock, on_change
        self.pods: dict[str, PodRuntime] = {}
        #: When the last full list succeeded, on the monotonic clock; the node is not Ready when it is long ago.
        self.relisted = 0.0
        self._owners: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        #: Exits of containers that nobody has seen yet: they ended sooner than they were listed.
        self._early: deque[str] = deque(maxlen=256)
        self._group: asyncio.TaskGroup | None = None
        self._streaming = False

    def get(self, uid: str) -> PodRuntime:
        """What is known of a pod; an empty one when the runtime has nothing."""
        return self.pods.get(uid) or PodRuntime(uid=uid)

    async def run(self, endpoint: str) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._listen(endpoint))
            while True:
                await self._clock.sleep(RELIST_WITH_EVENTS if self._streaming else RELIST)
                try:
                    await self.relist()
                except RuntimeFailure as failure:
                    log.warning("listing containers failed: %s", failure)

    async def relist(self) -> None:
        """Look at everything once."""
        began = self._clock.monotonic()
        if self.relisted:
            metrics.PLEG_INTERVAL.observe(began - self.relisted)
        found = await self._runtime.pods()
        for uid in {*self.pods, *found}:
            before = self.pods.get(uid)
            if before is None or _changed(before, found.get(uid, [])):
                await self.refresh(uid)
                self._on_change(uid)
        self.relisted = self._clock.monotonic()
        metrics.PLEG_SECONDS.observe(self.relisted - began)
        metrics.PLEG_SEEN.set(self._clock.now().timestamp())

    async def refresh(self, uid: str) -> PodRuntime:
        """Look at one pod now."""
        async with self._locks.setdefault(uid, asyncio.Lock()):
            listed = (await self._runtime.pods(uid)).get(uid, [])
            known = self.pods.get(uid) or PodRuntime(uid=uid)
            if not listed:
                self.pods.pop(uid, None)
                self._locks.pop(uid, None)
                self._owners = {one: owner for one, owner in self._owners.items() if owner != uid}
                return PodRuntime(uid=uid, namespace=known.namespace, name=known.name)
            listed.sort(key=lambda pair: (pair[0].metadata.attempt, pair[0].created_at), reverse=True)
            containers = [await self._container(known, one) for _, inside in listed for one in inside]
            newest = listed[0][0]
            for seen in [*(one.id for one in containers), *(sandbox.id for sandbox, _ in listed)]:
                self._owners[seen] = uid
                if seen in self._early:
                    self._early.remove(seen)
                    self._follow(seen)
            fresh = self.pods[uid] = PodRuntime(
                uid=uid,
                namespace=newest.metadata.namespace,
                name=newest.metadata.name,
                sandboxes=tuple([await self._sandbox(known, sandbox) for sandbox, _ in listed]),
                containers=tuple(sorted(containers, key=lambda one: (one.attempt, one.id), reverse=True)),
                grace=int(newest.annotations.get(state.POD_GRACE) or 30),
            )
            return fresh

    async def _sandbox(self, known: PodRuntime, listed: pb.PodSandbox) -> Sandbox:
        ready = listed.state == pb.SANDBOX_READY
        for sandbox in known.sandboxes:
            if sandbox.id == listed.id and sandbox.ready == ready and (sandbox.ips or not ready):
                return sandbox
        return await self._runtime.sandbox(listed)

    async def _container(self, known: PodRuntime, listed: pb.Container) -> Container:
        now = STATES[listed.state]
        for container in known.containers:
            if container.id == listed.id and container.state == now:
                return container
        try:
            return _record(await self._runtime.container_status(listed.id), listed.pod_sandbox_id)
        except RuntimeFailure as failure:
            if not failure.absent:
                raise
            # Removed between the list and this: as good as exited, and gone from the next list.
            name = listed.labels.get(state.CONTAINER_NAME) or listed.metadata.name
            return Container(id=listed.id, name=name, sandbox=listed.pod_sandbox_id, state=State.EXITED)

    async def _listen(self, endpoint: str) -> None:
        while True:
            async for container_id in events.exits(endpoint):
                self._streaming = True
                if container_id in self._owners:
                    self._follow(container_id)
                elif container_id:
                    self._early.append(container_id)
            self._streaming = False
            await self._clock.sleep(5.0)

    def _follow(self, container_id: str) -> None:
        if self._group:
            self._group.create_task(self._follow_exit(self._owners[container_id], container_id))

    async def _follow_exit(self, uid: str, container_id: str) -> None:
        """The event may be ahead of what CRI answers."""
        for pause in AFTER_EXIT:
            await self._clock.sleep(pause)
            try:
                now = await self.refresh(uid)
            except RuntimeFailure:
                continue
            alive = [one.id for one in now.containers if one.state != State.EXITED]
            alive += [one.id for one in now.sandboxes if one.ready]
            if container_id not in alive:
                break
        self._on_change(uid)


def _changed(before: PodRuntime, listed: list[tuple[pb.PodSandbox, list[pb.Container]]]) -> bool:
    now = {one.id: STATES[one.state] for _, inside in listed for one in inside}
    ready = {sandbox.id: sandbox.state == pb.SANDBOX_READY for sandbox, _ in listed}
    return now != {one.id: one.state for one in before.containers} or ready != {
        sandbox.id: sandbox.ready for sandbox in before.sandboxes
    }


def _record(status: pb.ContainerStatus, sandbox: str) -> Container:
    return Container(
        id=status.id,
        name=status.labels.get(state.CONTAINER_NAME) or status.metadata.name,
        sandbox=sandbox,
        state=STATES[status.state],
        attempt=status.metadata.attempt,
        hash=status.annotations.get(state.CONTAINER_HASH, ""),
        image=status.image.image,
        image_id=status.image_ref,
        created=state.moment(status.created_at),
        started=state.moment(status.started_at),
        finished=state.moment(status.finished_at),
        exit_code=status.exit_code,
        reason=status.reason,
        message=messages.of_container(status),
        log_path=status.log_path,
        stop_signal=pb.Signal.Name(status.stop_signal) if status.stop_signal else "",
        recursive=frozenset(one.container_path for one in status.mounts if one.recursive_read_only),
    )
