"""What every process shows of itself and of the paths it has seen."""

from pynetes.component import processmetrics
from pynetes.component.metrics import REGISTRY
from pynetes.component.tracing import RECORDER, Interaction, Recorder


def test_a_process_shows_itself() -> None:
    """CPU, memory and files under the names that every Prometheus client uses; the build under upstream's."""
    lines = dict(line.rsplit(" ", 1) for line in REGISTRY.text().split("\n") if line and not line.startswith("#"))
    assert float(lines["process_cpu_seconds_total"]) > 0
    assert float(lines["process_resident_memory_bytes"]) > 1 << 20
    assert float(lines["process_open_fds"]) > 0
    assert any(name.startswith('kubernetes_build_info{major="1"') for name in lines)


def test_paths_are_counted_with_buckets_that_add_up() -> None:
    """Requests, errors and durations by path; buckets are cumulative."""
    recorder = Recorder()
    for seconds, error in ((0.0005, ""), (0.02, ""), (99.0, "boom")):
        recorder.record(Interaction(23, 1.0, "a", "b", "get", seconds=seconds, error=error))
    lines = list(processmetrics.PathSeconds(recorder).lines())
    assert lines[0] == 'pynetes_path_duration_seconds_bucket{path="23",le="0.001"} 1'
    assert lines[-2:] == [
        'pynetes_path_duration_seconds_bucket{path="23",le="+Inf"} 3',
        'pynetes_path_duration_seconds_count{path="23"} 3',
    ]
    before = RECORDER.counters[28].requests if 28 in RECORDER.counters else 0
    RECORDER.record(Interaction(28, 1.0, "a", "b", "get", error="boom"))
    assert f'pynetes_path_requests_total{{path="28"}} {before + 1}' in REGISTRY.text()
    assert 'pynetes_path_errors_total{path="28"}' in REGISTRY.text()
