"""Node ports: a number, per protocol, that is this Service's on every node.

What is taken follows from the Services in the cache; what this process has promised to a write still on its way is
remembered until that write is done.
"""

import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pynetes.machinery.meta import Key, Object

DYNAMIC_FROM = 86


class Port(NamedTuple):
    """A port number means nothing without its protocol."""

    number: int
    protocol: str


class Taken:
    """An index over Services: who holds which port."""

    def __init__(self) -> None:
        self._holders: dict[Port, Key] = {}
        self._promised: set[Port] = set()

    def reset(self, objs: Iterable[Object]) -> None:
        """Start over."""
        self._holders.clear()
        for service in objs:
            self.changed(service, None)

    def changed(self, new: Object | None, old: Object | None) -> None:
        """A Service came, changed, or went."""
        if old is not None:
            for port in ports_of(old):
                self._holders.pop(port, None)
        if new is not None:
            key = Key(new["metadata"]["namespace"], new["metadata"]["name"])
            ports = dict.fromkeys(ports_of(new), key)
            self._holders.update(ports)
            self._promised.difference_update(ports)

    def free(self, port: Port, service: Key) -> bool:
        """Whether the Service may have the port; it may keep its own."""
        return port not in self._promised and self._holders.get(port, service) == service

    def promise(self, port: Port) -> None:
        """Nobody else gets the port until the Service is seen with it, or the promise is taken back."""
        self._promised.add(port)

    def held(self, port: Port, service: Key) -> bool:
        """Whether the stored Service has it."""
        return self._holders.get(port) == service

    def forget(self, ports: Iterable[Port]) -> None:
        """The write failed: the ports are free again."""
        self._promised.difference_update(ports)

    def any(self, protocols: set[str], service: Key, allowed: range) -> int | None:
        """A number free for all these protocols, outside the lower part, which is kept for fixed ports if possible."""
        lower = allowed[min(DYNAMIC_FROM, len(allowed) - 1) :]
        for candidates in (_random(lower), _random(allowed)):
            for number in candidates:
                if all(self.free(Port(number, protocol), service) for protocol in protocols):
                    return number
        return None


def _random(numbers: range) -> Iterator[int]:
    start = random.randrange(len(numbers))
    yield from (numbers[(start + step) % len(numbers)] for step in range(len(numbers)))


def ports_of(service: Object) -> Iterator[Port]:
    """The node ports that a Service holds; its health check port is a TCP one."""
    spec = service["spec"]
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            yield Port(port["nodePort"], port.get("protocol") or "TCP")
    if spec.get("healthCheckNodePort"):
        yield Port(spec["healthCheckNodePort"], "TCP")
