"""What can happen to a machine under a cluster: losing power, seen from the next boot."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path


def crash(cluster: str) -> None:
    """Take away all that a reboot would: processes, mounts, namespaces, interfaces, rules, /run. Files on disk stay.

    Written without the code under test, which `reset` uses to find the same things."""
    run = Path("/run/pynetes") / cluster
    while pids := _pids(cluster):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in sorted((place for place in places if f"/pynetes/{cluster}/" in place), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", place], check=False)
    for space in _spaces(cluster):
        subprocess.run(["ip", "netns", "delete", space], check=False)
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    for link in re.findall(r"^\d+: (py[nc]-\w+|pyv\w+-\d+)", links, re.MULTILINE):
        subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)
    for table in (f"ip pynetes-{cluster}", "ip kube-proxy"):
        subprocess.run(["nft", "delete", "table", *table.split()], capture_output=True, check=False)
    shutil.rmtree(run)


def _pids(cluster: str) -> set[int]:
    """By the environment they were started with, and by the cgroups of pods."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"PYNETES_RUN=/run/pynetes/{cluster}\0".encode() in (entry / "environ").read_bytes() + b"\0":
                    found.add(int(entry.name))
    for procs in Path("/sys/fs/cgroup").glob(f"**/pynetes-{cluster}/**/cgroup.procs"):
        with contextlib.suppress(OSError):
            found |= {int(line) for line in procs.read_text().split()}
    return found


def _spaces(cluster: str) -> set[str]:
    results = Path("/var/lib/cni/results").glob(f"pynetes-{cluster}-*")
    pods = {name for path in results for name in re.findall(r"cni-[0-9a-f-]{36}", path.read_text())}
    return pods | {path.name for path in Path("/run/netns").glob(f"pynetes-{cluster}-*")}
