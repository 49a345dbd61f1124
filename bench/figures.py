"""A measured figure beside its limit: what `make bench` prints and writes to bench/RESULTS.md.

A benchmark is a module of this package that declares `MEASURE`, a function returning figures. Machines are noisy, so
what counts are ratios of two things measured in one run; absolute figures stand beside them for orientation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the results. limit None means that it is for orientation only."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    #: Whether the value has to stay below the limit; otherwise it has to reach it.
    at_most: bool = True

    @property
    def met(self) -> bool:
        """Whether the limit holds."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def row(self) -> tuple[str, str, str, str]:
        """Name, value, limit and verdict, as text."""
        bound = "" if self.limit is None else f"{'≤' if self.at_most else '≥'} {self.limit:g} {self.unit}"
        verdict = "" if self.limit is None else ("met" if self.met else "missed")
        return (
            self.name,
            f"{self.value:.3g} {self.unit}" if self.value < 1000 else f"{self.value:,.0f} {self.unit}",
            bound,
            verdict,
        )


Measure: TypeAlias = Callable[[], list[Figure]]
