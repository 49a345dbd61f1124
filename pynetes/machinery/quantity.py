"""Quantities: 500m, 1.5Gi, 3e6. Exact, in nanounits, as the API counts them.

Upstream stores a quantity in its canonical form (0.5 becomes 500m, 1024Mi becomes 1Gi), and so does the schema's
normalisation here, which is why `canonical` is cached: a cluster uses the same few texts again and again.
"""

import re
from functools import lru_cache, total_ordering

NANO = 10**9
_FORMAT_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_SHAPE = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()} | {0: ""}
_LIMIT = (2**63 - 1) * NANO


@total_ordering
class Quantity:
    """An amount; kind says how it is written: "decimal", "binary" or "exponent"."""

    __slots__ = ("kind", "nanos")

    def __init__(self, nanos: int, kind: str = "decimal") -> None:
        self.nanos = nanos
        self.kind = kind

    def value(self) -> int:
        """In whole units, rounded away from zero as upstream's Value does."""
        return _ceil(self.nanos, NANO)

    def milli(self) -> int:
        """In thousandths, rounded away from zero."""
        return _ceil(self.nanos, 10**6)

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos + other.nanos, self.kind if self.nanos else other.kind)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos - other.nanos, self.kind if self.nanos else other.kind)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.nanos, self.kind)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: "Quantity") -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __str__(self) -> str:
        """The canonical text."""
        if not self.nanos:
            return "0"
        if self.kind == "binary" and abs(self.nanos) >= 1024 * NANO:
            number, power = self.value(), 0
            while number % 1024 == 0 and power < 6:
                number, power = number // 1024, power + 1
            return f"{number}{_BINARY_SUFFIX[power]}"
        number, exponent = self.nanos, -9
        while number % 1000 == 0 and exponent < 18:
            number, exponent = number // 1000, exponent + 3
        if self.kind == "exponent":
            return f"{number}e{exponent}" if exponent else str(number)
        return f"{number}{_DECIMAL_SUFFIX[exponent]}"


ZERO = Quantity(0)


def _ceil(number: int, unit: int) -> int:
    return -(-number // unit) if number > 0 else number // unit


@lru_cache(maxsize=4096)
def parse(text: str | int | float) -> Quantity:
    """Read a quantity; a JSON number counts as its text. ValueError with upstream's words."""
    found = _SHAPE.fullmatch(str(text))
    if not found or not (found[2] or found[3]):
        raise ValueError(_FORMAT_TEXT)
    sign, whole, fraction, suffix = found[1], found[2], found[3] or "", found[4] or ""
    digits, places = int(f"{whole}{fraction}" or "0"), len(fraction)
    if suffix in _BINARY:
        kind, numerator, denominator = "binary", digits * 1024 ** _BINARY[suffix] * NANO, 10**places
    else:
        exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
        kind = "decimal" if suffix in _DECIMAL else "exponent"
        power = exponent + 9 - places
        numerator, denominator = (digits * 10**power, 1) if power >= 0 else (digits, 10**-power)
    nanos = min(-(-numerator // denominator), _LIMIT)
    return Quantity(-nanos if sign == "-" else nanos, kind)


@lru_cache(maxsize=4096)
def canonical(text: str | int | float) -> str:
    """The text upstream stores for this quantity. ValueError if it is none."""
    return str(parse(text))
