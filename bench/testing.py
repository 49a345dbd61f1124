"""The in-process cluster: how soon it is there, and what a test in it costs."""

import time

from bench.figures import Figure
from pynetes.machinery.meta import Object
from pynetes.testing.blocking import Kubernetes, Options, started

TESTS = 100
STARTS = 5
DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "example.org/web:1"}]},
        },
    },
}
CRON: Object = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "tick"},
    "spec": {
        "schedule": "*/10 * * * *",
        "jobTemplate": {
            "spec": {
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.org/tick:1"}]}
                }
            }
        },
    },
}


def measure() -> list[Figure]:
    """All in one process, as tests have it."""
    starts = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with started():
            starts.append(time.perf_counter() - began)
    with started() as cluster:
        namespaces = _timed(TESTS, lambda number: _namespace(cluster, f"test-{number}"))
        settles = _timed(TESTS, lambda number: _create_and_settle(cluster, f"test-{number}"))
        snapshot = _timed(10, lambda _: cluster.restore(cluster.snapshot()))
    with started(Options(nodes=1, clock="virtual")) as cluster:
        cluster.apply(CRON)
        cluster.settle()
        began = time.perf_counter()
        cluster.advance(3600)
        hour = time.perf_counter() - began
        assert cluster.list("jobs"), "the CronJob never ran"
    return [
        Figure(name="cluster ready, the best of some starts", value=min(starts), unit="s", limit=1.0),
        Figure(name="a namespace for a test", value=namespaces * 1e3, unit="ms", limit=20),
        Figure(name="tests that create a Deployment and settle", value=1 / settles, unit="/s", limit=50, at_most=False),
        Figure(name="snapshot and restore", value=snapshot * 1e3, unit="ms"),
        Figure(name="a virtual hour of a CronJob", value=hour, unit="s", limit=1.0),
    ]


def _timed(count: int, work: object) -> float:
    """Seconds of one."""
    assert callable(work)
    began = time.perf_counter()
    for number in range(count):
        work(number)
    return (time.perf_counter() - began) / count


def _namespace(cluster: Kubernetes, name: str) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.until("serviceaccounts", "default", lambda _: True, namespace=name)


def _create_and_settle(cluster: Kubernetes, namespace: str) -> None:
    cluster.apply(DEPLOYMENT, namespace=namespace)
    cluster.settle()


MEASURE = measure
