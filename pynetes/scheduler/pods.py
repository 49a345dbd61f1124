"""What the scheduler wants to know of a pod, worked out once per version of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from pynetes.machinery import quantity
from pynetes.machinery.meta import Key, Object, controller_of, key_of

#: What a container without requests counts as when nodes are compared (never when they are filled up).
DEFAULT_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024

Amounts = dict[str, int]


class HostPort(NamedTuple):
    """A port taken on the node; ip is 0.0.0.0 for all addresses."""

    ip: str
    protocol: str
    port: int


@dataclass(frozen=True, eq=False)
class PodInfo:
    """A pod and what follows from its spec. CPU counts in thousandths, everything else in whole units."""

    pod: Object
    #: What plugins work out of this version of the pod, under keys of their own.
    compiled: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def key(self) -> Key:
        return key_of(self.pod)

    @property
    def spec(self) -> Object:
        """The pod's spec."""
        spec: Object = self.pod["spec"]
        return spec

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"].get("uid") or "")

    @property
    def labels(self) -> Mapping[str, str]:
        return self.pod["metadata"].get("labels") or {}

    @property
    def node_name(self) -> str:
        return self.spec.get("nodeName") or ""

    @property
    def priority(self) -> int:
        return int(self.spec.get("priority") or 0)

    @cached_property
    def requests(self) -> Amounts:
        """What the pod takes from its node, with 1 for "pods"."""
        return {**_total(self.spec, {}), "pods": 1}

    @cached_property
    def nonzero(self) -> tuple[int, int]:
        """CPU and memory, with defaults where nothing is requested: for scores."""
        total = _total(self.spec, {"cpu": DEFAULT_CPU, "memory": DEFAULT_MEMORY})
        return total["cpu"], total["memory"]

    @cached_property
    def controller(self) -> str:
        """UID of the object whose replica it is; "" for a pod of its own."""
        ref = controller_of(self.pod)
        return str(ref["uid"]) if ref else ""

    @property
    def has_pod_affinity(self) -> bool:
        """Whether it has a say in what other pods may be near it."""
        affinity = self.spec.get("affinity") or {}
        return bool(affinity.get("podAffinity") or affinity.get("podAntiAffinity"))

    @cached_property
    def host_ports(self) -> tuple[HostPort, ...]:
        return tuple(
            HostPort(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
            for container in (*self.spec.get("containers", ()), *_sidecars(self.spec))
            for port in container.get("ports") or ()
            if port.get("hostPort")
        )


def is_terminal(pod: Object) -> bool:
    """Whether it has run to its end and takes nothing from its node any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def limits_of(spec: Object) -> Amounts:
    """What the pod is limited to: the sum over its containers, as requests are summed."""
    return _total(spec, {}, "limits")


def _total(spec: Object, defaults: Amounts, field: str = "requests") -> Amounts:
    """The sum of what runs together, or what the greediest init container needs, and the overhead on top.

    An init container with restartPolicy Always (a sidecar) runs on beside all that comes after it."""
    running: Amounts = {}
    for container in spec.get("containers") or ():
        _add(running, _wanted(container, defaults, field))
    sidecars: Amounts = {}
    initial: Amounts = {}
    for container in spec.get("initContainers") or ():
        wanted = _wanted(container, defaults, field)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, wanted)
            _raise(initial, sidecars)
        else:
            _add(wanted, sidecars)
            _raise(initial, wanted)
    _add(running, sidecars)
    _raise(running, initial)
    running |= _amounts((spec.get("resources") or {}).get(field))
    _add(running, _amounts(spec.get("overhead")))
    return {**dict.fromkeys(defaults, 0), **running}


def _wanted(container: Object, defaults: Amounts, field: str) -> Amounts:
    return {**defaults, **_amounts((container.get("resources") or {}).get(field))}


def _amounts(texts: Mapping[str, Any] | None) -> Amounts:
    return {name: amount(name, text) for name, text in (texts or {}).items()}


def amount(name: str, text: str | int | float) -> int:
    """A quantity in the unit of its resource: thousandths for cpu, whole units for the rest."""
    parsed = quantity.parse(text)
    return parsed.milli() if name == "cpu" else parsed.value()


def _add(total: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise(total: Amounts, least: Amounts) -> None:
    for name, value in least.items():
        total[name] = max(total.get(name, 0), value)


def _sidecars(spec: Object) -> Iterable[Object]:
    return (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
