"""IntOrString: a port by number or name, a count or a percentage."""

from typing import TypeAlias

IntOrString: TypeAlias = int | str


def scaled(value: IntOrString | None, total: int, *, round_up: bool) -> int:
    """The count that a value stands for: 3 is 3, "25%" a quarter of total. ValueError for another text; None is 0."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    number = value.removesuffix("%")
    if number == value or not number.lstrip("-").isdigit():
        raise ValueError(f'invalid value for IntOrString: invalid type: string is not a percentage: "{value}"')
    product = int(number) * total
    return -(-product // 100) if round_up else product // 100


def percentage(value: IntOrString) -> int | None:
    """The number before the %, None for a plain count."""
    return int(value[:-1]) if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() else None
