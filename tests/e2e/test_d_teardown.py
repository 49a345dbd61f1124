"""down and reset: the state survives the one, nothing survives the other."""

import pytest

from tests.e2e.conftest import NAME, Cluster, pynetes
from tests.e2e.traces import Traces, traces

pytestmark = pytest.mark.e2e


def test_what_was_stored_is_there_after_down_and_up(cluster: Cluster) -> None:
    """The next `up` continues where `down` stopped."""
    cluster.run("create", "configmap", "kept")
    pynetes("down", "--cluster", NAME)
    pynetes("up", "--cluster", NAME)
    assert cluster.json("get", "configmap", "kept")["metadata"]["name"] == "kept"


def test_reset_leaves_nothing_behind(cluster: Cluster, before: Traces) -> None:
    """No process, mount, network namespace, interface, table, chain, cgroup or folder."""
    pynetes("reset", "--cluster", NAME, "--yes")
    after = traces()
    left = {name: sorted(value - getattr(before, name)) for name, value in after._asdict().items()}
    assert left == {name: [] for name in left}
