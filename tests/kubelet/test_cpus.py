"""The CPU manager: who gets which processors, and that a restart moves nobody."""

from pathlib import Path

import pytest

from pynetes.kubelet.cm import cpus
from pynetes.kubelet.cm.cpus import Cpu, Cpus
from pynetes.machinery.meta import Object

#: Two NUMA nodes of two cores with two threads each: 0 and 4 are one core.
MACHINE = [Cpu(number, (number // 2 % 2, number % 4), number // 2 % 2) for number in range(8)]


def guaranteed(uid: str, cpu: str, *, memory: str = "1Gi") -> Object:
    """A pod of one container with equal requests and limits."""
    amounts = {"cpu": cpu, "memory": memory}
    container = {"name": "c", "resources": {"requests": amounts, "limits": amounts}}
    return {"metadata": {"uid": uid}, "spec": {"containers": [container]}}


def manager(path: Path | None = None) -> Cpus:
    """With processor 0 for the system."""
    return Cpus(policy="static", cpus=MACHINE, reserved={0}, path=path)


def test_lists() -> None:
    """Lists of processors are read and written as the kernel does."""
    assert cpus.parse("0-2,5") == {0, 1, 2, 5}
    assert cpus.shown({5, 0, 2, 1}) == "0-2,5"


def test_takes_what_belongs_together() -> None:
    """Whole NUMA nodes, then whole cores, then what is left."""
    assert cpus.take(range(8), MACHINE, 4) in ({0, 1, 4, 5}, {2, 3, 6, 7})
    assert cpus.take(range(1, 8), MACHINE, 2) in ({1, 5}, {2, 6}, {3, 7})
    assert cpus.take({1, 4, 5, 6}, MACHINE, 3) == {1, 5, 4}
    with pytest.raises(cpus.Unavailable, match="requested=3, available=2"):
        cpus.take({1, 2}, MACHINE, 3)


def test_near_processors_come_first() -> None:
    """A preferred NUMA node is used as far as it goes."""
    assert cpus.take(range(8), MACHINE, 2, near=[1]) in ({2, 6}, {3, 7})


def test_exclusive_processors_leave_the_shared_ones() -> None:
    """A Guaranteed pod that asks for whole processors has them alone; the reserved one stays shared."""
    made = manager()
    assert made.allocate(guaranteed("a", "2"))
    own = set(made.of_container("a", "c"))
    assert len(own) == 2
    assert own & {0} == set()
    assert cpus.parse(made.cpuset("a", "c")) == own
    assert cpus.parse(made.cpuset("other", "c")) == set(range(8)) - own
    assert made.release("a")
    assert made.shared() == set(range(8))


@pytest.mark.parametrize("cpu", ["1500m", "500m"])
def test_fractions_share(cpu: str) -> None:
    """Who asks for a part of a processor shares."""
    made = manager()
    assert not made.allocate(guaranteed("a", cpu))
    assert made.cpuset("a", "c") == "0-7"


def test_too_many_are_refused_and_nothing_is_kept() -> None:
    """A pod that cannot have all has none."""
    made = manager()
    with pytest.raises(cpus.Unavailable):
        made.allocate(guaranteed("a", "8"))
    assert not made.given


def test_state_survives(tmp_path: Path) -> None:
    """The next kubelet reads who has what; a file that does not fit the machine is an error, not a guess."""
    path = tmp_path / cpus.STATE
    first = manager(path)
    first.allocate(guaranteed("a", "2"))
    second = manager(path)
    second.load()
    assert second.given == first.given
    path.write_text(path.read_text().replace("entries", "entrees"))
    with pytest.raises(ValueError, match="does not fit"):
        manager(path).load()


def test_without_the_policy_nothing_is_confined() -> None:
    """The policy none tells the runtime nothing."""
    made = Cpus(policy="none", cpus=MACHINE)
    assert not made.allocate(guaranteed("a", "2"))
    assert made.cpuset("a", "c") == ""
