"""What of a node is not for pods: reserves of the system and of Kubernetes, and what eviction keeps free. Pure."""

from collections.abc import Iterable
from typing import Protocol

from pynetes.component.remedy import RemedyError
from pynetes.machinery import quantity

NAMES = ("cpu", "memory", "ephemeral-storage", "pid")


class Reserving(Protocol):
    """The flags that reserve."""

    @property
    def kube_reserved(self) -> tuple[str, ...]:
        """--kube-reserved."""

    @property
    def system_reserved(self) -> tuple[str, ...]:
        """--system-reserved."""


def amounts(flag: str, entries: Iterable[str]) -> dict[str, int]:
    """NAME=QUANTITY entries in thousandths. Raises RemedyError."""
    found: dict[str, int] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        if not equals or name not in NAMES:
            raise RemedyError(f"{flag}: {entry!r} is not NAME=QUANTITY", f"NAME is one of {', '.join(NAMES)}")
        try:
            found[name] = quantity.parse(text).milli()
        except ValueError as error:
            raise RemedyError(f"{flag}: {entry!r}: {error}", "a quantity is written as 500m, 1Gi or 200") from error
    return found


def total(config: Reserving) -> dict[str, int]:
    """Both reserves together, in thousandths."""
    kube = amounts("--kube-reserved", config.kube_reserved)
    system = amounts("--system-reserved", config.system_reserved)
    return {name: kube.get(name, 0) + system.get(name, 0) for name in NAMES}
