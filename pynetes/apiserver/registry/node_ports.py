"""Node ports: a number that is this Service's on every node, whatever the protocols it uses it for.

What is taken follows from the Services in the cache; what this process has promised to a write still on its way is
remembered until that write is done. Between API servers on one store a mark decides: who has set a port's mark looks at
all Services that are stored by then, and takes it away once its own is stored.
"""

import random
from collections.abc import Collection, Iterable, Iterator

from pynetes.machinery.meta import Key, Object, key_of

DYNAMIC_FROM = 86


class Taken:
    """An index over Services: who holds which port."""

    def __init__(self) -> None:
        self._holders: dict[int, Key] = {}
        self._promised: dict[int, Key] = {}

    def reset(self, objs: Iterable[Object]) -> None:
        """Start over."""
        self._holders.clear()
        for service in objs:
            self.changed(service, None)

    def changed(self, new: Object | None, old: Object | None) -> None:
        """A Service came, changed, or went."""
        if old is not None:
            holder = key_of(old)
            for number in ports_of(old):
                if self._holders.get(number) == holder:
                    del self._holders[number]
        if new is not None:
            key = key_of(new)
            for number in ports_of(new):
                self._holders[number] = key
                self._promised.pop(number, None)

    def free(self, number: int, service: Key) -> bool:
        """Whether the Service may have the port: nobody else has it, nor has been promised it."""
        return all(taken.get(number, service) == service for taken in (self._promised, self._holders))

    def promise(self, number: int, service: Key) -> None:
        """Nobody else gets the port until the Service is seen with it, or the promise is taken back."""
        self._promised[number] = service

    def undecided(self, service: Key) -> bool:
        """Whether other Services have been promised ports that they may not get."""
        return any(other != service for other in self._promised.values())

    def held(self, number: int, service: Key) -> bool:
        """Whether the stored Service has it."""
        return self._holders.get(number) == service

    def forget(self, numbers: Iterable[int]) -> None:
        """The write failed: the ports are free again."""
        for number in numbers:
            self._promised.pop(number, None)

    def any(self, allowed: range, refused: Collection[int] = ()) -> int | None:
        """A number that nobody has, outside the lower part, which is kept for fixed ports if possible."""
        lower = allowed[min(DYNAMIC_FROM, len(allowed) - 1) :]
        for candidates in (_random(lower), _random(allowed)):
            for number in candidates:
                if number not in self._promised and number not in self._holders and number not in refused:
                    return number
        return None


def _random(numbers: range) -> Iterator[int]:
    start = random.randrange(len(numbers))
    yield from (numbers[(start + step) % len(numbers)] for step in range(len(numbers)))


def ports_of(service: Object) -> set[int]:
    """The node ports that a Service holds, its health check port among them."""
    spec = service["spec"]
    numbers = {port.get("nodePort") for port in spec.get("ports") or ()} | {spec.get("healthCheckNodePort")}
    return {number for number in numbers if number}
