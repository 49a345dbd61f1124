"""Reading cgroups of both versions, from folders made like the kernel's."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pynetes.kubelet.cm.measure import Measured, Meter, Network
from pynetes.kubelet.cm.usage import Usage
from pynetes.kubelet.machine import Machine
from pynetes.kubelet.server import cadvisor, resource
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
        memory__events="low 0\nmax 5\noom_kill 1\n",
        cpu__pressure="some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
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
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        memory__stat="cache 1\ntotal_cache 5000\ntotal_rss 4000\ntotal_mapped_file 700\ntotal_inactive_file 3000\n"
        "total_pgfault 11\ntotal_pgmajfault 2\n",
    )
    _write(
        mount / "blkio" / GROUP,
        blkio__throttle__io_service_bytes_recursive="259:999 Read 10\n259:999 Write 20\nTotal 30\n",
        blkio__throttle__io_serviced_recursive="259:999 Read 1\n259:999 Write 2\nTotal 3\n",
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
        assert (set(found.read.values()), set(found.written.values())) == ({10}, {20})
        assert (set(found.reads.values()), set(found.writes.values()), found.killed) == ({1}, {2}, 1)
        assert found.pressure.get("cpu") == ((1.5, 0.5) if version == "v2" else None)
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


#: Family → its labels, as cAdvisor has them inside upstream's kubelet.
_OWN = "container id image name namespace pod"
CADVISOR = {
    **dict.fromkeys(
        (
            "container_cpu_cfs_periods_total",
            "container_cpu_cfs_throttled_periods_total",
            "container_cpu_cfs_throttled_seconds_total",
            "container_cpu_system_seconds_total",
            "container_cpu_user_seconds_total",
            "container_last_seen",
            "container_memory_cache",
            "container_memory_failcnt",
            "container_memory_mapped_file",
            "container_memory_max_usage_bytes",
            "container_memory_rss",
            "container_memory_swap",
            "container_memory_usage_bytes",
            "container_memory_working_set_bytes",
            "container_oom_events_total",
            "container_pressure_cpu_stalled_seconds_total",
            "container_pressure_cpu_waiting_seconds_total",
            "container_pressure_io_stalled_seconds_total",
            "container_pressure_io_waiting_seconds_total",
            "container_pressure_memory_stalled_seconds_total",
            "container_pressure_memory_waiting_seconds_total",
            "container_processes",
            "container_spec_cpu_period",
            "container_spec_cpu_quota",
            "container_spec_cpu_shares",
            "container_spec_memory_limit_bytes",
            "container_start_time_seconds",
            "container_threads",
        ),
        _OWN,
    ),
    **dict.fromkeys(
        (
            "container_fs_inodes_free",
            "container_fs_inodes_total",
            "container_fs_limit_bytes",
            "container_fs_reads_bytes_total",
            "container_fs_reads_total",
            "container_fs_usage_bytes",
            "container_fs_writes_bytes_total",
            "container_fs_writes_total",
        ),
        f"container device {_OWN.removeprefix('container ')}",
    ),
    **{
        f"container_network_{way}_{what}_total": "container id image interface name namespace pod"
        for way in ("receive", "transmit")
        for what in ("bytes", "packets", "errors", "packets_dropped")
    },
    "container_cpu_usage_seconds_total": f"container cpu {_OWN.removeprefix('container ')}",
    "container_memory_failures_total": f"container failure_type {_OWN.removeprefix('container ')} scope",
    "container_scrape_error": "",
    "cadvisor_version_info": "cadvisorRevision cadvisorVersion dockerVersion kernelVersion osVersion",
    **dict.fromkeys(
        ("machine_cpu_cores", "machine_memory_bytes", "machine_swap_bytes"), "boot_id machine_id system_uuid"
    ),
}


def test_cadvisors_names_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one container of a pod with a limit, and of the machine: all families, each with cAdvisor's labels."""
    _v2(tmp_path)
    meter = Meter(tmp_path)
    one = meter.measure(GROUP)
    assert one is not None
    net = Network("eth0", (1, 2, 3, 4), (5, 6, 7, 8))
    shown = [
        Group("/", Measured()),
        Group("/" + GROUP, one, "default", "web", "u", "c", "id", "image", 5.0),
        Group("/kubepods/podu", one, "default", "web", "u", network=(net,)),
    ]
    monkeypatch.setattr(cadvisor, "groups", lambda *_: iter(shown))
    monkeypatch.setattr(cadvisor, "mounted", lambda: [("/dev/vda", "/"), ("/dev/gone", "/no/such/folder")])
    size = 1 << 30
    names = {"machine_id": "m", "system_uuid": "s", "boot_id": "b", "kernel": "6.1", "os_image": "Debian"}
    machine = Machine(cpus=2, memory=size, swap=0, disk=size, architecture="amd64", **names)
    text = cadvisor.exposition(SimpleNamespace(facts=SimpleNamespace(machine=machine)), meter)  # type: ignore[arg-type]
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("{")
            labels = re.findall(r'(\w+)="', rest) if rest else []
            found.setdefault(name.split(" ")[0], set()).update(labels)
    assert {name: " ".join(sorted(labels)) for name, labels in found.items()} == {
        name: " ".join(sorted(labels.split())) for name, labels in CADVISOR.items()
    }
    assert 'container_pressure_cpu_stalled_seconds_total{container="c"' in text
    assert "/dev/gone" not in text
