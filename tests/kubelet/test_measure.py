"""Reading cgroups of both versions, from folders made like the kernel's."""

from pathlib import Path

from pynetes.kubelet.cm.measure import Meter
from pynetes.kubelet.cm.usage import Usage
from pynetes.kubelet.server import resource
from pynetes.kubelet.server.cadvisor import Group
from pynetes.metrics_server.points import Container, read

GROUP = "kubepods/podu/c"


def _write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def _v2(mount: Path) -> None:
    _write(mount, cgroup__controllers="cpu memory pids io\n")
    _write(
        mount / GROUP,
        cpu__stat="usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 9\nnr_throttled 3\n"
        "throttled_usec 40000\n",
        cpu__max="20000 100000\n",
        cpu__weight="4\n",
        memory__current="10000\n",
        memory__stat="anon 4000\nfile 5000\nfile_mapped 700\ninactive_file 3000\npgfault 11\npgmajfault 2\n",
        memory__max="max\n",
        memory__events="low 0\nmax 5\n",
        cgroup__procs="7\n8\n",
        pids__current="5\n",
        io__stat="259:999 rbytes=10 wbytes=20 rios=1 wios=2\n",
    )


def _v1(mount: Path) -> None:
    _write(mount / "cpuacct" / GROUP, cpuacct__usage="2500000000\n", cpuacct__stat="user 200\nsystem 50\n")
    _write(
        mount / "cpu" / GROUP,
        cpu__stat="nr_periods 9\nnr_throttled 3\nthrottled_time 40000000\n",
        cpu__shares="102\n",
        cpu__cfs_quota_us="20000\n",
        cpu__cfs_period_us="100000\n",
        cgroup__procs="7\n8\n",
        tasks="7\n8\n9\n",
    )
    _write(
        mount / "memory" / GROUP,
        memory__usage_in_bytes="10000\n",
        memory__limit_in_bytes="9223372036854771712\n",
        memory__failcnt="5\n",
        memory__stat="cache 1\ntotal_cache 5000\ntotal_rss 4000\ntotal_mapped_file 700\ntotal_inactive_file 3000\n"
        "total_pgfault 11\ntotal_pgmajfault 2\n",
    )


def test_both_versions_measure_the_same(tmp_path: Path) -> None:
    """Units are seconds and bytes whichever version counts them; "no limit" is 0."""
    _v1(tmp_path / "v1")
    _v2(tmp_path / "v2")
    for version in ("v1", "v2"):
        found = Meter(tmp_path / version).measure("/" + GROUP)
        assert found is not None
        assert (found.cpu, found.cpu_user, found.cpu_system) == (2.5, 2.0, 0.5)
        assert (found.periods, found.throttled, found.throttled_seconds) == (9, 3, 0.04)
        assert (found.quota, found.period, found.limit, found.failures) == (20000, 100000, 0, 5)
        assert (found.memory, found.working_set, found.rss, found.cache) == (10000, 7000, 4000, 5000)
        assert (found.mapped, found.faults, found.major_faults, found.processes) == (700, 11, 2, 2)
        brief = Meter(tmp_path / version).brief(GROUP)
        assert brief is not None and (brief.cpu, brief.working_set) == (2.5, 7000)
        assert Meter(tmp_path / version).processes(GROUP) == [7, 8]


def test_a_group_that_is_gone_is_none(tmp_path: Path) -> None:
    """A container may vanish between being listed and being measured."""
    _v2(tmp_path)
    assert Meter(tmp_path).measure("/kubepods/gone") is None
    assert Meter(tmp_path).brief("/kubepods/gone") is None


def test_the_metrics_server_reads_what_the_kubelet_writes(tmp_path: Path) -> None:
    """Both ends of path 23 agree on names, labels, units and times."""
    _v2(tmp_path)
    measured = Meter(tmp_path).brief(GROUP)
    assert measured is not None
    group = Group("/" + GROUP, measured, namespace="default", pod="web", uid="u", container='a"b', started=12.5)
    text = resource.exposition([group], Usage(3.5, 4096, 1))
    found = read(text, 0.0)
    point = found.containers[Container("default", "web", 'a\\"b')]
    assert (point.cpu, point.memory, point.started) == (2.5, 7000, 12.5) and point.at > 1e9
    assert found.node is not None and (found.node.cpu, found.node.memory) == (3.5, 4096)
