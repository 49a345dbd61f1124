"""Undoing `up`: in order while the parts still answer, and by what is left on the machine where they do not.

`down` ends every process and frees every resource of the kernel; `reset` removes the files as well. Both can be run at
any time, twice, and on a half-made cluster. Nothing here trusts cluster.json for what there is to undo: nodes are found
by their folders, processes by their mark, mounts and cgroups by their paths, networks by their names.
"""

import asyncio
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from pynetes.cloud.localcloud import plumbing
from pynetes.cluster import network, process, processes, sandboxes, supervisor
from pynetes.cluster.config import RUN, STATE, Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.component import command
from pynetes.component.command import CommandError
from pynetes.csi.local import loop
from pynetes.rpc.channel import RpcError

CDI = Path("/var/run/cdi")
CGROUPS = Path("/sys/fs/cgroup")
#: From how many on mounts are told by their number.
FEW = 8
#: How long killed processes may take to leave their cgroups.
GONE_WITHIN = 5.0
STEP = 0.05


async def down(cluster: Cluster) -> list[str]:
    """Stop everything; returns what was done, in words."""
    done = []
    for name in ("kubelet-", "kube-proxy-"):
        await _halt(cluster, name)
    for node in nodes(cluster):
        done += await _remove_pods(cluster, node)
    if await _ask(cluster, do="stop") is not None:
        done.append("the processes")
    for stray in process.leftovers(cluster.run):
        await stray.terminate(grace=10)
        done.append(f"process {stray.pid}")
    await asyncio.to_thread(_kill_marked, cluster.run)
    await asyncio.to_thread(_kill_contained, processes.cgroup(cluster))
    done += await asyncio.to_thread(_unmount, (cluster.state, cluster.run))
    if claimed := await asyncio.to_thread(_remove_specifications, cluster):
        done.append(f"{claimed} CDI specification(s) of claims")
    disks = [*(cluster.state / "cloud" / "disks").glob("*.img")]
    for disk in disks:
        plumbing.link_of(disk).unlink(missing_ok=True)
    images = [*(cluster.state / "volumes").glob("*/*/image"), *disks]
    if loops := await asyncio.to_thread(loop.detach_all, images):
        done.append(f"{loops} loop device(s) of volumes")
    if not _others(cluster):
        await _remove_rules()
    done += await network.cleanup(cluster.name)
    done += await asyncio.to_thread(_remove_cgroups, processes.cgroup(cluster))
    shutil.rmtree(cluster.run, ignore_errors=True)
    with contextlib.suppress(OSError):
        RUN.rmdir()
    return done


def nodes(cluster: Cluster) -> list[str]:
    """Those it has, and those that earlier configurations had, by their folders."""
    found = {path.name for path in (cluster.state / "nodes").glob("*") if path.is_dir()}
    return sorted(found | set(cluster.node_names()))


def surplus(cluster: Cluster) -> list[str]:
    """Nodes in network namespaces that an earlier `up` made and this cluster has no more."""
    pattern = re.compile(rf"{re.escape(cluster.name)}-node-\d+")
    return [name for name in nodes(cluster) if pattern.fullmatch(name) and name not in cluster.node_names()]


async def stop_node(cluster: Cluster, node: str) -> None:
    """End everything that runs on a node, as pulling its plug would; its files stay."""
    for component in ("kubelet", "kube-proxy"):
        await _halt(cluster, f"{component}-{node}")
    await _remove_pods(cluster, node)
    await _halt(cluster, f"containerd-{node}")


async def start_node(cluster: Cluster, node: str) -> None:
    """Start a stopped node again."""
    for component in ("containerd", "kubelet", "kube-proxy"):
        await _ask(cluster, do="start", name=f"{component}-{node}")


async def remove_node(cluster: Cluster, node: str) -> None:
    """Undo one node in a network namespace; its API object is not touched."""
    await stop_node(cluster, node)
    home, run, group = cluster.node_state(node), cluster.node_run(node), f"{processes.cgroup(cluster)}/{node}"
    await asyncio.to_thread(_kill_shims, run)
    await asyncio.to_thread(_kill_contained, group)
    await asyncio.to_thread(_unmount, (home, run))
    await network.delete(cluster.name, int(node.rpartition("-")[2]))
    await asyncio.to_thread(_remove_cgroups, group)
    await asyncio.to_thread(_remove_tree, home)
    shutil.rmtree(run, ignore_errors=True)


async def forget_networks(cluster: Cluster) -> None:
    """After a reboot: addresses are leased to pods that are no more, and would run out one reboot after the other."""
    leases = [path for node in nodes(cluster) if (path := cluster.leases(node)).is_dir()]
    if leases:
        await network.cleanup(cluster.name)
    for folder in leases:
        shutil.rmtree(folder)


def kept_logs(cluster: Cluster) -> Path:
    """Where the logs of a cluster that could not be made are kept."""
    return Path("/var/log/pynetes") / cluster.name


async def reset(cluster: Cluster, *, keep_logs: bool = False) -> list[str]:
    """Stop everything and remove the cluster's files; keep_logs moves the logs out first."""
    done = await down(cluster)
    shutil.rmtree(kept_logs(cluster), ignore_errors=True)
    if keep_logs and cluster.logs.is_dir():
        # On a full disk the logs are lost rather than the removal.
        with contextlib.suppress(OSError, shutil.Error):
            kept_logs(cluster).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(cluster.logs, kept_logs(cluster))
    if cluster.state.exists() and (not cluster.data_dir or (cluster.state / "cluster.json").exists()):
        await asyncio.to_thread(_remove_tree, cluster.state)
        done.append(str(cluster.state))
    with contextlib.suppress(OSError):
        STATE.rmdir()
    return done


def _remove_specifications(cluster: Cluster) -> int:
    """Remove what drivers have written for claims that were prepared: a new start has them prepared anew.

    Which these are is in the kubelets' notes: the folder is common to all runtimes of the machine."""
    removed = 0
    for note in cluster.state.glob("nodes/*/kubelet/dra_manager_state"):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            for claim in json.loads(note.read_text()):
                for path in CDI.glob(f"*-{glob.escape(claim['uid'])}.json"):
                    path.unlink()
                    removed += 1
    return removed


def _remove_tree(folder: Path) -> None:
    """Remove a folder, or empty it where it is a mount of the machine's. What is mounted below it stays untouched."""
    if left := list(_mounted((folder,))):
        raise ClusterError(f"{left[0]} is still mounted, {folder} was not removed", f"umount {left[0]}, then try again")
    shutil.rmtree(folder, ignore_errors=True)


async def _halt(cluster: Cluster, name: str) -> None:
    """End processes for good: through the supervisor, or where none runs by their notes. Prefixes end in a dash."""
    if await _ask(cluster, do="halt", name=name) is None:
        strays = process.leftovers(cluster.run, named=name)
        await asyncio.gather(*(stray.terminate(grace=10) for stray in strays))


async def _remove_pods(cluster: Cluster, node: str) -> list[str]:
    containerd = cluster.containerd(node)
    if containerd.socket.exists():
        try:
            return [f"{await sandboxes.remove_all(containerd)} pods of {node}"]
        except* (RpcError, TimeoutError):
            pass  # it does not answer, or not for all: what they hold is found below
    return []


async def _ask(cluster: Cluster, **message: str) -> object:
    """The supervisor's answer, None when there is none. A name it does not know is no error here."""
    try:
        return await supervisor.request(cluster.control_socket, **message)
    except OSError:
        return None


def _others(cluster: Cluster) -> bool:
    """Whether another cluster runs in this network namespace, whose kube-proxy's rules must stay."""
    runs = [path.parent for path in RUN.glob("*/supervisor.sock") if path.parent != cluster.run]
    return any(_network(pid) == _network(os.getpid()) for run in runs for pid, _ in process.marked(run))


def _network(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""  # it has just ended


def _kill_marked(run: Path) -> None:
    """Whatever was started for the cluster and is still there: a supervisor without a socket, shims, CNI plugins."""
    for pid, _ in process.marked(run):
        _kill(pid)


def _kill_shims(run: Path) -> None:
    """What a containerd that was killed left behind."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if "containerd-shim" in argv[0] and any(part.startswith(f"{run}/") for part in argv):
                    _kill(int(entry.name))


def _kill_contained(group: str) -> None:
    """All processes in a cgroup and below, again and again, since they may just be making others."""
    deadline = monotonic() + GONE_WITHIN
    while pids := set(_contained(group)):
        for pid in pids:
            _kill(pid)
        if monotonic() > deadline:
            raise ClusterError(
                f"process {min(pids)} cannot be ended", f"see what it waits for: cat /proc/{min(pids)}/stack"
            )
        sleep(STEP)


def _contained(group: str) -> Iterator[int]:
    for folder in _cgroups(group):
        for procs in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                yield from map(int, procs.read_text().split())


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _mounted(folders: tuple[Path, ...]) -> Iterator[str]:
    """Mounts below the folders, the innermost first."""
    ours = tuple(f"{os.path.realpath(folder)}/" for folder in folders)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    places = (line.split()[4].encode().decode("unicode_escape") for line in mounts)
    yield from sorted((place for place in places if place.startswith(ours)), key=len, reverse=True)


def _unmount(folders: tuple[Path, ...]) -> list[str]:
    done = []
    for place in _mounted(folders):
        with contextlib.suppress(CommandError):
            asyncio.run(command.run(["umount", "--lazy", place]))
            done.append(f"mount {place}")
    # A line each is for a few; a node with a hundred volumes has hundreds.
    return done if len(done) < FEW else [f"{len(done)} mounts"]


async def _remove_rules() -> None:
    """What kube-proxy wrote into the machine's own network namespace."""
    await command.run([sys.executable, "-m", "pynetes.cmd.main", "proxy", "--cleanup"], check=False)


def _cgroups(group: str) -> Iterator[Path]:
    """The cgroup in the one hierarchy of version 2, or in each of version 1."""
    for root in (CGROUPS, *CGROUPS.glob("*")):
        folder = root / group
        if folder.is_dir():
            yield folder


def _remove_cgroups(group: str) -> list[str]:
    """A cgroup is removed by rmdir once it is empty, children first."""
    found, deadline = list(_cgroups(group)), monotonic() + GONE_WITHIN
    while left := [folder for folder in found if folder.is_dir()]:
        for folder in left:
            children = (path for path in folder.rglob("*") if path.is_dir())
            for path in (*sorted(children, key=lambda path: -len(path.parts)), folder):
                with contextlib.suppress(OSError):
                    path.rmdir()
        # A process that was just killed is counted until its parent has seen it end.
        if monotonic() > deadline:
            break
        if any(folder.is_dir() for folder in left):
            sleep(STEP)
    return [f"cgroup {group}"] if found and not any(folder.is_dir() for folder in found) else []
