"""Metrics: what a scrape of a kubelet with a hundred pods costs, and a cycle of the metrics server over 1,000 nodes.

The kubelet's endpoints read cgroup folders made like the kernel's, of both versions, in memory, so that neither root
nor pods are needed: two groups a pod, whose process is this one and has, as in a pod, one interface beside loopback.
The nodes are scripted ones in a process of its own, on TLS; they share a port. The metrics server's memory is that of a
process of its own.
"""

import asyncio
import multiprocessing
import os
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

from aiohttp import web

from bench.figures import Figure
from pynetes.component import metrics, serving
from pynetes.kubelet.cm import usage
from pynetes.kubelet.cm.measure import Meter, network_of
from pynetes.kubelet.cri.state import Container, PodRuntime, Sandbox, State
from pynetes.kubelet.kubelet import Kubelet as RealKubelet
from pynetes.kubelet.probes.prober import PROBES
from pynetes.kubelet.server import cadvisor, resource
from pynetes.metrics_server.points import Points
from pynetes.metrics_server.scrape import Kubelet, Scraper
from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, Leaf, names

PODS, NODES, CONTAINERS, ROUNDS = 100, 1000, 10, 5
_STAT = "anon 4000\nfile 5000\nfile_mapped 700\nshmem 0\ninactive_file 3000\nactive_file 9\npgfault 11\npgmajfault 2\n"
_FILES = {
    **{
        f"{kind}.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=15\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"
        for kind in ("cpu", "memory", "io")
    },
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 9\nnr_throttled 3\n"
    "throttled_usec 40000\n",
    "cpu.max": "20000 100000\n",
    "cpu.weight": "4\n",
    "memory.current": "10000\n",
    "memory.stat": _STAT,
    "memory.max": "max\n",
    "memory.peak": "20000\n",
    "memory.swap.current": "0\n",
    "memory.events": "low 0\nmax 5\n",
    "cgroup.procs": f"{os.getpid()}\n",
    "pids.current": "5\n",
    "io.stat": "259:999 rbytes=10 wbytes=20 rios=1 wios=2\n",
}
_OLD_STAT = [
    "cache",
    "rss",
    "rss_huge",
    "shmem",
    "mapped_file",
    "dirty",
    "writeback",
    "swap",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
]
#: Of version 1, by controller.
_OLD_FILES = {
    "cpuacct": {"cpuacct.usage": "2500000000\n", "cpuacct.stat": "user 200\nsystem 50\n"},
    "cpu": {
        "cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_time 40000000\n",
        "cpu.shares": "102\n",
        "cpu.cfs_quota_us": "20000\n",
        "cpu.cfs_period_us": "100000\n",
        "cgroup.procs": f"{os.getpid()}\n",
        "tasks": f"{os.getpid()}\n",
    },
    "memory": {
        "memory.usage_in_bytes": "12345678\n",
        "memory.max_usage_in_bytes": "12345678\n",
        "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.failcnt": "5\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
        "memory.stat": "".join(f"{way}{name} 12345678\n" for way in ("", "total_") for name in _OLD_STAT),
    },
}


def measure() -> list[Figure]:
    """CPU, not elapsed time, of the scrape: what a busy machine cannot change much."""
    scrapes = []
    for version in (1, 2):
        with TemporaryDirectory(dir="/dev/shm") as folder:
            scrapes.append(_scrape(Path(folder), version))
    cycle, megabytes, answered = _cycle()
    assert answered == NODES, f"only {answered} of {NODES} kubelets answered"
    return [
        *(
            Figure(
                name=f"a scrape of all endpoints, {PODS} pods, cgroup v{version}: CPU",
                value=seconds * 1e3,
                unit="ms",
                limit=100,
            )
            for version, seconds in enumerate(scrapes, 1)
        ),
        Figure(name=f"a metrics server's cycle over {NODES:,} nodes", value=cycle, unit="s", limit=10),
        Figure(name="memory of the metrics server then", value=megabytes, unit="MB", limit=200),
    ]


def _scrape(mount: Path, version: int) -> float:
    """Seconds of CPU of /metrics and all that is below it together, the best of some rounds."""
    if version == 2:
        (mount / "cgroup.controllers").write_text("cpu memory pids io\n")
    # Machines have more interfaces than pods.
    vars(cadvisor)["network_of"] = lambda process: network_of(process)[:1]
    kubelet, meter = _kubelet(), Meter(mount)
    for worker in kubelet.workers.values():
        pod = f"kubepods/pod{worker.uid}"
        for group in (pod, f"{pod}/{kubelet.ctx.pleg.get(worker.uid).running[0].id}"):
            for controller, files in _OLD_FILES.items() if version == 1 else [("", _FILES)]:
                _write(mount / controller / group, files)
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        cadvisor.exposition(kubelet, meter)
        resource.exposition(list(cadvisor.groups(kubelet, meter, brief=True)), usage.node())
        metrics.REGISTRY.text()
        PROBES.text()
        found.append(time.process_time() - began)
    return min(found)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def _kubelet() -> RealKubelet:
    """What the endpoints ask of a kubelet: workers, the runtime's state, where cgroups are."""
    workers, states = {}, {}
    now = datetime.now(UTC)
    for number in range(PODS):
        uid, container = f"0123456789-{number}", f"{number:064x}"
        spec = {"containers": [{"name": "main", "image": "web:1"}]}
        metadata = {"uid": uid, "name": f"web-{number}", "namespace": "default"}
        workers[uid] = SimpleNamespace(uid=uid, pod={"metadata": metadata, "spec": spec})
        running = Container(id=container, name="main", sandbox=uid, state=State.RUNNING, started=now)
        sandbox = Sandbox(id=uid, ready=True, created=now)
        states[uid] = PodRuntime(uid=uid, sandboxes=(sandbox,), containers=(running,))
    machine = {"kernel": "k", "os_image": "o", "boot_id": "b", "machine_id": "m", "system_uuid": "s"}
    ctx = SimpleNamespace(
        cgroups=SimpleNamespace(parent=lambda pod: f"/kubepods/pod{pod['metadata']['uid']}"),
        pleg=SimpleNamespace(get=states.__getitem__),
    )
    facts = SimpleNamespace(machine=SimpleNamespace(**machine, cpus=2, memory=1, swap=0))
    return cast(RealKubelet, SimpleNamespace(workers=workers, ctx=ctx, facts=facts))


def _cycle() -> tuple[float, float, int]:
    """Seconds of the second cycle, MB of the process after it, kubelets that answered."""
    spawn = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as folder:
        _certify(Path(folder))
        (here, there), (ours, theirs) = spawn.Pipe(), spawn.Pipe()
        nodes = spawn.Process(target=_serve, args=(Path(folder), there), daemon=True)
        nodes.start()
        server = spawn.Process(target=_collect, args=(Path(folder), here.recv(), theirs), daemon=True)
        server.start()
        found: tuple[float, float, int] = ours.recv()
        for each in (server, nodes):
            each.terminate()
            each.join()
    return found


def _certify(folder: Path) -> None:
    authority = issue.authority(CLUSTER_CA.common_name, datetime.now(UTC))
    leaf = Leaf("kubelet", CLUSTER_CA, "kubelet", server=True, names=names("127.0.0.1"))
    issued = issue.leaf(leaf, authority, datetime.now(UTC))
    (folder / "ca").write_bytes(authority.certificate_pem)
    (folder / "crt").write_bytes(issued.certificate_pem)
    (folder / "key").write_bytes(issued.key_pem)


def _serve(folder: Path, told: Connection) -> None:
    """The scripted nodes: ten containers each, whose counters move."""

    async def answer(_request: web.Request) -> web.Response:
        now = time.time()
        stamp = int(now * 1000)
        lines = [f"node_cpu_usage_seconds_total {now:.3f} {stamp}", f"node_memory_working_set_bytes 7 {stamp}"]
        for number in range(CONTAINERS):
            labels = f'{{container="main",namespace="default",pod="web-{number}"}}'
            lines.append(f"container_cpu_usage_seconds_total{labels} {now:.3f} {stamp}")
            lines.append(f"container_memory_working_set_bytes{labels} 12345678 {stamp}")
        return web.Response(text="\n".join(lines) + "\n")

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/metrics/resource", answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "crt", folder / "key")
        async with serving.serve(app, context=context) as port:
            told.send(port)
            await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())


def _collect(folder: Path, port: int, told: Connection) -> None:
    """The metrics server's part: two cycles into its points."""

    async def collect() -> tuple[float, int]:
        context = ssl.create_default_context(cafile=str(folder / "ca"))
        kubelets = [Kubelet(f"node-{number}", "127.0.0.1", port) for number in range(NODES)]
        points, seconds, answered = Points(), 0.0, 0
        async with Scraper(lambda: context, lambda: "token", timeout=10) as scraper:
            for _ in range(2):
                began = time.perf_counter()
                cycle = await scraper.cycle(kubelets, points.add)
                points.keep(cycle)
                seconds, answered = time.perf_counter() - began, len(cycle)
        return seconds, answered

    seconds, answered = asyncio.run(collect())
    status = Path("/proc/self/status").read_text()
    told.send((seconds, int(status.partition("VmHWM:")[2].split()[0]) / 1024, answered))


MEASURE = measure
