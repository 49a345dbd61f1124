"""The pytest plugin, there wherever Pynetes is installed: clusters for the tests of operators, charts and pipelines.

    def test_my_chart(cluster, namespace):
        subprocess.run(["kubectl", f"--kubeconfig={cluster.kubeconfig}", "-n", namespace, "apply", "-f", "chart/"])
        cluster.settle()

`cluster` is one per session (and per worker of pytest-xdist), `namespace` a new place in it for each test, `kubeconfig`
the path of an administrator's kubeconfig. Tests that need something else say so, and get a cluster of their own kind:

    @pytest.mark.kubernetes(nodes=3, store="sqlite", clock="virtual", version="1.36")
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

import pynetes

if TYPE_CHECKING:
    from pynetes.testing.blocking import Kubernetes

MARKER = "kubernetes"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest about the marker."""
    config.addinivalue_line(
        "markers",
        f'{MARKER}(nodes=2, store="memory", clock="real", version=…): the cluster that a test needs: how many nodes; '
        "memory or sqlite; real, virtual or automatic time; the oldest version of Kubernetes that will do",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test with the marker a cluster like that; pytest brings tests with equal ones together."""
    wanted = _wanted(metafunc.definition)
    if wanted and "cluster" in metafunc.fixturenames:
        name = ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))
        metafunc.parametrize("cluster", [tuple(sorted(wanted.items()))], ids=[name], indirect=True, scope="session")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a newer Kubernetes."""
    for marker in item.iter_markers(MARKER):
        version = str(marker.kwargs.get("version", ""))
        if version and _parsed(version) > _parsed(pynetes.KUBERNETES_VERSION):
            pytest.skip(f"needs Kubernetes {version}, this is {pynetes.KUBERNETES_VERSION}")


def _wanted(item: pytest.Item) -> dict[str, Any]:
    """The options of a test's markers, the nearest one's first."""
    wanted: dict[str, Any] = {}
    for marker in item.iter_markers(MARKER):
        unknown = set(marker.kwargs) - {"nodes", "store", "clock", "version"}
        if unknown or marker.args:
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.{MARKER} has no {', '.join(sorted(unknown)) or 'positional arguments'}; "
                "it takes nodes, store, clock and version"
            )
        wanted = {**marker.kwargs, **wanted}
    wanted.pop("version", None)
    return wanted


def _parsed(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.lstrip("v").split("+")[0].split(".")[:2])


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator["Kubernetes"]:
    """A cluster in this process: real API server, controllers and scheduler; nodes whose pods follow scripts."""
    from pynetes.testing.blocking import Options, started  # here, so that a test run without clusters imports nothing

    with started(Options(**dict(getattr(request, "param", ())))) as running:
        yield running


@pytest.fixture(scope="session")
def kubeconfig(cluster: "Kubernetes") -> Path:
    """The path of an administrator's kubeconfig."""
    return cluster.kubeconfig


@pytest.fixture
def namespace(cluster: "Kubernetes") -> Iterator[str]:
    """A new namespace, ready for pods, deleted after the test with whatever was scripted for it."""
    name = f"test-{uuid4().hex[:8]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.until("serviceaccounts", "default", lambda _: True, namespace=name)
    yield name
    cluster.run(_forget(cluster, name))


async def _forget(cluster: "Kubernetes", namespace: str) -> None:
    from pynetes.apis.core import namespaces
    from pynetes.machinery.meta import Key

    cluster.cluster.scripts.forget(namespace)
    await cluster.cluster.client.delete(namespaces.RESOURCE, Key("", namespace))
