"""What a cluster could leave behind on a machine: everything that has a name outside of files."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

#: The cluster under test.
NAME = os.environ.get("PYNETES_E2E_CLUSTER", "e2e")


class Traces(NamedTuple):
    """Sets of names, to be compared before and after."""

    processes: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    interfaces: frozenset[str]
    nftables: frozenset[str]
    iptables: frozenset[str]
    cgroups: frozenset[str]
    folders: frozenset[str]


def traces() -> Traces:
    """Look at the machine."""
    return Traces(
        processes=frozenset(_processes()),
        mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        namespaces=frozenset(_lines("ip", "netns", "list")),
        interfaces=frozenset(line.split(": ")[1].split("@")[0] for line in _lines("ip", "-o", "link")),
        nftables=frozenset(_lines("nft", "list", "tables")),
        iptables=frozenset(line for line in _lines("iptables-save") if line.startswith(("-A", "-N"))),
        cgroups=frozenset(str(path) for path in Path("/sys/fs/cgroup").glob("**/pynetes-*")),
        folders=frozenset(str(path) for root in ("/run/pynetes", "/var/lib/pynetes") for path in Path(root).glob("*")),
    )


def _processes() -> set[str]:
    """Command lines of what belongs to the cluster: supervisor, components, shims."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"/pynetes/{NAME}" in line:
                found.add(line)
    return found


def _lines(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
