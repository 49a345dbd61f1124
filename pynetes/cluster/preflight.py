"""What must hold on this machine before anything is made, each check with the remedy.

All problems are told at once: fixing one to meet the next is no way to spend an evening.
"""

import contextlib
import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pynetes.cluster import process
from pynetes.cluster.config import PARTIAL, RUN, Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.component import command

LEAST_DISK = 1 << 30
CONTROLLERS = ("cpu", "memory", "pids")
CGROUPS = Path("/sys/fs/cgroup")
#: TCP_LISTEN as /proc/net/tcp writes it.
LISTENS = "0A"


class Problem(NamedTuple):
    """What does not hold, and what to do about it."""

    message: str
    remedy: str


def before_packages(cluster: Cluster) -> list[Problem]:
    """What can be known before anything is installed."""
    return [problem for check in BEFORE for problem in check(cluster)]


def refuse(problems: list[Problem]) -> None:
    """Raise one ClusterError for all problems, if there are any."""
    if problems:
        raise ClusterError(
            "; ".join(problem.message for problem in problems), "; ".join(problem.remedy for problem in problems)
        )


def _linux(cluster: Cluster) -> Iterator[Problem]:
    if platform.system() != "Linux":
        yield Problem("containers need Linux", "use pynetes.testing, which runs anywhere")


def _root(cluster: Cluster) -> Iterator[Problem]:
    if os.geteuid() != 0:
        yield Problem("`pynetes up` needs root", "run it with sudo")


def _disk(cluster: Cluster) -> Iterator[Problem]:
    place = cluster.state
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < LEAST_DISK:
        yield Problem(
            f"{place} has {free >> 20} MiB free, {LEAST_DISK >> 20} are needed",
            f"free some space, or choose another place with --data-dir (now {cluster.state})",
        )


def _cgroups(cluster: Cluster) -> Iterator[Problem]:
    """Version 2 lists its controllers in one file; version 1 mounts each of them."""
    listed = CGROUPS / "cgroup.controllers"
    if listed.exists():
        there = set(listed.read_text().split())
    else:
        there = {path.name for path in CGROUPS.glob("*") if (path / "cgroup.procs").exists()}
    lacking = [name for name in CONTROLLERS if name not in there]
    if lacking:
        yield Problem(
            f"this kernel gives no cgroup controller for {', '.join(lacking)}",
            "boot with cgroup_enable=memory, or mount the controllers below /sys/fs/cgroup",
        )


def _ports(cluster: Cluster) -> Iterator[Problem]:
    """Ports that others have. What our own processes hold is theirs, with a supervisor or without."""
    ours = {pid for pid, _ in process.marked(cluster.run)}
    others = {pid: run.name for run in RUN.glob("*") if run != cluster.run for pid, _ in process.marked(run)}
    told: set[str] = set()
    for port, what in ports(cluster).items():
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("", port))
            except OSError as error:
                pid, name = owner(port)
                if pid in ours:
                    continue
                if other := others.get(pid, ""):
                    if other not in told:
                        yield Problem(f"the cluster {other} runs on this machine", f"pynetes down --cluster {other}")
                    told.add(other)
                    continue
                by = f"by process {pid} ({name})" if pid else f"({error.strerror})"
                yield Problem(
                    f"port {port} for {what} is taken {by}", f"stop it, or see who has it: ss -ltnp 'sport = :{port}'"
                )


def owner(port: int) -> tuple[int, str]:
    """Process id and name of who listens on a TCP port in this network namespace, (0, "") when that cannot be seen."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if any(str(file.readlink()) in sockets for file in (entry / "fd").iterdir()):
                    return int(entry.name), (entry / "comm").read_text().strip()
    return 0, ""


def ports(cluster: Cluster) -> dict[int, str]:
    """The ports of the machine's own network namespace that a cluster takes."""
    return {
        cluster.secure_port: "the API server (--secure-port)",
        cluster.etcd_port: "etcd's clients (--etcd-port)",
        cluster.etcd_port + 1: "etcd's peers (--etcd-port + 1)",
        cluster.etcd_metrics_port: "etcd's metrics (--etcd-port + 2)",
        10250: "the kubelet",
        10257: "the controller manager",
        10259: "the scheduler",
        10256: "kube-proxy's health",
        10249: "kube-proxy's metrics",
    }


def _place(cluster: Cluster) -> Iterator[Problem]:
    """A folder that somebody else uses would be removed by `reset`."""
    if cluster.data_dir and cluster.state.exists() and not (cluster.state / "cluster.json").exists():
        others = sorted(path.name for path in cluster.state.iterdir() if path.name not in ("lost+found", PARTIAL))
        if others:
            yield Problem(
                f"--data-dir {cluster.state} holds {others[0]} and no cluster", "choose an empty folder, or a new one"
            )


def _forwarding(cluster: Cluster) -> Iterator[Problem]:
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    if not os.access(switch, os.W_OK):
        yield Problem(
            f"{switch} cannot be written, pods would not reach each other", "run outside of a container, or privileged"
        )


#: In the order in which they are told.
BEFORE: tuple[Callable[[Cluster], Iterator[Problem]], ...] = (
    _linux,
    _root,
    _place,
    _disk,
    _cgroups,
    _ports,
    _forwarding,
)


async def proxy_mode(wanted: str) -> str:
    """The mode kube-proxy can work in on this kernel: the wanted one, or the other. Raises when there is none."""
    tries = {"nftables": ["nft", "list", "tables"], "iptables": ["iptables", "-w", "-t", "nat", "-S", "OUTPUT"]}
    for mode in (wanted, *(mode for mode in tries if mode != wanted)):
        if (await command.run(tries[mode], check=False)).code == 0:
            return mode
    raise ClusterError(
        "this kernel has neither nftables nor iptables, so Services cannot work",
        "load the modules: modprobe -a nf_tables nft_chain_nat iptable_nat; where only the old ones are there: "
        "update-alternatives --set iptables /usr/sbin/iptables-legacy",
    )
