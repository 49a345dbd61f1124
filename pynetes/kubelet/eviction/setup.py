"""Makes the eviction manager and the image garbage collector from the configuration."""

from collections.abc import Callable, Iterable
from pathlib import Path

from pynetes.kubelet import podspec
from pynetes.kubelet.config import Config
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.state import Container
from pynetes.kubelet.eviction.manager import Eviction
from pynetes.kubelet.eviction.thresholds import RESOURCES, Judge, Threshold, graces, parse, with_reclaim
from pynetes.kubelet.imagegc import ImageGarbage
from pynetes.kubelet.machine import Machine
from pynetes.kubelet.worker import Worker
from pynetes.machinery.meta import Object


def thresholds(config: Config) -> list[Threshold]:
    """All thresholds of the configuration. Raises RemedyError."""
    soft = graces("--eviction-soft-grace-period", config.eviction_soft_grace_period)
    made = [*parse("--eviction-hard", config.eviction_hard), *parse("--eviction-soft", config.eviction_soft, soft)]
    return with_reclaim("--eviction-minimum-reclaim", made, config.eviction_minimum_reclaim)


def kept_free(config: Config, machine: Machine) -> dict[str, int]:
    """Bytes by resource that pods cannot have, because below them they would be evicted."""
    found = {}
    for one in parse("--eviction-hard", config.eviction_hard):
        if one.signal in ("memory.available", "nodefs.available"):
            whole = machine.memory if one.signal == "memory.available" else machine.disk
            found[RESOURCES[one.signal]] = one.least(whole)
    return found


def images_in_use(containers: Iterable[Container], pods: Iterable[Object]) -> set[str]:
    """Names of the images that containers were made from, or that pods will need, as volumes too. Pure."""
    found: set[str] = set()
    for one in containers:
        found |= {one.image, one.image_id}
    for pod in pods:
        found |= {str(container.get("image")) for container in podspec.everything(pod)}
        volumes = pod["spec"].get("volumes") or ()
        found |= {str(one["image"].get("reference")) for one in volumes if one.get("image")}
    return found


def build(
    config: Config,
    ctx: Context,
    workers: Callable[[], Iterable[Worker]],
    *,
    warn: Callable[[str, str], None],
    changed: Callable[[], None],
) -> tuple[Eviction, ImageGarbage]:
    """Both parts; the first has the second make room."""

    def used() -> set[str]:
        containers = [one for pod in ctx.pleg.pods.values() for one in pod.containers]
        return images_in_use(containers, [worker.pod for worker in workers()])

    images = ImageGarbage(
        ctx.runtime, ctx.clock, used, high=config.image_gc_high_threshold, low=config.image_gc_low_threshold
    )
    eviction = Eviction(
        Judge(thresholds(config), transition=config.eviction_pressure_transition_period),
        root=Path(config.root_dir),
        log_root=ctx.log_root,
        runtime=ctx.runtime,
        cgroups=ctx.cgroups,
        clock=ctx.clock,
        workers=workers,
        room=images.room,
        warn=warn,
        changed=changed,
        most_grace=config.eviction_max_pod_grace_period,
    )
    return eviction, images
