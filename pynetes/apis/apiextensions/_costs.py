"""What the rules of a definition may cost at most: each of them, and all of one version together.

A rule costs what its expression costs, as often as its value can be in an object. Who writes it is told by which factor
it is too expensive, and, where all are together, which ones contribute the most.
"""

from collections.abc import Iterator

from pynetes.machinery import field
from pynetes.machinery.cel.ranges import MOST

RULE, TOTAL = 10_000_000, 100_000_000
#: This many of the dearest rules are named.
NAMED = 4
_REMEDY = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are"
    " declared)"
)
_PART = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
_WHOLE = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"


class Costs:
    """The costs of a schema's rules as they are found; lenient accepts single ones that are too high."""

    def __init__(self, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self._total = 0
        self._dearest: list[tuple[int, str]] = []

    def add(self, path: str, cost: int, what: str) -> Iterator[field.Error]:
        """Count an expression; what is wrong if it alone costs too much."""
        cost = min(cost, MOST)
        if cost > RULE and not self._lenient:
            yield field.forbidden(path, _text(what, cost, RULE))
        self._total = min(self._total + cost, MOST)
        if cost >= TOTAL // 100:
            self._dearest.append((cost, path))
            self._dearest.sort(key=lambda each: -each[0])
            del self._dearest[NAMED:]

    def problems(self, path: str) -> Iterator[field.Error]:
        """What is wrong with all of them together."""
        if self._total > TOTAL:
            for _, each in self._dearest:
                yield field.forbidden(each, _PART)
            yield field.forbidden(path, _text(_WHOLE, self._total, TOTAL))


def _text(what: str, cost: int, limit: int) -> str:
    times = cost / limit
    factor = "more than 100x" if times > 100 else f"{times:f}x" if times < 1.5 else f"{times:.1f}x"
    return f"{what} exceeds budget by factor of {factor} {_REMEDY}"
