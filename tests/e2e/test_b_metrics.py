"""What the metrics server tells is what the kernel counted; and a Deployment under load grows."""

import pytest

from pynetes.machinery.quantity import parse
from pynetes.machinery.schema.rules import duration
from tests.e2e.busy import Busy, unix, until

pytestmark = pytest.mark.e2e
POD_METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"


def test_top_agrees_with_the_cgroups(busy: Busy) -> None:
    """Within five percent, over the same window: CPU by the counter of the pod's cgroup, memory by its working set."""
    seen: list[tuple[str, float, float]] = []

    def told() -> bool:
        """`kubectl top` between two equal answers of the API, so that it is known which window it is about."""
        before = _point(busy)
        said = busy.cluster.run("top", "pod", busy.pod, "--no-headers", check=False)
        if before is None or before != _point(busy) or not busy.covers(*before):
            return False
        seen.append((said, *before))
        return True

    until(told, "metrics of a window that was watched from its begin")
    said, start, stop = seen[0]
    _, cores, memory = said.split()
    assert float(parse(cores).milli()) == pytest.approx(busy.millicores(start, stop), rel=0.05)
    assert float(parse(memory).milli()) / 1000 / 2**20 == pytest.approx(busy.mebibytes(), rel=0.05)


def _point(busy: Busy) -> tuple[float, float] | None:
    """When the window of the pod's metrics began and ended; None where there are none yet."""
    pods = {each["metadata"]["name"]: each for each in busy.cluster.raw(POD_METRICS)["items"]}
    found = pods.get(busy.pod)
    if found is None:
        return None
    stop = unix(found["timestamp"])
    return stop - duration(found["window"]).total_seconds(), stop


def test_a_deployment_grows_under_load(busy: Busy) -> None:
    """Each pod uses twice what it requests, and half of that is wanted: as many pods as there may be."""
    until(lambda: busy.replicas() == 2, "two replicas")
    busy.cluster.run("rollout", "status", "deployment/busy", "--timeout=60s")
    metric = busy.cluster.json("get", "hpa", "busy")["status"]["currentMetrics"][0]["resource"]["current"]
    assert metric["averageUtilization"] > 100


def test_there_is_an_end_to_it(idle: Busy) -> None:
    """The load is taken away; that the Deployment shrinks is seen later."""
    used = idle.cluster.run("exec", idle.pod, "--", "ls", "/tmp/stop")
    assert used.strip() == "/tmp/stop"
