"""What the whole machine uses, from /proc."""

import os
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """CPU time since boot in core-seconds; memory in bytes."""

    cpu_seconds: float
    memory: int
    memory_free: int


def node() -> Usage:
    """The machine's usage now."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    # user, nice, system, irq, softirq, steal; idle and waiting for a disk are not work.
    busy = sum(fields[index] for index in (0, 1, 2, 5, 6, 7) if index < len(fields))
    sizes = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * 1024
    free = sizes.get("MemAvailable", 0)
    return Usage(busy / os.sysconf("SC_CLK_TCK"), sizes.get("MemTotal", 0) - free, free)
