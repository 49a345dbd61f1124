"""Undoing `up`: in order while the parts still answer, and by what is left on the machine where they do not.

`down` ends every process and frees every resource of the kernel; `reset` removes the files as well. Both can be run at
any time, twice, and on a half-made cluster.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from pynetes.cluster import network, processes, sandboxes, supervisor
from pynetes.cluster.config import RUN, STATE, Cluster
from pynetes.cluster.process import leftovers
from pynetes.component import command
from pynetes.component.command import CommandError
from pynetes.rpc.channel import RpcError

CGROUPS = Path("/sys/fs/cgroup")


async def down(cluster: Cluster) -> list[str]:
    """Stop everything; returns what was done, in words."""
    done = []
    running = await _ask(cluster, do="status") is not None
    if running:
        for name in ("kubelet-", "kube-proxy-"):
            await _ask(cluster, do="halt", name=name)
    for node in cluster.node_names():
        containerd = cluster.containerd(node)
        if containerd.socket.exists():
            with contextlib.suppress(RpcError, TimeoutError):
                done.append(f"{await sandboxes.remove_all(containerd)} pods of {node}")
    if await _ask(cluster, do="stop") is not None:
        done.append("the processes")
    for stray in leftovers(cluster.run):
        await stray.terminate(grace=10)
        done.append(f"process {stray.pid}")
    await asyncio.to_thread(_kill_containers, cluster)
    done += await asyncio.to_thread(_unmount, cluster)
    await _remove_rules()
    done += await network.cleanup(cluster.name)
    done += await asyncio.to_thread(_remove_cgroups, cluster)
    shutil.rmtree(cluster.run, ignore_errors=True)
    with contextlib.suppress(OSError):
        RUN.rmdir()
    return done


def kept_logs(cluster: Cluster) -> Path:
    """Where the logs of a cluster that could not be made are kept."""
    return Path("/var/log/pynetes") / cluster.name


async def reset(cluster: Cluster, *, keep_logs: bool = False) -> list[str]:
    """Stop everything and remove the cluster's files; keep_logs moves the logs out first."""
    done = await down(cluster)
    shutil.rmtree(kept_logs(cluster), ignore_errors=True)
    if keep_logs and cluster.logs.is_dir():
        kept_logs(cluster).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(cluster.logs, kept_logs(cluster))
    if not cluster.data_dir or (cluster.state / "cluster.json").exists():
        await asyncio.to_thread(shutil.rmtree, cluster.state, ignore_errors=True)
        done.append(str(cluster.state))
    with contextlib.suppress(OSError):
        STATE.rmdir()
    return done


async def _ask(cluster: Cluster, **message: str) -> object:
    """The supervisor's answer, None when there is none. A name it does not know is no error here."""
    try:
        return await supervisor.request(cluster.control_socket, **message)
    except OSError:
        return None


def _kill_containers(cluster: Cluster) -> None:
    """End what a containerd that was killed left behind: shims, and all processes in the cluster's cgroups."""
    for pid, argv in _processes():
        if "containerd-shim" in argv[0] and any(part.startswith(f"{cluster.run}/") for part in argv):
            _kill(pid)
    for folder in _cgroups(cluster):
        for procs in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                for line in procs.read_text().split():
                    _kill(int(line))


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if argv[0]:
                    yield int(entry.name), argv


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _unmount(cluster: Cluster) -> list[str]:
    """Unmount everything below the cluster's folders, the innermost first."""
    ours = (f"{cluster.state}/", f"{cluster.run}/")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split()[4].encode().decode("unicode_escape") for line in mounts]
    done = []
    for place in sorted((place for place in places if place.startswith(ours)), key=len, reverse=True):
        with contextlib.suppress(CommandError):
            asyncio.run(command.run(["umount", "--lazy", place]))
            done.append(f"mount {place}")
    return done


async def _remove_rules() -> None:
    """What kube-proxy wrote into the machine's own network namespace."""
    await command.run([sys.executable, "-m", "pynetes.cmd.main", "proxy", "--cleanup"], check=False)


def _cgroups(cluster: Cluster) -> Iterator[Path]:
    """The cluster's cgroup in the one hierarchy of version 2, or in each of version 1."""
    for root in (CGROUPS, *CGROUPS.glob("*")):
        folder = root / processes.cgroup(cluster)
        if folder.is_dir():
            yield folder


def _remove_cgroups(cluster: Cluster) -> list[str]:
    """A cgroup is removed by rmdir once it is empty, children first."""
    done = []
    for folder in _cgroups(cluster):
        for child in sorted((path for path in folder.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                child.rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()
            done.append(f"cgroup {folder}")
    return done
