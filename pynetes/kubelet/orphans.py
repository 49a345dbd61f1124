"""Pods that run here although the API has them no more: deleted by force while no kubelet was looking.

Looked for once, after the first list of pods; their objects are rebuilt from what the runtime's labels say.
"""

import logging
from collections.abc import Mapping

from pynetes.component import logs
from pynetes.kubelet import stop, worker
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.cri.state import PodRuntime
from pynetes.machinery.meta import Object

log = logging.getLogger(__name__)


async def stop_all(ctx: Context, known: Mapping[str, worker.Worker]) -> None:
    """Stop and remove every pod that no worker knows."""
    for uid, runtime in tuple(ctx.pleg.pods.items()):
        if uid not in known:
            try:
                await _remove(ctx, uid, runtime)
            except RuntimeFailure as failure:
                log.warning(logs.fact("orphaned pod not removed", uid=uid, error=failure))
    for uid in ctx.volumes.known() - known.keys():
        await ctx.volumes.unmount(uid)
    for uid in ctx.cgroups.pods() - known.keys():
        ctx.cgroups.remove(uid)


async def _remove(ctx: Context, uid: str, runtime: PodRuntime) -> None:
    pod: Object = {"metadata": {"name": runtime.name, "namespace": runtime.namespace, "uid": uid}, "spec": {}}
    log.info(logs.fact("stopping a pod that is gone from the API", object=pod, uid=uid))
    await stop.pod(ctx, None, runtime, grace=min(runtime.grace, 30))
    await ctx.volumes.unmount(uid)
    ctx.cgroups.remove(uid)
    await worker.remove_traces(ctx, pod, await ctx.pleg.refresh(uid))
