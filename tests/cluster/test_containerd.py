"""The configuration of a node's own containerd."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from pynetes.cluster import containerd
from pynetes.cluster.containerd import Containerd, Machine

ABLE = Machine(lowers_oom_score=True, overlayfs=True, apparmor=True)
CONFINED = Machine(lowers_oom_score=False, overlayfs=False, apparmor=False)


def cri(machine: Machine) -> dict[str, Any]:
    """The CRI plugin's part."""
    node = Containerd(root=Path("/data/n"), state=Path("/run/n"), cni_conf_dir=Path("/data/n/cni"))
    parsed = tomllib.loads(node.render(machine))
    assert parsed["grpc"]["address"] == "/run/n/containerd.sock"
    found: dict[str, Any] = parsed["plugins"]["io.containerd.grpc.v1.cri"]
    return found


def test_what_is_withheld_is_done_without() -> None:
    """OOM scores, AppArmor and overlayfs are each given up where they do not work, and only there."""
    able, confined = cri(ABLE), cri(CONFINED)
    assert (able["restrict_oom_score_adj"], confined["restrict_oom_score_adj"]) == (False, True)
    assert (able["disable_apparmor"], confined["disable_apparmor"]) == (False, True)
    assert (able["containerd"]["snapshotter"], confined["containerd"]["snapshotter"]) == ("overlayfs", "native")


def test_nothing_is_shared_with_another_containerd() -> None:
    """Root, state, runc's state and CNI configuration are the node's own."""
    made = cri(ABLE)
    assert made["cni"]["conf_dir"] == "/data/n/cni"
    assert made["containerd"]["runtimes"]["runc"]["options"]["Root"] == "/run/n/runc"


@pytest.mark.root
def test_probing_leaves_nothing_behind(tmp_path: Path) -> None:
    """What works is found by trying; the traces are gone afterwards."""
    containerd.probe(tmp_path)
    assert not list(tmp_path.iterdir())
