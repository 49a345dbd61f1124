"""Pods that run here although the API has them no more: deleted by force while no kubelet was looking.

Looked for once, after the first list of pods; their objects are rebuilt from what the runtime's labels say.
"""

import asyncio
import logging
import shutil
from collections.abc import Mapping

from pynetes.component import logs
from pynetes.component.tasks import Group
from pynetes.kubelet import metrics, stop, worker
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.cri.state import PodRuntime
from pynetes.kubelet.volumes.spec import VolumeFailure
from pynetes.machinery.meta import Object

log = logging.getLogger(__name__)

RETRY_FIRST, RETRY_LAST = 1.0, 60.0


async def stop_all(ctx: Context, known: Mapping[str, worker.Worker], group: Group) -> None:
    """Stop and remove every pod that no worker knows."""
    for uid, runtime in tuple(ctx.pleg.pods.items()):
        if uid not in known:
            metrics.ORPHANS.inc()
            try:
                await _remove(ctx, uid, runtime)
            except RuntimeFailure as failure:
                log.warning(logs.fact("orphaned pod not removed", uid=uid, error=failure))
    for uid in ctx.volumes.known() - known.keys() - {uid for uid, pod in ctx.pleg.pods.items() if pod.running}:
        # In the background: the driver of a volume may take a while to register, or be gone for good.
        group.start(_unmount(ctx, uid), name=f"unmount {uid}")
    ctx.volumes.csi.release_unused()
    for uid in ctx.cgroups.pods() - known.keys():
        ctx.cgroups.remove(uid)


async def _unmount(ctx: Context, uid: str) -> None:
    delay = RETRY_FIRST
    while True:
        try:
            await ctx.volumes.unmount(uid)
            await asyncio.to_thread(shutil.rmtree, ctx.volumes.home(uid), ignore_errors=True)
            return
        except (VolumeFailure, OSError) as failure:
            log.warning(logs.fact("volumes of an orphaned pod not unmounted", uid=uid, error=failure))
            await ctx.clock.sleep(delay)
            delay = min(delay * 2, RETRY_LAST)


async def _remove(ctx: Context, uid: str, runtime: PodRuntime) -> None:
    pod: Object = {"metadata": {"name": runtime.name, "namespace": runtime.namespace, "uid": uid}, "spec": {}}
    log.info(logs.fact("stopping a pod that is gone from the API", object=pod, uid=uid))
    await stop.pod(ctx, None, runtime, grace=min(runtime.grace, 30))
    ctx.cgroups.remove(uid)
    await worker.remove_traces(ctx, pod, await ctx.pleg.refresh(uid))
