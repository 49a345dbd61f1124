"""The text exposition that Prometheus reads."""

import pytest

from pynetes.component.metrics import Registry


def test_exposition() -> None:
    """Counters, gauges and cumulative histogram buckets, with label values escaped."""
    registry = Registry()
    counter = registry.counter("requests_total", "Requests.", "code", "path")
    counter.inc("200", 'a"b')
    counter.inc("200", 'a"b', by=2)
    registry.gauge("depth", "Depth.", read=lambda: [((), 4)])
    histogram = registry.histogram("seconds", "Seconds.", buckets=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3.0):
        histogram.observe(value)
    assert registry.text() == (
        "# HELP depth Depth.\n# TYPE depth gauge\ndepth 4\n"
        '# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total{code="200",path="a\\"b"} 3\n'
        "# HELP seconds Seconds.\n# TYPE seconds histogram\n"
        'seconds_bucket{le="0.1"} 2\nseconds_bucket{le="1"} 3\nseconds_bucket{le="+Inf"} 4\n'
        "seconds_sum 3.65\nseconds_count 4\n"
    )


def test_a_name_belongs_to_one_metric() -> None:
    """Declaring a metric twice is a mistake."""
    registry = Registry()
    registry.counter("a", "A.")
    with pytest.raises(ValueError, match="twice"):
        registry.counter("a", "A.")


def test_what_is_gone_is_forgotten() -> None:
    """Samples by their label values, of counters and histograms."""
    registry = Registry()
    total, seconds = registry.counter("a_total", "A.", "pod"), registry.histogram("a_seconds", "A.", "pod")
    for pod in ("one", "two"):
        total.inc(pod)
        seconds.observe(1.0, pod)
    for metric in (total, seconds):
        metric.discard(lambda labels: labels == ("one",))
    assert total.value("one") == 0
    assert seconds.count("one") == 0
    assert 'pod="one"' not in registry.text()
    assert 'a_total{pod="two"} 1' in registry.text()
