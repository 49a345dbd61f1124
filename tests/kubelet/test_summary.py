"""/stats/summary has every member of upstream's types that there is a source for, and figures that are true."""

from datetime import UTC, datetime, timedelta

from pynetes.kubelet.cm.measure import Measured, Network
from pynetes.kubelet.cm.usage import Usage
from pynetes.kubelet.csi.stats import Room
from pynetes.kubelet.eviction.observe import Size
from pynetes.kubelet.server import stats
from pynetes.kubelet.server.cadvisor import Group
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

AT = datetime(2026, 1, 1, tzinfo=UTC)
#: stats/v1alpha1, member by member. accelerators, userDefinedMetrics and psi have no source here.
FS = {"time", "availableBytes", "capacityBytes", "usedBytes", "inodesFree", "inodes", "inodesUsed"}
CPU = {"time", "usageNanoCores", "usageCoreNanoSeconds"}
MEMORY = {"time", "usageBytes", "workingSetBytes", "rssBytes", "pageFaults", "majorPageFaults"}
INTERFACE = {"name", "rxBytes", "rxErrors", "txBytes", "txErrors"}
NODE = {"nodeName", "systemContainers", "startTime", "cpu", "memory", "network", "fs", "runtime", "rlimit", "swap"}
POD = {"podRef", "startTime", "containers", "cpu", "memory", "network", "volume", "swap", "process_stats"}
POD |= {"ephemeral-storage"}
CONTAINER = {"name", "startTime", "cpu", "memory", "rootfs", "logs", "swap"}

DISK = Room(f_blocks=100, f_bfree=40, f_bavail=30, f_files=50, f_ffree=20, f_frsize=1024)
NAMES = {"namespace": "default", "pod": "web", "uid": "u1"}
ETH = Network("eth0", (1, 2, 3, 4), (5, 6, 7, 8))


def groups(cpu: float) -> list[Group]:
    """The machine, a system container, a pod and its container."""
    used = Measured(cpu=cpu, memory=300, working_set=200, rss=100, swap=7, faults=5, major_faults=1, limit=1000)
    return [
        Group("/", Measured(memory=5000, rss=4000, faults=9, major_faults=2)),
        Group("kubelet", Measured(cpu=1.0), container="kubelet", started=1.0),
        Group("/pods/u1", used, **NAMES, started=100.0, network=(ETH,)),
        Group("/pods/u1/c", used, **NAMES, container="c", id="c1", started=101.0),
    ]


def files() -> stats.Files:
    layer = pb.ContainerStats(
        writable_layer=pb.FilesystemUsage(used_bytes=pb.UInt64Value(value=10), inodes_used=pb.UInt64Value(value=2))
    )
    volumes = [
        stats.Volume("scratch", DISK, used=Size(500, 5)),
        stats.Volume("data", DISK, claim=("default", "claim")),
    ]
    return stats.Files(
        node=DISK,
        images=DISK,
        stored=Size(777, 7),
        layers={"c1": layer},
        logs={"c1": Size(40, 1)},
        volumes={"u1": volumes},
    )


def summary(cpu: float, at: datetime, rates: stats.Rates, found: stats.Files | None = None) -> Object:
    node = stats.Node("n1", 50.0, Usage(10.0 + cpu, 3000, 2000), (ETH,), (12, 999), (64, 60))
    return stats.summarize(node, at, groups(cpu), found or files(), rates)


def test_every_member_is_there() -> None:
    """Of node, system container, pod, container, file systems, network and memory."""
    rates = stats.Rates()
    summary(1.0, AT, rates)
    told = summary(2.0, AT + timedelta(seconds=10), rates)
    node, [pod] = told["node"], told["pods"]
    [container], [system] = pod["containers"], node["systemContainers"]
    assert (set(node), set(pod), set(container)) == (NODE, POD, CONTAINER)
    assert (pod["podRef"], system["name"]) == ({"name": "web", "namespace": "default", "uid": "u1"}, "kubelet")
    for each in (node["cpu"], pod["cpu"], container["cpu"], system["cpu"]):
        assert set(each) == CPU
    assert set(node["memory"]) == set(pod["memory"]) == set(container["memory"]) == MEMORY | {"availableBytes"}
    assert set(system["memory"]) == MEMORY
    for each in (node["network"], pod["network"]):
        assert set(each) == INTERFACE | {"time", "interfaces"} and set(each["interfaces"][0]) == INTERFACE
    shown = [node["fs"], *(node["runtime"][each] for each in ("imageFs", "containerFs")), container["rootfs"]]
    for each in (*shown, container["logs"], pod["ephemeral-storage"]):
        assert set(each) == FS
    assert [set(each) for each in pod["volume"]] == [FS | {"name"}, FS | {"name", "pvcRef"}]
    assert set(node["rlimit"]) == {"time", "maxpid", "curproc"}
    assert set(node["swap"]) == {"time", "swapAvailableBytes", "swapUsageBytes"}
    assert set(pod["swap"]) == {"time", "swapUsageBytes"} and set(pod["process_stats"]) == {"process_count"}


def test_figures() -> None:
    """Rates over the time between two looks; what a pod has on the node's disk, once."""
    rates = stats.Rates()
    first = summary(1.0, AT, rates)
    told = summary(3.5, AT + timedelta(seconds=10), rates)
    node, [pod] = told["node"], told["pods"]
    assert "usageNanoCores" not in first["pods"][0]["cpu"]
    assert pod["cpu"]["usageNanoCores"] == node["cpu"]["usageNanoCores"] == 250_000_000
    assert pod["cpu"]["usageCoreNanoSeconds"] == 3_500_000_000
    assert (pod["memory"]["availableBytes"], node["memory"]["rssBytes"]) == (800, 4000)
    assert (pod["startTime"], node["startTime"]) == ("1970-01-01T00:01:40Z", "1970-01-01T00:00:50Z")
    # Layer, logs and the volume that is a folder; the claim has a disk of its own.
    assert (pod["ephemeral-storage"]["usedBytes"], pod["ephemeral-storage"]["inodesUsed"]) == (550, 8)
    assert [each["usedBytes"] for each in pod["volume"]] == [500, 60 * 1024]
    assert pod["volume"][1]["pvcRef"] == {"namespace": "default", "name": "claim"}
    assert node["runtime"]["imageFs"]["usedBytes"] == 777 and node["fs"]["availableBytes"] == 30 * 1024
    assert node["swap"] == {"time": told["node"]["cpu"]["time"], "swapAvailableBytes": 60, "swapUsageBytes": 4}


def test_cpu_and_memory_only() -> None:
    """Nothing about file systems, where nothing was asked."""
    told = summary(1.0, AT, stats.Rates(), stats.Files())
    assert {"fs", "runtime"}.isdisjoint(told["node"])
    assert {"volume", "ephemeral-storage"}.isdisjoint(told["pods"][0])
    assert {"rootfs", "logs"}.isdisjoint(told["pods"][0]["containers"][0])


def test_rates_of_counters_that_begin_anew() -> None:
    """A counter that falls tells no rate, nor does a clock that is put back; a look too soon tells the last one."""
    rates = stats.Rates()
    assert rates.of("a", 1.0, 0.0) is None
    assert rates.of("a", 2.0, 2.0) == 500_000_000
    assert rates.of("a", 2.1, 2.5) == 500_000_000
    assert rates.of("a", 0.1, 10.0) is None
    assert rates.of("a", 0.2, 5.0) is None
    assert rates.of("a", 1.2, 6.0) == 1_000_000_000
    rates.keep([])
    assert rates.of("a", 9.0, 9.0) is None
