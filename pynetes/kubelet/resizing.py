"""Carries resizes out: the pod's cgroup opens, each container is told its new resources, the cgroup closes again."""

import asyncio

from pynetes.kubelet import podspec, resize, stop
from pynetes.kubelet.cm import resources
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.cri.state import PodRuntime, State
from pynetes.machinery.meta import Object


def look(ctx: Context, pod: Object) -> Object:
    """Grant what the pod wishes if that fits; the pod with what it is granted."""
    uid, grants = pod["metadata"]["uid"], ctx.grants
    grants.first(pod)
    if grants.wishes(pod):
        others = [grants.granted(one) for one in ctx.others(uid)]
        verdict = resize.judge(pod, others, ctx.allocatable(), exclusive=ctx.cpus.static)
        if verdict.reason:
            if grants.pending.get(uid) != verdict:
                reason = f"Resize{verdict.reason}"
                ctx.events.event(pod, "Warning", reason, f"Pod resize {verdict.reason}: {verdict.message}")
            grants.pending[uid] = verdict
        else:
            grants.grant(pod)
    else:
        grants.pending.pop(uid, None)
    return grants.granted(pod)


async def actuate(ctx: Context, pod: Object, runtime: PodRuntime) -> bool:
    """Tell the runtime what containers were granted; whether anything was to do. pod is with what it is granted."""
    uid = pod["metadata"]["uid"]
    outstanding = ctx.grants.outstanding(uid)
    if not outstanding:
        return False
    await asyncio.to_thread(ctx.cgroups.open, pod)
    try:
        for name, given in outstanding.items():
            await _container(ctx, pod, runtime, name, given)
        ctx.grants.errors.pop(uid, None)
    except RuntimeFailure as failure:
        # A limit below what is used, as a rule: told in the condition, and tried again.
        ctx.grants.errors[uid] = str(failure)
        ctx.events.event(pod, "Warning", "ResizeError", f"Pod resize failed: {failure}")
        return False
    finally:
        await asyncio.to_thread(ctx.cgroups.create, pod)
    if not ctx.grants.outstanding(uid):
        ctx.events.event(pod, "Normal", "ResizeCompleted", "Pod resize completed")
    return True


async def _container(ctx: Context, pod: Object, runtime: PodRuntime, name: str, given: Object) -> None:
    uid, spec, current = pod["metadata"]["uid"], podspec.find(pod, name), runtime.current(name)
    if spec is None or current is None or current.state != State.RUNNING:
        return
    before = ctx.grants.actuated[uid][name]
    if resize.restarts(spec, before, given):
        message = f"Container {name} resize requires restart"
        await stop.container(ctx, pod, runtime, current, grace=podspec.grace(pod), message=message)
    else:
        wanted = resources.of_container(pod, spec, ctx.memory, cpuset=ctx.cpus.cpuset(uid, name))
        if not wanted.cpu_quota and "cpu" in (before.get("limits") or {}):
            # A limit that was taken away: no quota, said so.
            wanted.cpu_period, wanted.cpu_quota = resources.PERIOD, -1
        await ctx.runtime.update_container(current.id, wanted)
    ctx.grants.started(uid, name, given)
