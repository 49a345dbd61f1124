"""The topology manager: hints, what providers agree on, and what each policy makes of it."""

from pathlib import Path

import pytest

from pynetes.kubelet.cm import topology
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.cm.cpus import Cpu
from pynetes.kubelet.cm.topology import Hint
from pynetes.kubelet.devices.pool import Device
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.rig import pod

ZERO, ONE, BOTH = frozenset({0}), frozenset({1}), frozenset({0, 1})


def test_hints_prefer_the_fewest_nodes_that_could_ever_do() -> None:
    """Three of four units of a node fit there; five need both, and that is then as good as it gets."""
    every = [ZERO] * 4 + [ONE] * 4
    assert topology.hints(3, every, every, BOTH) == [Hint(ZERO, True), Hint(ONE, True), Hint(BOTH, False)]
    assert topology.hints(5, every, every, BOTH) == [Hint(BOTH, True)]
    # Where a node is half used up, what would have fitted it is not preferred across both.
    assert topology.hints(3, [ZERO] * 2 + [ONE] * 2, every, BOTH) == [Hint(BOTH, False)]
    assert topology.hints(1, [frozenset()], [frozenset()], BOTH)[0] == Hint(ZERO, True)


def test_providers_agree() -> None:
    """The narrowest set that all prefer."""
    processors = [Hint(ZERO, True), Hint(ONE, True), Hint(BOTH, False)]
    device = [Hint(ONE, True), Hint(BOTH, False)]
    assert topology.merged([processors, device], BOTH, topology.BEST_EFFORT) == Hint(ONE, True)


@pytest.mark.parametrize("policy", [topology.RESTRICTED, topology.SINGLE])
def test_strict_policies_refuse_what_is_apart(policy: str) -> None:
    """Processors of one node and a device of the other."""
    apart = [[Hint(ZERO, True)], [Hint(ONE, True)]]
    assert topology.align(apart, BOTH, topology.BEST_EFFORT) == BOTH
    with pytest.raises(topology.Unaligned, match="Topology locality"):
        topology.align(apart, BOTH, policy)


def test_single_node_means_one() -> None:
    """What needs both nodes is fine for restricted, and refused by single-numa-node."""
    wide = [[Hint(BOTH, True)]]
    assert topology.align(wide, BOTH, topology.RESTRICTED) == BOTH
    with pytest.raises(topology.Unaligned):
        topology.align(wide, BOTH, topology.SINGLE)
    assert topology.align(wide, BOTH, topology.NONE) == frozenset()


async def test_pod_that_cannot_be_aligned_is_refused(tmp_path: Path) -> None:
    """Processors of one node and a device of the other: single-numa-node fails the pod with TopologyAffinityError."""
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    options = {"cpu_manager_policy": "static", "reserved_cpus": "0", "topology_manager_policy": topology.SINGLE}
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        rigs.running(endpoint, tmp_path / "root", cgroups=cgroups, **options) as rig,
    ):
        ctx = rig.kubelet.ctx
        ctx.cpus.cpus = [Cpu(0, (0, 0), 0), Cpu(1, (0, 1), 0)]
        ctx.devices.pool.listed("pynetes.io/far", [Device("d", healthy=True, nodes=(1,))])
        ctx.cpus.cpus.append(Cpu(2, (1, 0), 1))
        ctx.cpus.reserved = {0, 2}
        amounts = {"cpu": "1", "memory": "1Mi"}
        asked = {"requests": amounts, "limits": {**amounts, "pynetes.io/far": "1"}}
        rig.api.put(pod("apart", container={"resources": asked}))
        await rig.until(lambda: rig.status("apart").get("phase") == "Failed")
        assert rig.status("apart")["reason"] == "TopologyAffinityError"
        assert not ctx.cpus.given
