"""Rates from the newest two points: resets, restarts, clocks that jump, containers that vanish."""

import pytest

from pynetes.metrics_server.points import Container, Point, Points, Scraped, Usage, read

WEB = Container("default", "web", "app")


def _cycle(at: float, cpu: float, *, started: float = 0.0, memory: float = 100.0) -> dict[str, Scraped]:
    point = Point(at, cpu, memory, started)
    return {"n1": Scraped(Point(at, cpu * 2, memory), {WEB: point})}


def _take(points: Points, cycle: dict[str, Scraped]) -> None:
    """A whole cycle, as the server takes it."""
    for name, scraped in cycle.items():
        points.add(name, scraped)
    points.keep(cycle)


def test_usage_is_the_rate_between_two_points() -> None:
    """One point of an old container tells nothing; two give cores, and memory as it is now."""
    points = Points()
    _take(points, _cycle(1000, 50, started=1))
    assert points.of_pod("default", "web") is None and points.of_node("n1") is None
    _take(points, _cycle(1010, 55, started=1, memory=200))
    assert points.of_pod("default", "web") == {"app": Usage(0.5, 200, 1010, 10)}
    assert points.of_node("n1") == Usage(1.0, 200, 1010, 10)


def test_a_young_container_is_measured_from_its_start() -> None:
    """What started within the last cycle has a rate at once."""
    points = Points()
    _take(points, _cycle(1000, 5, started=990))
    assert points.of_pod("default", "web") == {"app": Usage(0.5, 100, 1000, 10)}


def test_a_counter_that_falls_starts_over() -> None:
    """A restart never shows as negative usage; its own start is what it is measured from."""
    points = Points()
    _take(points, _cycle(1000, 50, started=1))
    _take(points, _cycle(1010, 2, started=1))
    assert points.of_pod("default", "web") is None
    _take(points, _cycle(1020, 4, started=1))
    _take(points, _cycle(1030, 6, started=1020))
    assert points.of_pod("default", "web") == {"app": Usage(0.6, 100, 1030, 10)}


def test_a_clock_put_back_starts_over_and_the_same_point_changes_nothing() -> None:
    """Time that does not advance gives no rate, and never a division by nothing."""
    points = Points()
    _take(points, _cycle(1000, 50))
    _take(points, _cycle(1010, 55))
    _take(points, _cycle(1010, 55))
    assert points.of_pod("default", "web") == {"app": Usage(0.5, 100, 1010, 10)}
    _take(points, _cycle(900, 56))
    assert points.of_pod("default", "web") is None
    _take(points, _cycle(910, 57))
    assert points.of_pod("default", "web") == {"app": Usage(0.1, 100, 910, 10)}


def test_a_clock_put_forward_spreads_the_use_and_is_right_again_at_the_next_point() -> None:
    """Of an hour that never was, the use is little and not negative; the window says over how long it was taken."""
    points = Points()
    _take(points, _cycle(1000, 50))
    _take(points, _cycle(4610, 86.1))
    assert points.of_pod("default", "web") == {"app": Usage(pytest.approx(0.01), 100, 4610, 3610)}
    _take(points, _cycle(4620, 91.1))
    assert points.of_pod("default", "web") == {"app": Usage(pytest.approx(0.5), 100, 4620, 10)}


def test_what_is_gone_is_forgotten() -> None:
    """A container or node of no scrape is not served from memory."""
    points = Points()
    _take(points, _cycle(1000, 50))
    _take(points, _cycle(1010, 55))
    _take(points, {})
    assert points.of_pod("default", "web") is None and points.of_node("n1") is None


def test_reading_an_exposition() -> None:
    """Labels with escapes, timestamps in milliseconds, foreign lines; garbage is refused."""
    text = """# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="app",namespace="default",pod="web"} 1.5 1000500
container_memory_working_set_bytes{container="app",namespace="default",pod="web"} 2048 1000500
container_start_time_seconds{container="app",namespace="default",pod="web"} 900.25
container_memory_working_set_bytes{container="half",namespace="default",pod="we}\\"b"} 1
node_cpu_usage_seconds_total 7 1000600
node_memory_working_set_bytes 4096
resource_scrape_error 0
"""
    found = read(text, 5.0)
    assert found.containers == {WEB: Point(1000.5, 1.5, 2048, 900.25)}
    assert found.node == Point(1000.6, 7, 4096)
    with pytest.raises(ValueError, match="float"):
        read("node_cpu_usage_seconds_total seven", 5.0)
    with pytest.raises(ValueError, match="negative"):
        read("node_cpu_usage_seconds_total -7\nnode_memory_working_set_bytes 1", 5.0)
    assert read("<html>garbage</html>", 5.0) == Scraped(None, {})
