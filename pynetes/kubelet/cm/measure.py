"""What a cgroup has used, from its files on cgroups v1 and v2. A group that is gone, or a file that is not there, is 0.

Reading files costs microseconds each, so a scrape needs no copy that could be stale, and no thread that makes one.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pynetes.kubelet.cm.cgroups import MOUNT

#: What v1 writes for "no limit".
_UNLIMITED = 1 << 62
#: The kernel hands a file out in pieces of whole lines, about a page each: a shorter one is all there is.
_LARGEST, _PIECE = 64 << 10, 3000


@dataclass(slots=True)
class Measured:
    """Seconds and bytes since the group was made, or now."""

    cpu: float = 0.0
    cpu_user: float = 0.0
    cpu_system: float = 0.0
    periods: int = 0
    throttled: int = 0
    throttled_seconds: float = 0.0
    shares: int = 0
    #: In microseconds; -1 is no limit.
    quota: int = -1
    period: int = 0
    memory: int = 0
    working_set: int = 0
    rss: int = 0
    cache: int = 0
    mapped: int = 0
    swap: int = 0
    peak: int = 0
    limit: int = 0
    failures: int = 0
    faults: int = 0
    major_faults: int = 0
    processes: int = 0
    threads: int = 0
    read: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    #: How often, by device.
    reads: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    #: Processes that the kernel killed for want of memory.
    killed: int = 0
    #: Version 2: cpu, memory and io → seconds in which some, and in which all, processes waited for it.
    pressure: dict[str, tuple[float, float]] = field(default_factory=dict)


class Network(NamedTuple):
    """Counters of one interface: bytes, packets, errors, drops, received and sent."""

    name: str
    received: tuple[int, int, int, int]
    sent: tuple[int, int, int, int]


class Meter:
    """Reads groups by their path below the mount: /kubepods/podUID/ID."""

    def __init__(self, mount: Path = MOUNT) -> None:
        self._mount = mount
        self._unified = (mount / "cgroup.controllers").exists()

    def measure(self, path: str) -> Measured | None:
        """What the group has used; None when there is no such group."""
        below = path.strip("/")
        return self._v2(f"{self._mount}/{below}/") if self._unified else self._v1(below)

    def brief(self, path: str) -> Measured | None:
        """As measure, with CPU time and memory only: a third of the files."""
        below = path.strip("/")
        if self._unified:
            cpu = _pairs(_text(f"{self._mount}/{below}/cpu.stat")).get("usage_usec", 0) / 1e6
            stat = _text(f"{self._mount}/{below}/memory.stat")
            used = _number(_text(f"{self._mount}/{below}/memory.current"))
            inactive, swap = "inactive_file", _number(_text(f"{self._mount}/{below}/memory.swap.current"))
        else:
            cpu = _number(_text(f"{self._mount}/cpuacct/{below}/cpuacct.usage")) / 1e9
            stat = _text(f"{self._mount}/memory/{below}/memory.stat")
            used = _number(_text(f"{self._mount}/memory/{below}/memory.usage_in_bytes"))
            inactive, swap = "total_inactive_file", _one(stat, "total_swap")
        if not stat:
            return None
        return Measured(cpu=cpu, memory=used, working_set=max(used - _one(stat, inactive), 0), swap=swap)

    def processes(self, path: str) -> list[int]:
        """The processes directly in a group."""
        folder = f"{self._mount}/{path.strip('/')}" if self._unified else f"{self._mount}/cpu/{path.strip('/')}"
        return [int(each) for each in _text(f"{folder}/cgroup.procs").split()]

    def _v2(self, folder: str) -> Measured | None:
        cpu = _pairs(_text(folder + "cpu.stat"))
        if not cpu:
            return None
        memory = _pairs(_text(folder + "memory.stat"))
        used = _number(_text(folder + "memory.current")) or memory.get("anon", 0) + memory.get("file", 0)
        events = _pairs(_text(folder + "memory.events"))
        quota, _, period = _text(folder + "cpu.max").strip().partition(" ")
        found = Measured(
            cpu=cpu.get("usage_usec", 0) / 1e6,
            cpu_user=cpu.get("user_usec", 0) / 1e6,
            cpu_system=cpu.get("system_usec", 0) / 1e6,
            periods=cpu.get("nr_periods", 0),
            throttled=cpu.get("nr_throttled", 0),
            throttled_seconds=cpu.get("throttled_usec", 0) / 1e6,
            shares=_shares(_number(_text(folder + "cpu.weight"))),
            quota=int(quota) if quota.isdecimal() else -1,
            period=_number(period),
            memory=used,
            working_set=max(used - memory.get("inactive_file", 0), 0),
            rss=memory.get("anon", 0),
            cache=memory.get("file", 0),
            mapped=memory.get("file_mapped", 0),
            swap=_number(_text(folder + "memory.swap.current")),
            peak=_number(_text(folder + "memory.peak")),
            limit=_number(_text(folder + "memory.max")),
            failures=events.get("max", 0),
            killed=events.get("oom_kill", 0),
            pressure={kind: _pressure(_text(f"{folder}{kind}.pressure")) for kind in ("cpu", "memory", "io")},
            faults=memory.get("pgfault", 0),
            major_faults=memory.get("pgmajfault", 0),
            processes=_text(folder + "cgroup.procs").count("\n"),
            threads=_number(_text(folder + "pids.current")),
        )
        for line in _text(folder + "io.stat").splitlines():
            device, _, rest = line.partition(" ")
            amounts = dict(part.split("=", 1) for part in rest.split() if "=" in part)
            found.read[_device(device)] = int(amounts.get("rbytes", 0))
            found.written[_device(device)] = int(amounts.get("wbytes", 0))
            found.reads[_device(device)] = int(amounts.get("rios", 0))
            found.writes[_device(device)] = int(amounts.get("wios", 0))
        return found

    def _v1(self, below: str) -> Measured | None:
        def text(controller: str, name: str) -> str:
            return _text(f"{self._mount}/{controller}/{below}/{name}")

        usage = text("cpuacct", "cpuacct.usage")
        if not usage:
            return None
        stat, memory = _pairs(text("cpu", "cpu.stat")), _pairs(text("memory", "memory.stat"))
        used, limit = _number(text("memory", "memory.usage_in_bytes")), _number(text("memory", "memory.limit_in_bytes"))
        ticks = _pairs(text("cpuacct", "cpuacct.stat"))
        tick = os.sysconf("SC_CLK_TCK")
        found = Measured(
            cpu=_number(usage) / 1e9,
            cpu_user=ticks.get("user", 0) / tick,
            cpu_system=ticks.get("system", 0) / tick,
            periods=stat.get("nr_periods", 0),
            throttled=stat.get("nr_throttled", 0),
            throttled_seconds=stat.get("throttled_time", 0) / 1e9,
            shares=_number(text("cpu", "cpu.shares")),
            quota=_number(text("cpu", "cpu.cfs_quota_us")) or -1,
            period=_number(text("cpu", "cpu.cfs_period_us")),
            memory=used,
            working_set=max(used - memory.get("total_inactive_file", 0), 0),
            rss=memory.get("total_rss", 0),
            cache=memory.get("total_cache", 0),
            mapped=memory.get("total_mapped_file", 0),
            swap=memory.get("total_swap", 0),
            peak=_number(text("memory", "memory.max_usage_in_bytes")),
            limit=limit if limit < _UNLIMITED else 0,
            failures=_number(text("memory", "memory.failcnt")),
            killed=_pairs(text("memory", "memory.oom_control")).get("oom_kill", 0),
            faults=memory.get("total_pgfault", 0),
            major_faults=memory.get("total_pgmajfault", 0),
            processes=text("cpu", "cgroup.procs").count("\n"),
            threads=_number(text("pids", "pids.current")) or text("cpu", "tasks").count("\n"),
        )
        for name, read, written in (
            ("io_service_bytes", found.read, found.written),
            ("io_serviced", found.reads, found.writes),
        ):
            if name == "io_serviced" and not (found.read or found.written):
                break  # no bytes in no operations: a file less
            for line in text("blkio", f"blkio.throttle.{name}_recursive").splitlines():
                parts = line.split()
                if len(parts) == 3 and parts[1] in ("Read", "Write"):
                    amounts = read if parts[1] == "Read" else written
                    amounts[_device(parts[0])] = int(parts[2])
        return found


def mounted() -> list[tuple[str, str]]:
    """Block devices and a folder that each is mounted at; the first of several, which is the shortest way there."""
    found: dict[str, str] = {}
    for line in _text("/proc/self/mounts").splitlines():
        device, folder, *_ = line.split()
        if device.startswith("/dev/") and not device.startswith("/dev/loop"):
            found.setdefault(device, folder.replace("\\040", " "))
    return list(found.items())


def network_of(process: int) -> list[Network]:
    """The interfaces that a process sees, loopback apart; empty when it is gone."""
    found = []
    for line in _text(f"/proc/{process}/net/dev").splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = [int(each) for each in rest.split()]
        if name.strip() != "lo" and len(numbers) >= 12:
            received, sent = (numbers[0], numbers[1], numbers[2], numbers[3]), (*numbers[8:12],)
            found.append(Network(name.strip(), received, (sent[0], sent[1], sent[2], sent[3])))
    return found


def _pressure(text: str) -> tuple[float, float]:
    """Seconds of the lines "some" and "full" of a pressure file."""
    totals = {line.split(" ", 1)[0]: int(line.rpartition("total=")[2]) / 1e6 for line in text.splitlines()}
    return totals.get("some", 0.0), totals.get("full", 0.0)


def _text(path: str) -> str:
    # Without the layers of open(): a scrape reads some thousand files.
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        found = os.read(number, _LARGEST)
        while len(found) > _PIECE and (more := os.read(number, _LARGEST)):
            found += more
        return found.decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(number)


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isdecimal() else 0


def _one(text: str, name: str) -> int:
    """The number behind a name at the beginning of a line."""
    at = text.find(f"\n{name} ")
    return _number(text[at + len(name) + 2 :].partition("\n")[0]) if at >= 0 else 0


def _pairs(text: str) -> Mapping[str, int]:
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.isdecimal():
            found[name] = int(value)
    return found


def _shares(weight: int) -> int:
    """The shares that v1 would have: the formula by which runtimes turn shares into weights, backwards."""
    return 2 + (weight - 1) * 262142 // 9999 if weight else 0


@cache
def _device(number: str) -> str:
    """/dev/sda for 8:0; "" when the device has no name."""
    for line in _text(f"/sys/dev/block/{number}/uevent").splitlines():
        if line.startswith("DEVNAME="):
            return f"/dev/{line.partition('=')[2]}"
    return ""
