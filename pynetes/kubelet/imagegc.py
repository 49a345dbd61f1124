"""Removes images that no container uses when their disk is nearly full: the one unused for longest first.

Above the high threshold as many go as bring the disk below the low one; an image younger than two minutes stays.
"""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.kubelet import metrics
from pynetes.kubelet.cri.runtime import Runtime, RuntimeFailure

log = logging.getLogger(__name__)

INTERVAL, LEAST_AGE = 300.0, 120.0


class Image(NamedTuple):
    """An image: when it was first seen and last used, on the monotonic clock."""

    id: str
    size: int
    seen: float
    used: float


def choose(images: Iterable[Image], wanted: int, now: float) -> list[Image]:
    """Images to remove so that wanted bytes are free again. Pure."""
    chosen: list[Image] = []
    free = 0
    for image in sorted(images, key=lambda one: (one.used, one.seen)):
        if free >= wanted:
            break
        if now - image.seen >= LEAST_AGE and image.used < now:
            chosen.append(image)
            free += image.size
    return chosen


class ImageGarbage:
    """Of one runtime; `run` it. used gives the images of all containers and pods, by any of their names."""

    def __init__(self, runtime: Runtime, clock: Clock, used: Callable[[], set[str]], *, high: int, low: int) -> None:
        self._runtime, self._clock, self._used, self._high, self._low = runtime, clock, used, high, low
        self._seen: dict[str, float] = {}
        self._last: dict[str, float] = {}

    async def run(self) -> None:
        """Look every five minutes until cancelled."""
        while True:
            try:
                await self.once()
            except (RuntimeFailure, OSError) as failure:
                log.warning(logs.fact("images not looked at", error=failure))
            await self._clock.sleep(INTERVAL)

    async def once(self) -> int:
        """Remove what is too much; the bytes that were freed."""
        folder = await self._runtime.image_folder()
        await self._look()
        if folder is None or not folder.exists():
            return 0
        return await self._remove(_surplus(folder, self._high, self._low))

    async def room(self) -> int:
        """Remove every image that nobody uses: the disk is short."""
        await self._look()
        return await self._remove(1 << 62)

    async def _look(self) -> list[Image]:
        now, used = self._clock.monotonic(), self._used()
        found = []
        for image in await self._runtime.images():
            first = self._seen.setdefault(image.id, now)
            if image.pinned or used & {image.id, *image.repo_tags, *image.repo_digests}:
                self._last[image.id] = now
            found.append(Image(image.id, image.size, first, self._last.get(image.id, 0.0)))
        for gone in self._seen.keys() - {image.id for image in found}:
            del self._seen[gone]
            self._last.pop(gone, None)
        self._found = found
        return found

    async def _remove(self, wanted: int) -> int:
        freed = 0
        for image in choose(self._found, wanted, self._clock.monotonic()) if wanted > 0 else ():
            if self._last.get(image.id, 0.0) >= self._clock.monotonic() - 1.0:
                continue
            try:
                await self._runtime.remove_image(image.id)
            except RuntimeFailure as failure:
                log.warning(logs.fact("image not removed", image=image.id, error=failure))
                continue
            metrics.IMAGES_COLLECTED.inc("space")
            log.info(logs.fact("image removed", image=image.id, bytes=image.size))
            freed += image.size
        return freed


def _surplus(folder: Path, high: int, low: int) -> int:
    """Bytes to free; 0 below the high threshold. Thresholds are percents."""
    found = os.statvfs(folder)
    total, left = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    if not total or (total - left) * 100 < high * total:
        return 0
    return max(total * (100 - low) // 100 - left, 0)
