"""What an evaluation may cost: an expression that cannot end in time is not begun.

The runtime counts nothing, so that the cost is bounded beforehand: by the size of all values first, which is quick and
kept, and where that is too much, by the sizes of each. A bound is more than what is spent, for instance where a loop
ends early; ten times of what upstream lets one call spend is let pass for it.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from pynetes.machinery.cel import cost, sizes
from pynetes.machinery.cel.syntax import Tree

#: Upstream's limit for one call, in units of cost, and how much more a bound may be.
PER_CALL, SLACK = 1_000_000, 10
EXCEEDED = "operation cancelled: actual cost limit exceeded"


class Limit:
    """The limit of one expression; bounds are kept by the size of the values, in powers of two."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._bounds: dict[int, int] = {}

    def exceeded(self, data: Mapping[str, Any]) -> bool:
        """Whether the expression could cost too much for these values."""
        text = orjson.dumps(dict(data), default=str, option=orjson.OPT_NON_STR_KEYS)
        size = 1 << len(text).bit_length()
        bound = self._bounds.get(size)
        if bound is None:
            bound = self._bounds[size] = cost.most_for(self._tree, size)
        if bound <= PER_CALL * SLACK:
            return False
        shapes = {name: sizes.of_value(value) for name, value in data.items()}
        return cost.most_for(self._tree, size, shapes) > PER_CALL * SLACK
