"""Amounts that lie between a least and a most: of sizes, and of costs. All numbers end at the greatest uint64."""

import math
from typing import NamedTuple

MOST = (1 << 64) - 1
#: Going through a text once, by its characters; and applying a regular expression, by those of the expression.
TEXT, REGEX = 0.1, 0.25
LIST, MAP, STRUCT = 10, 30, 40


def _up(amount: int, factor: float) -> int:
    """The product, rounded up as floating point has it."""
    return min(math.ceil(float(amount) * factor), MOST)


class Range(NamedTuple):
    """The least and the most: of a size or of a cost."""

    least: int
    most: int

    def plus(self, other: "Range") -> "Range":
        """The sum."""
        return Range(min(self.least + other.least, MOST), min(self.most + other.most, MOST))

    def times(self, other: "Range") -> "Range":
        """The product."""
        return Range(min(self.least * other.least, MOST), min(self.most * other.most, MOST))

    def scaled(self, factor: float) -> "Range":
        """The product, rounded up."""
        return Range(_up(self.least, factor), _up(self.most, factor))

    def union(self, other: "Range") -> "Range":
        """What holds both."""
        return Range(min(self.least, other.least), max(self.most, other.most))


def fixed(amount: int) -> Range:
    """Exactly this."""
    return Range(amount, amount)


ZERO, UNIT, UNKNOWN = fixed(0), fixed(1), Range(0, MOST)
