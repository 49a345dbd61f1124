"""The in-process cluster: how soon it is there, and what a test in it costs."""

import multiprocessing
import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

from bench.figures import Figure
from pynetes.machinery.meta import Object
from pynetes.testing.blocking import Kubernetes, Options, started

TESTS = 100
#: As `pytest -n 2` has them.
WORKERS = 2
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
        busy = time.process_time()
        settles = _timed(TESTS, lambda number: _create_and_settle(cluster, f"test-{number}"))
        busy = (time.process_time() - busy) / TESTS
        requests = len(cluster.requests(namespace="test-0"))
        fork = _timed(5, lambda _: _fork(cluster))
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
        Figure(name="processor time of one such test", value=busy * 1e3, unit="ms"),
        Figure(name=f"the same with {WORKERS} workers, as pytest -n {WORKERS}", value=_by_workers(), unit="/s"),
        Figure(name="requests of one such test, its namespace's included", value=requests, unit=""),
        Figure(name="snapshot and restore", value=snapshot * 1e3, unit="ms"),
        Figure(name="a fork, running", value=fork * 1e3, unit="ms"),
        Figure(name="a virtual hour of a CronJob", value=hour, unit="s", limit=1.0),
    ]


def _by_workers() -> float:
    """Tests a second of several processes, each with a cluster of its own, once all are ready."""
    context = multiprocessing.get_context("spawn")
    ready, rates = context.Barrier(WORKERS), context.SimpleQueue()
    workers = [context.Process(target=_worker, args=(ready, rates)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    found = sum(rates.get() for _ in workers)
    for worker in workers:
        worker.join()
    return float(found)


def _worker(ready: Barrier, rates: "SimpleQueue[float]") -> None:
    with started() as cluster:
        for number in range(TESTS):
            _namespace(cluster, f"test-{number}")
        ready.wait()
        rates.put(1 / _timed(TESTS, lambda number: _create_and_settle(cluster, f"test-{number}")))


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


def _fork(cluster: Kubernetes) -> None:
    with cluster.fork() as other:
        assert other.list("namespaces")


MEASURE = measure
