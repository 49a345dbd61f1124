"""Metrics in Prometheus' text format, under upstream's names where upstream has the metric.

Cheap enough for every request: a sample is a dictionary entry, label values are positional in the order the metric
declares them. A process is one component, so REGISTRY is its registry; tests make their own.

    REQUESTS = REGISTRY.counter("rest_client_requests_total", "Requests by code and method.", "code", "method")
    REQUESTS.inc("200", "GET")

What every request counts is found once and kept: `labels` gives the sample itself.

    FOUND = REQUESTS.labels("200", "GET")
    FOUND.inc()
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from time import perf_counter
from typing import Protocol

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(Protocol):
    """What the registry writes out."""

    name: str
    help: str
    type: str

    def lines(self) -> Iterator[str]:
        """Its samples."""


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Bucket bounds as upstream's ExponentialBuckets makes them."""
    return tuple(start * factor**step for step in range(count))


class Count:
    """One sample of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1.0) -> None:
        """Add to it."""
        self.value += by


class Counter:
    """A number that only grows."""

    type = "counter"

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.help, self._labels = name, text, labels
        self._samples: dict[tuple[str, ...], Count] = {} if labels else {(): Count()}

    def labels(self, *labels: str) -> Count:
        """The sample of these label values, made when it is first asked for."""
        found = self._samples.get(labels)
        if found is None:
            found = self._samples[labels] = Count()
        return found

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Add to the sample of these label values."""
        self.labels(*labels).value += by

    def value(self, *labels: str) -> float:
        """The sample, 0 when there is none yet."""
        return self._samples[labels].value if labels in self._samples else 0.0

    def discard(self, matches: Callable[[tuple[str, ...]], bool]) -> None:
        """Forget the samples whose label values match, when what they counted is gone."""
        for labels in [labels for labels in self._samples if matches(labels)]:
            del self._samples[labels]

    def lines(self) -> Iterator[str]:
        for labels, sample in tuple(self._samples.items()):
            yield f"{self.name}{labels_text(self._labels, labels)} {number_text(sample.value)}"


class Gauge:
    """A number that goes up and down, or one that `read` tells when asked: pairs of label values and number."""

    type = "gauge"

    def __init__(
        self,
        name: str,
        text: str,
        *labels: str,
        read: Callable[[], Iterable[tuple[tuple[str, ...], float]]] | None = None,
    ) -> None:
        self.name, self.help, self._labels, self._read = name, text, labels, read
        self._values: dict[tuple[str, ...], float] = {}

    def reads(self, read: Callable[[], Iterable[tuple[tuple[str, ...], float]]]) -> None:
        """From now on it is read when asked: what knows it came to be after the metric."""
        self._read = read

    def set(self, value: float, *labels: str) -> None:
        """Replace the sample."""
        self._values[labels] = value

    def add(self, by: float, *labels: str) -> None:
        """Change the sample; by may be negative."""
        self._values[labels] = self._values.get(labels, 0.0) + by

    def value(self, *labels: str) -> float:
        """The sample, 0 when there is none."""
        return self._values.get(labels, 0.0)

    def samples(self) -> Iterable[tuple[tuple[str, ...], float]]:
        """All of them now, for another gauge to show too."""
        return tuple(self._values.items())

    def clear(self) -> None:
        """Forget all samples, before the present ones are set."""
        self._values.clear()

    def remove(self, *labels: str) -> None:
        """Forget the sample, when what it described is gone."""
        self._values.pop(labels, None)

    def lines(self) -> Iterator[str]:
        for labels, value in self._read() if self._read else tuple(self._values.items()):
            yield f"{self.name}{labels_text(self._labels, labels)} {number_text(value)}"


class ReadCounter(Gauge):
    """A counter that is kept elsewhere and read when asked."""

    type = "counter"


class Spread:
    """One sample of a histogram."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """Add one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histogram:
    """How observations spread over buckets, by upper bound."""

    type = "histogram"

    def __init__(self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = BUCKETS) -> None:
        self.name, self.help, self._labels, self._bounds = name, text, labels, buckets
        self._samples: dict[tuple[str, ...], Spread] = {}
        self._shown = [f'le="{bound}"}}' for bound in (*map(number_text, buckets), "+Inf")]

    @contextmanager
    def timing(self, *labels: str) -> Iterator[None]:
        """Observe how many seconds the block takes."""
        began = perf_counter()
        try:
            yield
        finally:
            self.observe(perf_counter() - began, *labels)

    def observe(self, value: float, *labels: str) -> None:
        """Add one observation."""
        self.labels(*labels).observe(value)

    def labels(self, *labels: str) -> Spread:
        """The sample of these label values, made when it is first asked for."""
        found = self._samples.get(labels)
        if found is None:
            found = self._samples[labels] = Spread(self._bounds)
        return found

    def discard(self, matches: Callable[[tuple[str, ...]], bool]) -> None:
        """Forget the observations whose label values match, when what was observed is gone."""
        for labels in [labels for labels in self._samples if matches(labels)]:
            del self._samples[labels]

    def count(self, *labels: str) -> int:
        """How many observations there were."""
        return sum(self._samples[labels].counts) if labels in self._samples else 0

    def lines(self) -> Iterator[str]:
        for labels, sample in tuple(self._samples.items()):
            suffix = labels_text(self._labels, labels)
            before, total = f"{self.name}_bucket{suffix[:-1]}," if suffix else f"{self.name}_bucket{{", 0
            for shown, total in zip(self._shown, accumulate(sample.counts), strict=True):
                yield f"{before}{shown} {total}"
            yield f"{self.name}_sum{suffix} {number_text(sample.total)}"
            yield f"{self.name}_count{suffix} {total}"


class Registry:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """Make and keep a counter."""
        metric = Counter(name, text, *labels)
        self.add(metric)
        return metric

    def gauge(
        self,
        name: str,
        text: str,
        *labels: str,
        read: Callable[[], Iterable[tuple[tuple[str, ...], float]]] | None = None,
    ) -> Gauge:
        """Make and keep a gauge."""
        metric = Gauge(name, text, *labels, read=read)
        self.add(metric)
        return metric

    def histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = BUCKETS) -> Histogram:
        """Make and keep a histogram."""
        metric = Histogram(name, text, *labels, buckets=buckets)
        self.add(metric)
        return metric

    def add(self, metric: Metric) -> None:
        """Keep a metric; a name belongs to one only."""
        if metric.name in self._metrics:
            raise ValueError(f"the metric {metric.name} is declared twice")
        self._metrics[metric.name] = metric

    def text(self, *others: "Registry") -> str:
        """The exposition, with other registries' metrics among its own."""
        out: list[str] = []
        together = {name: metric for each in (self, *others) for name, metric in each._metrics.items()}
        for name, metric in sorted(together.items()):
            out += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.type}", *metric.lines()]
        return "\n".join([*out, ""])


@lru_cache(maxsize=1 << 14)
def labels_text(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """The label set of a sample. Most are written again at every scrape."""
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def number_text(value: float) -> str:
    """A sample's number; whole ones without a fraction."""
    return str(int(value)) if value == int(value) else repr(value)


#: This process's metrics.
REGISTRY = Registry()
