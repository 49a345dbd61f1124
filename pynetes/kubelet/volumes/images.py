"""Image volumes where the runtime has none: a read-only view of the image on the node, which containers bind.

CRI mounts images since containerd 2.1. Before, `ctr images mount` does the same with the same snapshots: nothing is
copied. The view belongs to a lease of containerd that has the name of its place; it goes with the lease.
"""

import asyncio
import logging
from pathlib import Path

from pynetes.component import command, logs
from pynetes.component.command import CommandError
from pynetes.kubelet.volumes import mounts
from pynetes.kubelet.volumes.spec import VolumeFailure

log = logging.getLogger(__name__)

#: Seconds that containerd gets to lay out a view, or to let it go.
PATIENCE = 120.0
#: Where CRI keeps its images.
NAMESPACE = "k8s.io"


class ImageViews:
    """Views of images in the containerd that answers at an endpoint."""

    def __init__(self, endpoint: str) -> None:
        self._ctr = ["ctr", "--address", endpoint.removeprefix("unix://"), "--namespace", NAMESPACE]

    async def mount(self, image: str, path: Path) -> None:
        """Have a present image mounted at path. Raises VolumeFailure with what ctr said."""
        if await asyncio.to_thread(mounts.is_mount, path):
            return
        path.mkdir(parents=True, exist_ok=True)
        # What a kubelet that was killed in the middle has left has the same name.
        await self.release(path)
        try:
            await command.run([*self._ctr, "images", "mount", image, str(path)], timeout=PATIENCE)
        except CommandError as error:
            raise VolumeFailure(f"image {image} was not mounted: {error}") from error

    async def release(self, path: Path) -> None:
        """Let containerd remove what an unmounted view was made of; none is no error."""
        ended = await command.run([*self._ctr, "leases", "rm", "--sync", str(path)], check=False, timeout=PATIENCE)
        if ended.code and "not found" not in ended.err:
            # It ends by itself a day after it was made.
            log.warning(logs.fact("view of an image not released", path=path, error=ended.err.strip()))
