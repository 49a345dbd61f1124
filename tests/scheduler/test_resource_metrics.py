"""/metrics/resources: what pods on nodes request and are limited to."""

from pynetes.machinery.meta import Object
from pynetes.scheduler import metrics
from pynetes.scheduler.cache import Cache
from pynetes.scheduler.pods import PodInfo


def _pod(name: str, **resources: Object) -> Object:
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": name},
        "spec": {
            "nodeName": "n1",
            "priority": 7,
            "schedulerName": "default-scheduler",
            "containers": [{"name": "c", "resources": resources}, {"name": "d", "resources": resources}],
        },
    }


def test_every_pod_tells_its_sum_in_the_units_of_upstream() -> None:
    """Cores, bytes, and whole numbers for the rest; what a pod does not ask for has no sample."""
    cache = Cache()
    requests = {"cpu": "250m", "memory": "1Mi", "example.com/gpu": "1"}
    cache.set_pod(PodInfo(_pod("a", requests=requests, limits={"cpu": "1"})))
    cache.set_pod(PodInfo(_pod("b")))
    lines = [line for line in metrics.resources(cache).text().splitlines() if not line.startswith("#")]
    labels = 'namespace="shop",pod="a",node="n1",scheduler="default-scheduler",priority="7"'
    assert sorted(lines) == [
        f'kube_pod_resource_limit{{{labels},resource="cpu",unit="cores"}} 2',
        f'kube_pod_resource_request{{{labels},resource="cpu",unit="cores"}} 0.5',
        f'kube_pod_resource_request{{{labels},resource="example.com/gpu",unit="integer"}} 2',
        f'kube_pod_resource_request{{{labels},resource="memory",unit="bytes"}} 2097152',
    ]
