"""Files that the kubelet writes and reads: volumes, hosts, resolv.conf, logs."""

import asyncio
from pathlib import Path

import pytest

from pynetes.component.clock import SystemClock
from pynetes.kubelet import hosts, logs
from pynetes.kubelet.env import BadConfig
from pynetes.kubelet.volumes import atomic, subpath
from pynetes.kubelet.volumes.atomic import File


def test_atomic_writes(tmp_path: Path) -> None:
    """Names link through ..data, which moves at once; what is gone disappears; equal contents change nothing."""
    assert atomic.write(tmp_path, {"a": File(b"1"), "deep/b": File(b"2", 0o400)})
    assert (tmp_path / "a").read_bytes() == b"1"
    assert (tmp_path / "deep" / "b").stat().st_mode & 0o777 == 0o400
    first = (tmp_path / "..data").readlink()
    assert not atomic.write(tmp_path, {"a": File(b"1"), "deep/b": File(b"2", 0o400)})
    assert atomic.write(tmp_path, {"a": File(b"3")})
    assert (tmp_path / "a").read_bytes() == b"3"
    assert not (tmp_path / "deep").exists()
    assert not (tmp_path / first).exists()
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..")) == ["a"]


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../x"])
def test_sub_paths_stay_inside(tmp_path: Path, path: str) -> None:
    """Neither absolute nor upwards."""
    with pytest.raises(BadConfig):
        subpath.prepare(tmp_path, path, tmp_path / "target")


def test_sub_paths_do_not_follow_links_out(tmp_path: Path) -> None:
    """A link that a container has laid leads nowhere outside of the volume."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "out").symlink_to("/etc")
    with pytest.raises(BadConfig, match="leads out of the volume"):
        subpath.prepare(volume, "out", tmp_path / "target")


def _pod(**spec: object) -> dict[str, object]:
    return {"metadata": {"name": "p" * 70, "namespace": "d", "uid": "u"}, "spec": {"containers": [], **spec}}


def test_resolv_conf(tmp_path: Path) -> None:
    """The cluster's servers and search domains come before the node's; Default is the node's own."""
    node = tmp_path / "resolv.conf"
    node.write_text("nameserver 1.1.1.1\nsearch corp.example\noptions timeout:1\n")
    dns = hosts.Dns(servers=["10.96.0.10"], node_file=node)
    made = hosts.dns_config(_pod(), dns)
    assert list(made.servers) == ["10.96.0.10"]
    assert list(made.searches) == ["d.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"]
    assert list(made.options) == ["ndots:5"]
    own = hosts.dns_config(_pod(dnsPolicy="Default"), dns)
    assert (list(own.servers), list(own.options)) == (["1.1.1.1"], ["timeout:1"])
    assert list(hosts.dns_config(_pod(hostNetwork=True), dns).servers) == ["1.1.1.1"]
    kept = hosts.dns_config(_pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"), dns)
    assert list(kept.servers) == ["10.96.0.10"]


def test_hosts_file() -> None:
    """The pod's name is cut to 63 characters and stands with its domain."""
    text = hosts.hosts_file(_pod(subdomain="web"), ["10.0.0.1"], hosts.Dns())
    name = "p" * 63
    assert f"10.0.0.1\t{name}.web.d.svc.cluster.local\t{name}\n" in text


def _log(path: Path) -> None:
    lines = [f"2026-01-01T00:00:0{i}.5Z stdout F line{i}" for i in range(4)]
    path.write_text(
        "\n".join([*lines, "2026-01-01T00:00:05Z stderr P half", "2026-01-01T00:00:05Z stderr F whole", ""])
    )


async def _read(path: Path, options: logs.Options) -> str:
    return b"".join([chunk async for chunk in logs.read(path, options, SystemClock(), lambda: False)]).decode()


async def test_logs_are_cut(tmp_path: Path) -> None:
    """By lines from the end (parts of a line count once), by bytes, by time and by stream."""
    path = tmp_path / "log"
    _log(path)
    assert await _read(path, logs.Options(tail=2)) == "line3\nhalfwhole\n"
    assert await _read(path, logs.Options(tail=0)) == ""
    assert await _read(path, logs.Options(limit=7)) == "line0\nl"
    assert await _read(path, logs.Options(stream="stderr")) == "halfwhole\n"
    assert (await _read(path, logs.Options(tail=2, timestamps=True))).startswith("2026-01-01T00:00:03.5Z line3\n")
    assert logs.end_of(path, lines=1, limit=100) == "halfwhole\n"


async def test_following_outlives_rotation(tmp_path: Path) -> None:
    """A follower reads on in the file that takes the name, and ends with the container."""
    path = tmp_path / "log"
    path.write_text("2026-01-01T00:00:00Z stdout F one\n")
    running, seen = True, []

    async def follow() -> None:
        async for chunk in logs.read(path, logs.Options(follow=True), SystemClock(), lambda: running):
            seen.append(chunk)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(follow())
        while b"one\n" not in seen:
            await asyncio.sleep(0)
        path.rename(tmp_path / "log.1")
        path.write_text("2026-01-01T00:00:01Z stdout F two\n")
        while b"two\n" not in seen:
            await asyncio.sleep(0)
        running = False
    assert b"".join(seen) == b"one\ntwo\n"
