"""What every process shows beside its own metrics: the process, its build, and the interaction paths it has seen.

Read when asked for: nothing here costs anything between scrapes. Importing it is what declares them.
"""

import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pynetes
from pynetes.component.metrics import REGISTRY, ReadCounter, labels_text, number_text
from pynetes.component.tracing import BUCKETS, RECORDER, Counters, Recorder

_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_STARTED = time.time()
Read = Callable[[], Iterator[tuple[tuple[str, ...], float]]]


def _one(read: Callable[[], float]) -> Read:
    def samples() -> Iterator[tuple[tuple[str, ...], float]]:
        yield (), read()

    return samples


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _statm(field: int) -> float:
    return float(int(Path("/proc/self/statm").read_text().split()[field]) * _PAGE)


class Own(NamedTuple):
    """Of this process: seconds of CPU, bytes of memory, and since when it runs in Unix time."""

    cpu: float
    memory: int
    started: float


def own() -> Own:
    """What it uses now."""
    return Own(_cpu(), int(_statm(1)), _STARTED)


def _ip(counter: str) -> float:
    """A counter of the IP layer; as everywhere in /proc/net, of the whole network namespace."""
    lines = Path("/proc/self/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("IpExt:"))
    return float(dict(zip(names, values, strict=True)).get(counter, 0))


#: Upstream's labels, but for the commit and its date: a Python package is its version.
_BUILD = ("major", "minor", "git_version", "go_version", "compiler", "platform")


def _build() -> Iterator[tuple[tuple[str, ...], float]]:
    major, minor, _ = pynetes.KUBERNETES_VERSION.removeprefix("v").split(".")
    language, machine = f"python{platform.python_version()}", f"linux/{platform.machine()}"
    yield (major, minor, pynetes.GIT_VERSION, language, platform.python_implementation().lower(), machine), 1


class PathSeconds:
    """How long the interactions of each path took, from the recorder's own buckets."""

    type, name, help = "histogram", "pynetes_path_duration_seconds", "Duration of interactions by path."

    def __init__(self, recorder: Recorder = RECORDER) -> None:
        self._recorder = recorder

    def lines(self) -> Iterator[str]:
        """Cumulative buckets; the recorder keeps no sum, and none is invented."""
        for path, counters in sorted(self._recorder.counters.items()):
            total = 0
            for bound, count in zip(BUCKETS, counters.buckets, strict=True):
                total += count
                shown = "+Inf" if bound == float("inf") else number_text(bound)
                yield f"{self.name}_bucket{labels_text(('path', 'le'), (str(path), shown))} {total}"
            yield f"{self.name}_count{labels_text(('path',), (str(path),))} {total}"


def _paths(read: Callable[[Counters], float]) -> Read:
    def samples() -> Iterator[tuple[tuple[str, ...], float]]:
        for path, counters in sorted(RECORDER.counters.items()):
            yield (str(path),), read(counters)

    return samples


#: What stood behind a feature gate of upstream until not long ago, is general now, and is here.
_FEATURES = (
    "APIServerTracing", "AnonymousAuthConfigurableEndpoints", "DynamicResourceAllocation", "InPlacePodVerticalScaling",
    "JobBackoffLimitPerIndex", "JobSuccessPolicy", "KubeletTracing", "MultiCIDRServiceAllocator",
    "PodLifecycleSleepAction", "RecoverVolumeExpansionFailure", "SidecarContainers",
    "StructuredAuthenticationConfiguration", "StructuredAuthorizationConfiguration", "VolumeAttributesClass",
)  # fmt: skip


def _features() -> Iterator[tuple[tuple[str, ...], float]]:
    for name in _FEATURES:
        yield (name, ""), 1


def _declare() -> None:
    for name, text, count in (
        ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", _cpu),
        (
            "process_network_receive_bytes_total",
            "Bytes that came over IP into the process's network.",
            partial(_ip, "InOctets"),
        ),
        (
            "process_network_transmit_bytes_total",
            "Bytes that left the process's network over IP.",
            partial(_ip, "OutOctets"),
        ),
    ):
        REGISTRY.add(ReadCounter(name, text, read=_one(count)))
    for name, text, read in (
        ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", lambda: _STARTED),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", lambda: _statm(1)),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", lambda: _statm(0)),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            lambda: float(resource.getrlimit(resource.RLIMIT_AS)[0] % (1 << 64)),
        ),
        (
            "process_open_fds",
            "Number of open file descriptors.",
            lambda: float(sum(1 for _ in Path("/proc/self/fd").iterdir())),
        ),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            lambda: float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        ),
    ):
        REGISTRY.gauge(name, text, read=_one(read))
    text = "A metric with a constant '1' value labeled by major, minor, git version and the version of the language."
    REGISTRY.gauge("kubernetes_build_info", text, *_BUILD, read=_build)
    text = "This metric records the data about the stage and enablement of a k8s feature."
    REGISTRY.gauge("kubernetes_feature_enabled", text, "name", "stage", read=_features)
    text = "Interactions between components by path (1 to 29; 0 is what belongs to none)."
    REGISTRY.add(ReadCounter("pynetes_path_requests_total", text, "path", read=_paths(lambda seen: seen.requests)))
    text = "Failed interactions between components by path."
    REGISTRY.add(ReadCounter("pynetes_path_errors_total", text, "path", read=_paths(lambda seen: seen.errors)))
    text = "When an interaction of a path was last seen, in seconds since the epoch."
    REGISTRY.gauge("pynetes_path_last_seen_timestamp_seconds", text, "path", read=_paths(lambda seen: seen.last))
    REGISTRY.add(PathSeconds())


_declare()
