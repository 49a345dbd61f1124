"""Memory that is freed goes back to the kernel."""

import platform
import subprocess
import sys

import pytest

#: Buffers as connections have them, with something small and lasting behind each, as a server's heap is.
PROGRAM = """
import sys
from pathlib import Path
from pynetes.component import allocator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "tuned":
    allocator.tune()
freed = bytearray(1 << 20)
del freed  # From here on glibc takes as much from the heap, unless it is told not to.
before, kept = resident(), []
buffers = []
for _ in range(100):
    buffers.append(bytearray(b"x") * (allocator.MAPPED + 64))
    kept.append(bytearray(4000))
buffers.clear()
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
@pytest.mark.parametrize(("how", "least", "most"), [("tuned", 0, 3), ("as it is", 20, 40)])
def test_buffers_of_connections_go_back(how: str, least: int, most: int) -> None:
    """25 MB of them; left alone glibc keeps what lies below the last small thing."""
    made = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    assert least <= int(made.stdout) <= most
