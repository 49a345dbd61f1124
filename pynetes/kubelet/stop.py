"""Stops containers and pods: preStop hooks within the grace period, TERM, KILL, then the sandboxes."""

import asyncio
from collections.abc import Iterable

from pynetes.kubelet import handlers, podspec
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.state import Container, PodRuntime, State
from pynetes.machinery.meta import Object

#: A container gets at least this long for TERM after a hook has used the grace period up, in seconds.
LEAST = 2


async def container(
    ctx: Context, pod: Object | None, runtime: PodRuntime, one: Container, *, grace: int, message: str = ""
) -> None:
    """Stop one container."""
    spec = podspec.find(pod, one.name) if pod else None
    if pod is not None:
        text = message or f"Stopping container {one.name}"
        ctx.container_event(pod, one.name, "Normal", "Killing", text)
    hook = ((spec or {}).get("lifecycle") or {}).get("preStop")
    left = grace
    if pod is not None and spec and hook and grace > 0 and one.state == State.RUNNING:
        left = await _pre_stop(ctx, pod, spec, hook, runtime, one, grace)
    await ctx.runtime.stop_container(one.id, left)


async def _pre_stop(
    ctx: Context, pod: Object, spec: Object, hook: Object, runtime: PodRuntime, one: Container, grace: int
) -> int:
    ips = ctx.pod_ips(pod, runtime.ips)
    started = ctx.clock.monotonic()
    target = handlers.Target.of(pod, one.id, spec, ips)
    outcome = await handlers.perform(hook, target, ctx.runtime, timeout=grace, hook=True)
    if not outcome.success:
        message = f"PreStopHook failed: {outcome.output}"
        ctx.container_event(pod, one.name, "Warning", "FailedPreStopHook", message)
    return max(grace - int(ctx.clock.monotonic() - started), LEAST)


async def pod(ctx: Context, obj: Object | None, runtime: PodRuntime, *, grace: int) -> None:
    """Stop everything of a pod: ordinary containers together, then restartable init containers, the last one first."""
    sidecars = [one["name"] for one in podspec.inits(obj) if podspec.is_sidecar(one)] if obj else []
    ordinary = [one for one in runtime.running if one.name not in sidecars]
    started = ctx.clock.monotonic()
    await _together(ctx, obj, runtime, ordinary, grace)
    for name in reversed(sidecars):
        left = max(grace - int(ctx.clock.monotonic() - started), min(LEAST, grace))
        await _together(ctx, obj, runtime, [one for one in runtime.running if one.name == name], left)
    for sandbox in runtime.sandboxes:
        if sandbox.ready:
            await ctx.runtime.stop_sandbox(sandbox.id)


async def _together(
    ctx: Context, obj: Object | None, runtime: PodRuntime, chosen: Iterable[Container], grace: int
) -> None:
    async with asyncio.TaskGroup() as group:
        for one in chosen:
            group.create_task(container(ctx, obj, runtime, one, grace=grace))
