"""Preflight: every problem is told, with the remedy."""

import os
import socket
from pathlib import Path

import pytest

from pynetes.cluster import preflight
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError


def messages(cluster: Cluster) -> list[str]:
    """What is wrong, without the remedies; all of which must be there."""
    problems = preflight.before_packages(cluster)
    assert all(problem.remedy for problem in problems)
    return [problem.message for problem in problems]


def test_a_taken_port_is_told_with_who_has_it() -> None:
    """The message names the port, what needs it, and the process; the remedy finds out more."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        problems = preflight.before_packages(Cluster(secure_port=port))
    (problem,) = [problem for problem in problems if str(port) in problem.message]
    assert problem.message.startswith(
        f"port {port} for the API server (--secure-port) is taken by process {os.getpid()}"
    )
    assert f"sport = :{port}" in problem.remedy


def test_a_connection_from_a_port_does_not_take_it() -> None:
    """Only listening does: the kernel gives such ports to clients all the time."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname()) as client:
            assert preflight.owner(client.getsockname()[1]) == (0, "")


def test_a_full_disk_is_told_with_the_way_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest folder that exists decides."""
    monkeypatch.setattr(preflight, "LEAST_DISK", 1 << 62)
    told = messages(Cluster(data_dir=str(tmp_path / "not" / "there")))
    assert any(message.startswith(f"{tmp_path} has ") and "MiB free" in message for message in told)


@pytest.mark.parametrize(
    ("files", "lacking"),
    [
        ({"cgroup.controllers": "cpuset cpu io memory pids"}, ""),
        ({"cgroup.controllers": "cpuset cpu io pids"}, "memory"),
        ({"cpu/cgroup.procs": "", "memory/cgroup.procs": "", "pids/cgroup.procs": ""}, ""),
        ({"cpu/cgroup.procs": "", "pids/cgroup.procs": ""}, "memory"),
        ({}, "cpu, memory, pids"),
    ],
)
def test_a_missing_cgroup_controller_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], lacking: str
) -> None:
    """Version 2 lists them, version 1 mounts each, and a machine may have none at all."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(preflight, "CGROUPS", tmp_path)
    told = [message for message in messages(Cluster()) if "cgroup" in message]
    assert told == ([f"this kernel gives no cgroup controller for {lacking}"] if lacking else [])


def test_a_folder_that_somebody_uses_is_no_place_for_a_cluster(tmp_path: Path) -> None:
    """`reset` would remove what is in it. A fresh file system's lost+found is no use."""
    (tmp_path / "lost+found").mkdir()
    assert not any("--data-dir" in message for message in messages(Cluster(data_dir=str(tmp_path))))
    (tmp_path / "thesis.tex").touch()
    assert f"--data-dir {tmp_path} holds thesis.tex and no cluster" in messages(Cluster(data_dir=str(tmp_path)))
    Cluster(data_dir=str(tmp_path)).save()
    assert not any("--data-dir" in message for message in messages(Cluster(data_dir=str(tmp_path))))


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **statuses: int) -> None:
    """Make these programs all of PATH, each ending with its status."""
    for name, status in statuses.items():
        (folder / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("wanted", "nft", "iptables", "chosen"),
    [
        ("nftables", 0, 0, "nftables"),
        ("nftables", 1, 0, "iptables"),
        ("iptables", 0, 0, "iptables"),
        ("iptables", 0, 3, "nftables"),
    ],
)
async def test_kube_proxy_gets_the_mode_that_the_kernel_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, nft: int, iptables: int, chosen: str
) -> None:
    """The one asked for where it works, else the other."""
    programs(tmp_path, monkeypatch, nft=nft, iptables=iptables)
    assert await preflight.proxy_mode(wanted) == chosen


async def test_a_kernel_with_neither_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services could not work; the remedy names the modules."""
    programs(tmp_path, monkeypatch, nft=1, iptables=3)
    with pytest.raises(ClusterError, match="neither nftables nor iptables") as refused:
        await preflight.proxy_mode("nftables")
    assert "modprobe" in refused.value.remedy


def test_all_problems_are_refused_at_once() -> None:
    """One error carries every message and every remedy."""
    with pytest.raises(ClusterError) as refused:
        preflight.refuse([preflight.Problem("no disk", "free some"), preflight.Problem("no root", "use sudo")])
    assert str(refused.value) == "no disk; no root"
    assert refused.value.remedy == "free some; use sudo"


def test_nothing_is_refused_when_nothing_is_wrong() -> None:
    """An empty list passes."""
    preflight.refuse([])
