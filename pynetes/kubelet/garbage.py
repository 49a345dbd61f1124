"""What of a pod's past is no longer needed: old attempts of its containers, old sandboxes, and logs grown too large.

The newest attempt and the one before it stay (status and `logs --previous` show them) as long as the pod does.
"""

import asyncio
import gzip
import logging
import shutil
from pathlib import Path

from pynetes.component import logs
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.cri.state import Container, PodRuntime, Sandbox, State

log = logging.getLogger(__name__)

KEPT_ATTEMPTS = 2
#: Upstream's containerLogMaxSize (10Mi), containerLogMaxFiles and containerLogMonitorInterval.
LOG_BYTES, LOG_FILES, LOG_INTERVAL = 10 << 20, 5, 10.0


def outdated(runtime: PodRuntime) -> tuple[list[Container], list[Sandbox]]:
    """Containers and sandboxes of a pod that may be removed. Pure."""
    names = {one.name for one in runtime.containers}
    old = [one for name in names for one in runtime.attempts(name)[KEPT_ATTEMPTS:] if one.state == State.EXITED]
    gone = {one.id for one in old}
    used = {one.sandbox for one in runtime.containers if one.id not in gone}
    return old, [one for one in runtime.sandboxes[1:] if not one.ready and one.id not in used]


async def remove_outdated(ctx: Context, runtime: PodRuntime) -> None:
    """Remove them."""
    containers, sandboxes = outdated(runtime)
    for container in containers:
        await ctx.runtime.remove_container(container.id)
        for path in Path(container.log_path).parent.glob(f"{Path(container.log_path).name}*"):
            path.unlink(missing_ok=True)
    for sandbox in sandboxes:
        await ctx.runtime.remove_sandbox(sandbox.id)
    if containers or sandboxes:
        await ctx.pleg.refresh(runtime.uid)


async def rotate_logs(ctx: Context) -> None:
    """Rotate logs that have grown too large, until cancelled."""
    while True:
        await ctx.clock.sleep(LOG_INTERVAL)
        for runtime in tuple(ctx.pleg.pods.values()):
            for container in runtime.running:
                path = Path(container.log_path)
                if path.exists() and path.stat().st_size > LOG_BYTES:
                    await _rotate(ctx, container, path)


async def _rotate(ctx: Context, container: Container, path: Path) -> None:
    aside = path.with_name(f"{path.name}.{ctx.clock.now():%Y%m%d-%H%M%S}")
    path.rename(aside)
    try:
        await ctx.runtime.reopen_log(container.id)
    except RuntimeFailure as failure:
        # The runtime still writes to the old file: it gets its name back.
        aside.rename(path)
        log.warning(logs.fact("log not rotated", container=container.name, error=failure))
        return
    await asyncio.to_thread(_tidy, path, aside)


def _tidy(path: Path, newest: Path) -> None:
    """Compress all rotated files but the newest, which readers may still follow, and drop the oldest."""
    rotated = sorted(path.parent.glob(f"{path.name}.*"), key=lambda one: one.name, reverse=True)
    for old in rotated[LOG_FILES - 1 :]:
        old.unlink(missing_ok=True)
    for plain in rotated[: LOG_FILES - 1]:
        if plain != newest and plain.suffix != ".gz":
            with plain.open("rb") as source, gzip.open(f"{plain}.gz", "wb") as target:
                shutil.copyfileobj(source, target)
            plain.unlink()
