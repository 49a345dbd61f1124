"""A one-node cluster: how soon it is up, how soon a pod is Ready, and what it costs to do nothing.

Needs root and the Debian packages (`pynetes preflight --install`); images are packed before the clock starts.
"""

import contextlib
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from pynetes.cluster.config import Cluster
from pynetes.cluster.images import recipes, store

NAME = "bench"
PODS = 7
SETTLE, WINDOW = 20.0, 30.0
TICKS = os.sysconf("SC_CLK_TCK")


def pynetes(*argv: str) -> str:
    """Run the command; its output. Raises CalledProcessError."""
    command = [sys.executable, "-m", "pynetes.cmd.main", *argv]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def measure() -> list[Figure]:
    """All figures; the cluster is removed again."""
    cluster = Cluster(name=NAME)
    pynetes("reset", "--cluster", NAME, "--yes")
    store.pack(cluster.images)
    figures = [Figure(name="API server alone, ready", value=api_server_ready(), unit="s", limit=1.0)]
    try:
        began = time.monotonic()
        pynetes("up", "--cluster", NAME)
        took = time.monotonic() - began
        figures.append(Figure(name="up, until all nodes are Ready and DNS answers", value=took, unit="s", limit=10.0))
        ready = [pod_ready(cluster, f"bench-{number}") for number in range(PODS)]
        median = statistics.median(ready)
        figures.append(Figure(name="kubectl run to Ready, image present, median", value=median, unit="s", limit=0.7))
        figures += idle(cluster)
    finally:
        pynetes("reset", "--cluster", NAME, "--yes")
    return figures


def api_server_ready() -> float:
    """Seconds from starting the process on an empty SQLite store until /readyz answers 200."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        began = time.monotonic()
        flags = [f"--data-dir={folder}", f"--secure-port={port}", "--bind-address=127.0.0.1"]
        with subprocess.Popen(
            [sys.executable, "-m", "pynetes.cmd.main", "apiserver", *flags], stderr=subprocess.DEVNULL
        ) as server:
            try:
                while not _answers(port):
                    time.sleep(0.01)
                return time.monotonic() - began
            finally:
                server.terminate()


def _answers(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=1) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection.recv(100).startswith(b"HTTP/1.1 200")
    return False


def pod_ready(cluster: Cluster, name: str) -> float:
    """Seconds from starting kubectl until the pod is Ready, as a person at a terminal sees it."""
    kubectl = (
        subprocess.run(["sh", "-c", "command -v kubectl"], capture_output=True, text=True).stdout.strip() or "kubectl"
    )
    env = {**os.environ, "KUBECONFIG": str(cluster.admin_conf)}
    image = f"--image={recipes.BUSYBOX}"
    began = time.monotonic()
    subprocess.run(
        [kubectl, "run", name, image, "--command", "--", "sleep", "1000"], env=env, check=True, capture_output=True
    )
    wait = [kubectl, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s"]
    subprocess.run(wait, env=env, check=True, capture_output=True)
    took = time.monotonic() - began
    delete = [kubectl, "delete", "pod", name, "--grace-period=0", "--force"]
    subprocess.run(delete, env=env, check=True, capture_output=True)
    return took


def idle(cluster: Cluster) -> list[Figure]:
    """Processor time and memory of everything that belongs to the cluster, containers included."""
    time.sleep(SETTLE)
    before = {pid: ticks(pid) for pid in members(cluster)}
    began = time.monotonic()
    time.sleep(WINDOW)
    spent = sum(max(0, ticks(pid) - before[pid]) for pid in before)
    share = 100 * spent / TICKS / (time.monotonic() - began)
    resident = sum(memory(pid, "VmRSS", "status") for pid in members(cluster)) / 1024
    shared = sum(memory(pid, "Pss", "smaps_rollup") for pid in members(cluster)) / 1024
    return [
        Figure(name="idle, share of a core", value=share, unit="%", limit=5.0),
        Figure(name="idle, resident (shared pages counted once)", value=shared, unit="MB", limit=700.0),
        Figure(name="idle, resident (shared pages counted for each process)", value=resident, unit="MB"),
    ]


def members(cluster: Cluster) -> Iterator[int]:
    """Process ids: the supervised ones, the supervisor, the shims, and all in the cluster's cgroups."""
    supervised = {row["pid"] for row in json.loads(pynetes("status", "--cluster", NAME, "--json"))["processes"]}
    yield from supervised
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
            inside = f"pynetes-{NAME}/" in (entry / "cgroup").read_text()
            if pid not in supervised and (inside or f"{cluster.run}" in line):
                yield pid


def ticks(pid: int) -> int:
    """User and system time in clock ticks; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def memory(pid: int, field: str, file: str) -> int:
    """A field of /proc/PID/FILE in kB; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


MEASURE = measure
