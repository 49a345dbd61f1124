"""Choosing devices, the checkpoint, and CDI specifications."""

import json
from pathlib import Path

import pytest

from pynetes.kubelet.devices import cdi, checkpoint, pool
from pynetes.kubelet.devices.pool import Allocation, Device, Pool


def test_choice_prefers_what_the_plugin_prefers() -> None:
    """The plugin's preference counts when it is whole and free; else init containers' devices, then near ones."""
    assert pool.choose("r", 2, ["a", "b", "c"], preferred=["c", "b"]) == ("b", "c")
    assert pool.choose("r", 2, ["a", "b", "c"], preferred=["c", "gone"]) == ("a", "b")
    assert pool.choose("r", 2, ["a", "b", "c"], first=["c"]) == ("a", "c")
    assert pool.choose("r", 1, ["a", "b"], near={"a": False, "b": True}) == ("b",)


def test_shortage() -> None:
    """Too few devices are an error in upstream's words."""
    with pytest.raises(pool.Shortage, match="Requested: 2, Available: 1"):
        pool.choose("r", 2, ["a"])


def test_only_healthy_and_free_devices_are_available() -> None:
    """Neither what somebody has nor what is broken."""
    known = Pool()
    known.listed("r", [Device("a", healthy=True), Device("b", healthy=False), Device("c", healthy=True)])
    known.allocations.append(Allocation(uid="u", container="c", resource="r", ids=("a",)))
    assert known.available("r") == ["c"]
    assert known.available("r", reusable=["a"]) == ["a", "c"]
    assert (known.capacity(), known.allocatable()) == ({"r": 3}, {"r": 2})


def test_checkpoint_survives_and_is_checked(tmp_path: Path) -> None:
    """What is saved is loaded; a file that somebody changed is not trusted."""
    one = Allocation(uid="u", container="c", resource="r", ids=("a", "b"), response=b"\x00\xff")
    checkpoint.save(tmp_path, [one], {"r": ["a", "b"]})
    assert checkpoint.load(tmp_path) == ([one], {"r": ["a", "b"]})
    path = tmp_path / checkpoint.NAME
    path.write_text(path.read_text().replace('"a"', '"x"'))
    with pytest.raises(checkpoint.Spoilt):
        checkpoint.load(tmp_path)


def test_cdi_names_become_edits(tmp_path: Path) -> None:
    """A device's nodes, mounts and variables, and once those of its whole specification; broken files are skipped."""
    whole = {"env": ["ALL=1"], "mounts": [{"hostPath": "/h", "containerPath": "/c", "options": ["ro", "bind"]}]}
    devices = [{"name": name, "containerEdits": {"deviceNodes": [{"path": f"/dev/{name}"}]}} for name in ("x", "y")]
    document = {"cdiVersion": "0.5.0", "kind": "test.io/thing", "containerEdits": whole, "devices": devices}
    (tmp_path / "thing.json").write_text(json.dumps(document))
    (tmp_path / "broken.yaml").write_text("{")
    made = cdi.resolve(["test.io/thing=x", "test.io/thing=y"], [tmp_path])
    assert made.environment == {"ALL": "1"}
    assert [one.container_path for one in made.devices] == ["/dev/x", "/dev/y"]
    assert [(one.host_path, one.readonly) for one in made.mounts] == [("/h", True)]
    with pytest.raises(cdi.Unresolved, match="thing=z"):
        cdi.resolve(["test.io/thing=z"], [tmp_path])
