"""ImageLocality: a node that has the images already starts the pod sooner."""

import numpy as np
from numpy.typing import NDArray

from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import MAX_SCORE, Plugin, Scores
from pynetes.scheduler.pods import PodInfo

_MEGA = 1024 * 1024
#: Images below the first are not worth a thought; beyond the second (per container) more size changes nothing.
_LEAST, _MOST = 23 * _MEGA, 1000 * _MEGA


class ImageLocality(Plugin):
    def score_nodes(self, pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
        containers = [*(pod.spec.get("initContainers") or ()), *(pod.spec.get("containers") or ())]
        sizes: Scores = np.zeros(len(nodes.alive))
        for container in containers:
            places = nodes.images.get(_normalised(container.get("image") or ""), {})
            for row, size in places.items():
                sizes[row] += size * len(places) / len(nodes)  # so that not all pods gather where the image is
        if not sizes.any():
            return None
        most = _MOST * len(containers)
        scores: Scores = MAX_SCORE * (np.clip(sizes[rows], _LEAST, most) - _LEAST) / (most - _LEAST)
        return scores


def _normalised(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
