"""One pod's worker: its state machine, and the loop that looks, decides and acts until the pod is gone.

    SYNC ── deleted, removed, failed or finished ──► TERMINATING ── all stopped ──► TERMINATED ── cleaned ──► DONE
                                                                                    DONE ── object gone ──► GONE

Workers are independent: no pod waits for another. What happens outside (a new spec, a container that ended, a probe's
verdict) only wakes the worker, which then looks at everything afresh; a deletion also interrupts what it is doing.
"""

import asyncio
import logging
import shutil
from collections.abc import Coroutine
from datetime import timedelta
from enum import StrEnum

from pynetes.apis.core import pods
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.tasks import Group, leaves
from pynetes.component.tracing import CAUSE, revision
from pynetes.kubelet import garbage, lifecycle, metrics, podspec, resizing, start, status, stop
from pynetes.kubelet import logs as podlogs
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.cri.state import PodRuntime, State
from pynetes.kubelet.lifecycle import Actions, Probed
from pynetes.kubelet.status import Facts, Waiting
from pynetes.kubelet.volumes import mounts
from pynetes.kubelet.volumes.spec import VolumeFailure
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import UID, Object, is_deleting, key_of

log = logging.getLogger(__name__)

RETRY_FIRST, RETRY_LAST = 0.5, 30.0
#: The longest sleep, in seconds; event loops know no infinity.
LONGEST = 86400.0
#: Failed starts that may be tried again whenever something changes, since what they wait for is in the API.
EAGER = ("CreateContainerConfigError", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName")
EXPECTED = (RuntimeFailure, StatusError, Unreachable, OSError, VolumeFailure, start.SandboxFailure)


class Stage(StrEnum):
    """Where a pod's worker is."""

    SYNC = "sync"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    DONE = "done"
    GONE = "gone"


class Signal(StrEnum):
    """What moves a worker on."""

    END = "end"
    STOPPED = "stopped"
    CLEANED = "cleaned"
    REMOVED = "removed"


TRANSITIONS = {
    (Stage.SYNC, Signal.END): Stage.TERMINATING,
    (Stage.TERMINATING, Signal.STOPPED): Stage.TERMINATED,
    (Stage.TERMINATED, Signal.CLEANED): Stage.DONE,
    (Stage.DONE, Signal.REMOVED): Stage.GONE,
}


class Worker:
    """Runs one pod; make it, then `run` it."""

    def __init__(self, ctx: Context, pod: Object) -> None:
        self._ctx = ctx
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        #: The pod with the resources that it is granted.
        self._granted = pod
        self.stage = Stage.SYNC
        #: The object is no longer in the API.
        self.removed = False
        #: Why the kubelet itself ended the pod: (reason, message).
        self.failed: tuple[str, str] | None = None
        #: Seconds that its containers get then, None for the pod's own grace period.
        self.grace: int | None = None
        self._waiting: dict[str, Waiting] = {}
        #: When a container whose start failed may be tried again, on the monotonic clock.
        self._not_before: dict[str, float] = {}
        self._awake, self._interrupt = asyncio.Event(), asyncio.Event()
        self._delay = 0.0
        #: The revision that brought the pod, or the last one that wanted something else of it.
        self._cause = revision(pod["metadata"])
        #: On the monotonic clock; and whether its containers have been seen running, which counts once.
        self._seen, self._ran = ctx.clock.monotonic(), bool(ctx.pleg.get(self.uid).sandbox)

    def update(self, pod: Object) -> None:
        """The object has changed."""
        shorter = is_deleting(pod) and podspec.grace(pod) < podspec.grace(self.pod)
        ends = is_deleting(pod) and not is_deleting(self.pod)
        if ends or pod["metadata"].get("generation") != self.pod["metadata"].get("generation"):
            self._cause = revision(pod["metadata"])
        self.pod = pod
        if (ends and self.stage == Stage.SYNC) or (shorter and self.stage == Stage.TERMINATING):
            self._interrupt.set()
        self._awake.set()

    def remove(self) -> None:
        """The object is gone from the API."""
        self.removed = True
        self.pod = {**self.pod, "metadata": {**self.pod["metadata"], "deletionGracePeriodSeconds": 1}}
        self._interrupt.set()
        self._awake.set()

    def fail(self, reason: str, message: str) -> None:
        """End the pod with phase Failed (eviction, refusal)."""
        self.failed = (reason, message)
        self._interrupt.set()
        self._awake.set()

    def evict(self, message: str, *, grace: int) -> None:
        """End the pod because the node needs the room."""
        self.grace = grace
        self._ctx.events.event(self.pod, "Warning", "Evicted", message)
        self.fail("Evicted", message)

    def wake(self) -> None:
        """Something that concerns the pod has happened."""
        self._awake.set()

    async def run(self) -> None:
        """Work until the pod is gone."""
        steps = {
            Stage.SYNC: self._sync,
            Stage.TERMINATING: self._terminate,
            Stage.TERMINATED: self._clean,
            Stage.DONE: self._finish,
        }
        metrics.CONTAINERS.observe(len(self.pod["spec"].get("containers") or ()))
        metrics.WORKER_START.observe(self._ctx.clock.monotonic() - self._seen)
        while self.stage != Stage.GONE:
            self._awake.clear()
            self._interrupt.clear()
            stage = self.stage
            began = self._ctx.clock.monotonic()
            CAUSE.set(self._cause)
            pause = await self._interruptible(steps[stage]())
            metrics.WORKER_SECONDS.observe(self._ctx.clock.monotonic() - began, str(stage))
            if self.stage == stage and pause > 0 and not self._interrupt.is_set():
                await self._wait(pause)

    def _move(self, signal: Signal) -> float:
        self.stage = TRANSITIONS[self.stage, signal]
        self._delay = 0.0
        return 0.0

    async def _wait(self, seconds: float) -> None:
        async with Group() as group:
            waits = [group.start(self._awake.wait()), group.start(self._ctx.clock.sleep(min(seconds, LONGEST)))]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)

    async def _interruptible(self, step: Coroutine[object, object, float]) -> float:
        """Run a step; end it early on an interrupt. Expected failures become a pause."""
        async with Group() as group:
            work = group.start(self._guarded(step))
            await asyncio.wait([work, group.start(self._interrupt.wait())], return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else 0.0
        return 0.0

    async def _guarded(self, step: Coroutine[object, object, float]) -> float:
        try:
            pause = await step
        except Exception as failure:
            # Not even a bug in one pod's way may stop the others.
            causes = leaves(failure)
            bug = next((cause for cause in causes if not isinstance(cause, EXPECTED)), None)
            self._delay = min(max(self._delay * 2, RETRY_FIRST), RETRY_LAST)
            text = logs.fact("pod not synced", object=self.pod, stage=self.stage, error=bug or causes[0])
            log.warning(text, exc_info=bug)
            return self._delay
        self._delay = 0.0
        return pause

    # SYNC

    async def _sync(self) -> float:
        ctx, pod = self._ctx, self.pod
        runtime = ctx.pleg.get(self.uid)
        if is_deleting(pod) or self.removed or self.failed:
            return self._move(Signal.END)
        ctx.references.use(self.uid, start.references(pod))
        self._granted = pod = resizing.look(ctx, pod)
        ctx.prober.sync(pod, runtime, ctx.pod_ips(pod, runtime.ips))
        for name in [name for name in self._waiting if self._runs(runtime, name)]:
            del self._waiting[name]
        actions = lifecycle.decide(pod, runtime, self._probed())
        allowed, pause = self._held_back(actions, runtime)
        made = self._report(runtime)
        if made["phase"] == "Running" and not self._ran and not self._waiting:
            self._ran = all(self._runs(runtime, one["name"]) for one in podspec.regulars(pod))
            if self._ran:
                now = ctx.clock.monotonic()
                metrics.pod_runs(
                    pod, self._seen, now, ctx.clock.now().timestamp(), ctx.images.pulling.pop(self.uid, 0.0)
                )
        if made["phase"] in ("Succeeded", "Failed"):
            return self._move(Signal.END)
        left = self._deadline()
        if left is not None and left <= 0:
            self.failed = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            ctx.events.event(pod, "Normal", "DeadlineExceeded", self.failed[1])
            return self._move(Signal.END)
        pause = min(pause, ctx.resync if left is None else left)
        if not actions.create_sandbox:
            await start.mount(ctx, pod)
        if not actions and await resizing.actuate(ctx, pod, runtime):
            return 0.0
        if not (actions.kill_pod or actions.create_sandbox or actions.kill or allowed):
            await garbage.remove_outdated(ctx, runtime)
            return pause
        retry = await self._act(actions, allowed, runtime)
        await ctx.pleg.refresh(self.uid)
        return min(pause, retry) if retry else 0.0

    def _runs(self, runtime: PodRuntime, name: str) -> bool:
        current = runtime.current(name)
        return current is not None and current.state == State.RUNNING

    def _probed(self) -> Probed:
        return Probed(failed=self._ctx.prober.failed(self.uid), started=self._ctx.prober.started)

    def _report(self, runtime: PodRuntime, *, terminal: bool = False) -> Object:
        """Make the status and have it written."""
        ctx = self._ctx
        pod = {**self.pod, "status": ctx.statuses.current(self.pod)}
        made = status.generate(
            pod,
            runtime,
            Facts(
                now=ctx.clock.now(),
                waiting={} if terminal else self._waiting,
                ready=ctx.prober.ready,
                started=ctx.prober.started,
                host_ips=ctx.node_ips,
                terminal=terminal,
                failed=self.failed,
                runtime_name=ctx.runtime_name,
                resizes=ctx.grants.shown(self.uid),
            ),
        )
        if not self.removed:
            ctx.statuses.set(self.pod, made)
        return made

    def _held_back(self, actions: Actions, runtime: PodRuntime) -> tuple[list[str], float]:
        """Names that may start now, and the seconds until the next of the others may."""
        ctx, now = self._ctx, self._ctx.clock.now()
        allowed, soonest = [], float("inf")
        for name in actions.start:
            held = self._not_before.get(name, 0.0) - ctx.clock.monotonic()
            if held > 0:
                soonest = min(soonest, held)
                continue
            latest = runtime.latest(name)
            if latest is None or latest.state != State.EXITED or latest.finished is None:
                allowed.append(name)
                continue
            key = f"{self.uid}/{name}/{latest.hash}"
            left = ctx.crashes.left(key, latest.finished, now).total_seconds()
            if left <= 0:
                allowed.append(name)
                continue
            self._crash_loop(name, ctx.crashes.wait(key))
            soonest = min(soonest, left)
        return allowed, soonest

    def _crash_loop(self, name: str, wait: timedelta) -> None:
        place = podspec.full_name(self.pod)
        if self._waiting.get(name, Waiting("")).reason != "CrashLoopBackOff":
            message = f"Back-off restarting failed container {name} in pod {place}"
            self._ctx.container_event(self.pod, name, "Warning", "BackOff", message)
        seconds = int(wait.total_seconds())
        shown = f"{seconds // 60}m{seconds % 60}s" if seconds >= 60 else f"{seconds}s"
        message = f"back-off {shown} restarting failed container={name} pod={place}"
        self._waiting[name] = Waiting("CrashLoopBackOff", message)

    def _deadline(self) -> float | None:
        """Seconds left of activeDeadlineSeconds."""
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        begun = self._ctx.statuses.current(self.pod).get("startTime")
        if limit is None or not begun:
            return None
        return float(limit) - (self._ctx.clock.now() - time.parse(begun)).total_seconds()

    async def _act(self, actions: Actions, allowed: list[str], runtime: PodRuntime) -> float:
        """Carry actions out; seconds until a failed start is to be tried again, 0 when none failed."""
        ctx, pod = self._ctx, self._granted
        if actions.kill_pod:
            await stop.pod(ctx, pod, runtime, grace=podspec.grace(pod))
        for kill in actions.kill:
            grace = _probe_grace(pod, kill)
            await stop.container(ctx, pod, runtime, kill.container, grace=grace, message=kill.message)
        if actions.create_sandbox:
            # Beside each other, since each takes its time; a failed mount must not cancel a sandbox half-made.
            results = await asyncio.gather(
                start.mount(ctx, pod), start.sandbox(ctx, pod, actions.attempt), return_exceptions=True
            )
            # Also when one of both failed: a second sandbox of the same name would be refused.
            runtime = await ctx.pleg.refresh(self.uid)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        return await self._start(allowed, runtime)

    async def _start(self, names: list[str], runtime: PodRuntime) -> float:
        retry = 0.0
        for name in names:
            latest = runtime.latest(name)
            if latest is not None and latest.state == State.EXITED:
                self._ctx.crashes.next(f"{self.uid}/{name}/{latest.hash}", self._ctx.clock.now())
            try:
                await start.container(self._ctx, self._granted, runtime, name)
                self._waiting.pop(name, None)
            except start.StartFailure as failure:
                self._waiting[name] = Waiting(failure.reason, str(failure))
                if failure.reason not in EAGER:
                    self._not_before[name] = self._ctx.clock.monotonic() + failure.retry
                retry = min(retry or failure.retry, failure.retry)
        if retry:
            self._report(await self._ctx.pleg.refresh(self.uid))
        return retry

    # TERMINATING

    async def _terminate(self) -> float:
        ctx = self._ctx
        ctx.prober.stop_liveness(self.uid)
        runtime = await ctx.pleg.refresh(self.uid)
        if not runtime.at_rest:
            if not self.removed:
                self._report(runtime)
            grace = podspec.grace(self.pod) if self.grace is None else min(self.grace, podspec.grace(self.pod))
            await stop.pod(ctx, self.pod, runtime, grace=grace)
            runtime = await ctx.pleg.refresh(self.uid)
            if not runtime.at_rest:
                return 0.1
        ctx.prober.forget(self.uid)
        self._report(runtime, terminal=True)
        return self._move(Signal.STOPPED)

    # TERMINATED

    async def _clean(self) -> float:
        ctx = self._ctx
        await ctx.volumes.unmount(self.uid)
        with metrics.CGROUP_SECONDS.timing("destroy"):
            await asyncio.to_thread(ctx.cgroups.remove, self.uid)
        ctx.references.release(self.uid)
        ctx.devices.release(self.uid)
        ctx.grants.forget(self.uid)
        ctx.claims.release(self.uid)
        ctx.tokens.forget(self.uid)
        ctx.images.pulling.pop(self.uid, None)
        ctx.crashes.forget(f"{self.uid}/")
        return self._move(Signal.CLEANED)

    # DONE

    async def _finish(self) -> float:
        ctx = self._ctx
        if self.removed:
            await remove_traces(ctx, self.pod, ctx.pleg.get(self.uid))
            ctx.statuses.forget(self.uid)
            return self._move(Signal.REMOVED)
        if not is_deleting(self.pod):
            return float("inf")
        await ctx.statuses.flushed(self.uid)
        try:
            await ctx.client.delete(pods.RESOURCE, key_of(self.pod), uid=UID(self.uid), grace=0)
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
            self.removed = True
            return 0.0
        # Gone now, or waiting for its finalizers; either way the watch tells.
        return 60.0


def _probe_grace(pod: Object, kill: lifecycle.Kill) -> int:
    """A probe's own grace period comes before the pod's."""
    if kill.probe:
        spec = podspec.find(pod, kill.container.name) or {}
        own = (spec.get(f"{kill.probe}Probe") or {}).get("terminationGracePeriodSeconds")
        if own is not None:
            return int(own)
    return podspec.grace(pod)


async def remove_traces(ctx: Context, pod: Object, runtime: PodRuntime) -> None:
    """Remove what is left of a stopped pod: containers, sandboxes, files and logs."""
    for sandbox in runtime.sandboxes:
        await ctx.runtime.remove_sandbox(sandbox.id)
    metadata = pod["metadata"]
    home = ctx.volumes.home(metadata["uid"])
    folder = podlogs.directory(ctx.log_root, metadata.get("namespace", ""), metadata["name"], metadata["uid"])
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    # What is mounted there still, by whomever, is not the pod's to empty.
    if not any(mounts.below(home)):
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
    await ctx.pleg.refresh(metadata["uid"])
