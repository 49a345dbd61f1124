"""One real cluster for all tests of this folder, made by the command that users run.

It has a name of its own and is removed at the end, whatever happened; what the machine looked like before is kept, so
that the last test can say whether anything stayed behind.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.browser.conftest import Visitor, chromium
from tests.e2e import otlp
from tests.e2e.busy import OBJECTS, Busy, until
from tests.e2e.traces import NAME, Traces, traces

__all__ = ["chromium"]

SHOP = Path(__file__).parents[2] / "examples" / "shop"


@dataclass(frozen=True)
class Cluster:
    """The cluster under test, driven by kubectl."""

    kubeconfig: Path
    kubectl: str

    def run(self, *argv: str, check: bool = True, timeout: float = 120, text: str | None = None) -> str:
        """kubectl's standard output; with check a failure shows both streams."""
        result = subprocess.run(
            [self.kubectl, *argv],
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=timeout,
            input=text,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(f"kubectl {' '.join(argv)} exited {result.returncode}: {result.stderr}{result.stdout}")
        return result.stdout if check else result.stdout + result.stderr

    def json(self, *argv: str) -> Any:
        """The answer as an object."""
        return json.loads(self.run(*argv, "-o", "json"))

    def raw(self, path: str) -> Any:
        """The answer to a path of the API."""
        return json.loads(self.run("get", "--raw", path))

    def env(self) -> Mapping[str, str]:
        """The environment kubectl runs in."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}


def pynetes(*argv: str, timeout: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    result = subprocess.run(
        [sys.executable, "-m", "pynetes.cmd.main", *argv], capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and result.returncode:
        raise AssertionError(
            f"pynetes {' '.join(argv)} exited {result.returncode}: {result.stderr}{result.stdout}{_logs()}"
        )
    return result


def _logs() -> str:
    """The last lines of every component's log: what a failed `up` is understood by."""
    parts = []
    for log in sorted(Path(f"/var/lib/pynetes/{NAME}/logs").glob("*.log")):
        parts.append(f"\n==> {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]))
    return "".join(parts)


@pytest.fixture(scope="session")
def before() -> Traces:
    """What the machine looked like before there was a cluster."""
    pynetes("reset", "--cluster", NAME, "--yes")
    return traces()


@pytest.fixture(scope="session")
def cluster(before: Traces) -> Iterator[Cluster]:
    """A cluster of one node."""
    try:
        # What a test asks to be traced is told to a receiver of its own.
        state = Path(f"/var/lib/pynetes/{NAME}")
        state.mkdir(parents=True)
        (state / "tracing.yaml").write_text(otlp.CONFIG)
        pynetes("up", "--cluster", NAME)
        yield Cluster(kubeconfig=Path(f"/var/lib/pynetes/{NAME}/admin.conf"), kubectl=kubectl_binary())
    finally:
        pynetes("reset", "--cluster", NAME, "--yes", check=False)


def kubectl_binary() -> str:
    """The kubectl that `pynetes kubectl` runs."""
    code = "import asyncio; from pynetes.cluster import tools; print(asyncio.run(tools.find('kubectl')))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def packaged_kubectl() -> str:
    """kubectl 1.37 from PyPI, whatever is on PATH."""
    code = "import asyncio; from pynetes.cluster import tools; print(asyncio.run(tools.packaged('kubectl')))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def shop(cluster: Cluster) -> Cluster:
    """The example, applied and rolled out."""
    cluster.run("apply", "-f", str(SHOP))
    cluster.run("-n", "shop", "rollout", "status", "deployment/front", "--timeout=60s")
    cluster.run("-n", "shop", "rollout", "status", "statefulset/stock", "--timeout=60s")
    return cluster


@pytest.fixture(scope="session")
def busy(cluster: Cluster) -> Iterator[Busy]:
    """One pod of it runs."""
    cluster.run("apply", "-f", "-", text=OBJECTS)
    cluster.run("rollout", "status", "deployment/busy", "--timeout=60s")
    found = Busy(cluster)
    yield found
    found.end()


@pytest.fixture(scope="session")
def idle(busy: Busy) -> Busy:
    """It has grown to all it may be, and then there is nothing to do any more."""
    until(lambda: busy.replicas() == 2, "two replicas")
    busy.cluster.run("rollout", "status", "deployment/busy", "--timeout=60s")
    for pod in busy.cluster.json("get", "pods", "-l", "app=busy")["items"]:
        busy.cluster.run("exec", pod["metadata"]["name"], "--", "touch", "/tmp/stop")
    return busy


@pytest.fixture(scope="session")
def url(cluster: Cluster, busy: Busy) -> str:
    """Where the dashboard is, once its pod serves. Meanwhile, what metrics are looked at by comes to be."""
    said = pynetes("up", "--cluster", NAME, "--with", "dashboard").stdout
    found = said.partition("The dashboard, from this machine: ")[2].split("/ ")[0]
    assert found.startswith("https://")
    return found


@pytest.fixture
async def admin(chromium: Any, url: str, cluster: Cluster) -> AsyncIterator[Visitor]:
    """The administrator, in a browser."""
    context = await chromium.new_context(ignore_https_errors=True, viewport={"width": 1400, "height": 900})
    someone = Visitor(await context.new_page(), url)
    await someone.login(cluster.kubeconfig.read_text())
    yield someone
    assert someone.troubles == []
    await context.close()
