"""The API server's metrics that are a state and no event: read from where the state is kept, when somebody scrapes.

So they cost a request nothing. A process has one API server, but tests make more of them: the newest is shown.
"""

import asyncio
import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple

import pynetes
from pynetes.apis.core import services
from pynetes.apis.networking import ipaddresses
from pynetes.apiserver.objects import Settings
from pynetes.component.metrics import REGISTRY, ReadCounter
from pynetes.machinery.resource import Resource
from pynetes.storage.backend import Backend, Unavailable
from pynetes.storage.cache import Cacher
from pynetes.storage.metrics import SIZE
from pynetes.storage.resource_cache import WINDOW_EVENTS, ResourceCache
from pynetes.storage.watch import Filter

Samples = Iterator[tuple[tuple[str, ...], float]]
Read = Callable[[], Samples]
_GROUP_RESOURCE = ("group", "resource")


class _State(NamedTuple):
    cacher: Cacher
    settings: Settings


#: Seconds that a store may take to say how large it is.
PATIENCE = 1.0
#: Beside the server's cache, so that what is shown does not keep a server alive.
_shown: "weakref.WeakKeyDictionary[Cacher, Settings]" = weakref.WeakKeyDictionary()


def show(cacher: Cacher, settings: Settings) -> None:
    """From now on, the metrics are those of the server that reads from this cache."""
    _shown.clear()
    _shown[cacher] = settings


async def measure(backend: Backend, name: str) -> None:
    """Ask the store how large it is. One that does not answer keeps no scrape waiting: the last answer stays."""
    with contextlib.suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            SIZE.set(await backend.size(), name)


def _state() -> _State | None:
    return next((_State(cacher, settings) for cacher, settings in _shown.items()), None)


def _each(read: Callable[[ResourceCache], float]) -> Read:
    """A number of every resource that is cached."""

    def samples() -> Samples:
        state = _state()
        for cache in state.cacher if state else ():
            yield (cache.resource.group, cache.resource.plural), read(cache)

    return samples


def _by_resource() -> Samples:
    """As upstream named it before the group got a label of its own."""
    state = _state()
    for cache in state.cacher if state else ():
        yield (cache.resource.qualified,), len(cache)


def _watches() -> Samples:
    state = _state()
    found: Counter[tuple[str, ...]] = Counter()
    for cache in state.cacher if state else ():
        for wanted in cache.watched():
            found[_labels(cache.resource, wanted)] += 1
    yield from found.items()


def _labels(resource: Resource, wanted: Filter) -> tuple[str, ...]:
    scope = "resource" if wanted.name else "namespace" if wanted.namespace else "cluster"
    return "WATCH", resource.group, resource.versions[0], resource.plural, "", scope, "apiserver"


def _addresses(*, free: bool) -> Samples:
    state = _state()
    if state is None:
        return
    taken = [ip_address(entry.key.name) for entry in state.cacher.of(ipaddresses.RESOURCE).entries()]
    for network in state.settings.service_ranges:
        used = sum(address in network for address in taken)
        # The network's own address, and the broadcast address that only IPv4 has, are nobody's.
        size = network.num_addresses - (2 if network.version == 4 else 1)
        yield (str(network),), max(size - used, 0) if free else used


def _node_ports(*, free: bool) -> Samples:
    state = _state()
    if state is None:
        return
    used = {
        port.get(name)
        for entry in state.cacher.of(services.RESOURCE).entries()
        for port, name in _ports(entry.obj["spec"])
        if port.get(name) in state.settings.node_ports
    }
    yield (), len(state.settings.node_ports) - len(used) if free else len(used)


def _ports(spec: dict[str, object]) -> Iterator[tuple[dict[str, int], str]]:
    ports = spec.get("ports")
    for port in ports if isinstance(ports, list) else ():
        yield port, "nodePort"
    yield {"healthCheckNodePort": int(str(spec.get("healthCheckNodePort") or 0))}, "healthCheckNodePort"


def _version() -> Samples:
    major, minor, _ = pynetes.KUBERNETES_VERSION.removeprefix("v").split(".")
    yield (f"{major}.{minor}", "kube", f"{major}.{minor}", f"{major}.{int(minor) - 1}"), 1


def _gauge(name: str, text: str, *labels: str, read: Read) -> None:
    REGISTRY.gauge(name, text, *labels, read=read)


def _counter(name: str, text: str, *labels: str, read: Read) -> None:
    REGISTRY.add(ReadCounter(name, text, *labels, read=read))


def _declare_cache() -> None:
    each = _GROUP_RESOURCE
    text = "Number of stored objects at the time of last check split by kind."
    _gauge("apiserver_resource_objects", text, *each, read=_each(len))
    _gauge("apiserver_storage_objects", f"{text} Named apiserver_resource_objects now.", "resource", read=_by_resource)
    text = "Estimated size of stored objects, all of a kind together, in bytes."
    _gauge("apiserver_resource_size_estimate_bytes", text, *each, read=_each(lambda cache: cache.size))
    text = "Total capacity of watch cache broken by resource type."
    _gauge("watch_cache_capacity", text, *each, read=_each(lambda _: WINDOW_EVENTS))
    text = "Current resource version of watch cache broken by resource type."
    _gauge("apiserver_watch_cache_resource_version", text, *each, read=_each(lambda cache: cache.revision))
    text = "Counter of watch cache initializations broken by resource type."
    _counter("apiserver_watch_cache_initializations_total", text, *each, read=_each(lambda cache: cache.filled))
    for name, text in (
        ("apiserver_storage_events_received_total", "Number of etcd events received split by kind."),
        ("apiserver_watch_cache_events_received_total", "Counter of events received in watch cache by resource type."),
    ):
        _counter(name, text, *each, read=_each(lambda cache: cache.received))
    text = "Counter of events dispatched in watch cache broken by resource type."
    _counter("apiserver_watch_cache_events_dispatched_total", text, *each, read=_each(lambda cache: cache.published))
    text = "Watches that are open now, by resource and scope."
    labels = ("verb", "group", "version", "resource", "subresource", "scope", "component")
    _gauge("apiserver_longrunning_requests", text, *labels, read=_watches)


def _declare_allocators() -> None:
    allocator = "kube_apiserver_clusterip_allocator"
    for kind, free in (("allocated", False), ("available", True)):
        text = f"Gauge measuring the number of {kind} IPs for Services"
        _gauge(f"{allocator}_{kind}_ips", text, "cidr", read=partial(_addresses, free=free))
        text = f"Gauge measuring the number of {kind} NodePorts for Services"
        name = f"kube_apiserver_nodeport_allocator_{kind}_ports"
        _gauge(name, text, read=partial(_node_ports, free=free))
    text = "Versions that this binary speaks: its own, the one it emulates, and the oldest it is compatible with."
    _gauge("version_info", text, "binary", "component", "emulation", "min_compat", read=_version)


_declare_cache()
_declare_allocators()
