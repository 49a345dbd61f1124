"""The API server: single GETs, full LISTs, creates, the fan-out of watches, its start and its memory.

    python -m bench apiserver                      starts one on an etcd with mutual TLS, beside a bare TLS server
    python -m bench.apiserver --server https://127.0.0.1:6443 --token T [--ca CA] [--pods 6900] [FIGURE…]
                                                   any API server that is given by URL
    python -m bench.apiserver --server URL --token T --pods 1000,10000,50000 --peer URL --peer-token T
                                                   beside another, as the number of objects grows

Limits that name upstream are kube-apiserver 1.36.2's figures on two cores with etcd over mutual TLS, times what ours is
to be better. The client shares the machine with what it measures, so ratios to the bare server count most.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TypeAlias

import orjson
import uvloop

from bench import client
from bench.client import Load, Target
from bench.figures import Figure

NAMESPACE = "bench"
PODS = 6900
SECONDS, ROUNDS = 6.0, 3
WATCHERS, WRITES = 1000, 100
#: Pods that are read and patched one at a time.
NAMED = 16
TOKEN = "bench"
#: What four times upstream's GETs, and 1.2 times its creates, are of the bare server's GETs where all were measured:
#: 2,200 and 745 beside 28,000 a second.
GET_SHARE, CREATE_SHARE = 4 * 2200 / 28000, 1.2 * 745 / 28000
POD_PATH = f"/api/v1/namespaces/{NAMESPACE}/pods"
_numbers = count()
_RUN = int(time.time())


def pod(name: str = "") -> bytes:
    """A pod of about the size that a cluster's pods have once they run, by default under a name that is new."""
    env = [{"name": f"VARIABLE_{i}", "value": "x" * 40} for i in range(16)]
    container = {"name": "main", "image": "registry.example.com/team/app:1.2.3", "env": env}
    metadata = {"name": name or f"pod-{_RUN}-{next(_numbers)}", "labels": {"app": "bench"}}
    return orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})


def config_map(number: int) -> bytes:
    """What the watchers watch."""
    metadata = {"name": "watched", "namespace": NAMESPACE}
    return orjson.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"number": str(number)}}
    )


async def prepare(target: Target, pods: int) -> None:
    """The namespace with its account, the watched object, and as many pods."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    for path, obj in (("", space), (f"/{NAMESPACE}/serviceaccounts", account)):
        request = target.request("POST", f"/api/v1/namespaces{path}", orjson.dumps(obj))
        await client.load(target, lambda sent=request: sent, connections=1, count=1)  # type: ignore[misc]
    made = target.request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", config_map(-1))
    await client.load(target, lambda: made, connections=1, count=1)
    for number in range(NAMED):
        named = target.request("POST", POD_PATH, pod(f"named-{number}"))
        await client.load(target, lambda sent=named: sent, connections=1, count=1)  # type: ignore[misc]
    await client.load(target, lambda: target.request("POST", POD_PATH, pod()), connections=16, count=pods)


async def gets(target: Target, seconds: float) -> Load:
    """One pod, on 16 connections."""
    request = target.request("GET", f"{POD_PATH}/named-0")
    return await client.load(target, lambda: request, connections=16, seconds=seconds)


async def lists(target: Target, seconds: float) -> Load:
    """All pods, on 4 connections."""
    request = target.request("GET", "/api/v1/pods")
    return await client.load(target, lambda: request, connections=4, seconds=seconds)


async def zipped(target: Target, seconds: float) -> Load:
    """All pods as client-go asks for them, on 4 connections."""
    request = target.request("GET", "/api/v1/pods", b"", "Accept-Encoding: gzip")
    await client.load(target, lambda: request, connections=1, count=1)
    return await client.load(target, lambda: request, connections=4, seconds=seconds)


async def creates(target: Target, seconds: float) -> Load:
    """Pods, on 16 connections."""
    return await client.load(target, lambda: target.request("POST", POD_PATH, pod()), connections=16, seconds=seconds)


async def patches(target: Target, seconds: float) -> Load:
    """Statuses of a few pods, on as many connections."""

    def request() -> bytes:
        number = next(_numbers)
        condition = {"type": "Ready", "status": "True", "message": f"{number:012}"}
        body = orjson.dumps({"status": {"phase": "Running", "conditions": [condition]}})
        path = f"{POD_PATH}/named-{number % NAMED}/status"
        return target.request("PATCH", path, body, media="application/strategic-merge-patch+json")

    return await client.load(target, request, connections=NAMED, seconds=seconds)


async def watches(target: Target) -> float:
    """Events a second to many watchers of one object."""
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    selected = f"{path}?watch=true&fieldSelector=metadata.name%3Dwatched"
    return await client.fan_out(
        target,
        selected,
        lambda number: target.request("PUT", f"{path}/watched", config_map(number)),
        watchers=WATCHERS,
        writes=WRITES,
    )


LOADS: dict[str, Callable[[Target, float], Awaitable[Load]]] = {
    "gets": gets, "lists": lists, "zipped": zipped, "creates": creates, "patches": patches,
}  # fmt: skip


class Started:
    """A process of ours that serves on a port of this machine."""

    def __init__(self, process: "subprocess.Popen[str]", target: Target) -> None:
        self.process, self.target = process, target

    @property
    def resident(self) -> float:
        """MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def processor(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def started(*argv: str, url: str = "", **target: str) -> Iterator[Started]:
    """Run a module of Python; without a URL its first line is its port."""
    with subprocess.Popen(
        [sys.executable, "-m", *argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = url or f"https://127.0.0.1:{process.stdout.readline().strip()}"
            yield Started(process, Target(url=url, **target))
        finally:
            process.terminate()


async def answering(target: Target) -> None:
    """Until /readyz says 200."""
    request = target.request("GET", "/readyz")
    while True:
        with contextlib.suppress(OSError):
            if not (await client.load(target, lambda: request, connections=1, count=1)).failures:
                return
        await asyncio.sleep(0.01)


def flags(folder: Path, endpoint: str, port: int) -> tuple[str, ...]:
    """How `started` runs ours, on an etcd whose certificates are in the folder; who shows TOKEN may do everything."""
    (folder / "tokens.csv").write_text(f"{TOKEN},admin,1,system:masters\n")
    return (
        "pynetes.cmd.main", "apiserver", "--bind-address=127.0.0.1", f"--secure-port={port}",
        f"--etcd-servers={endpoint}", f"--etcd-cafile={folder}/ca.crt",
        f"--etcd-certfile={folder}/client.crt", f"--etcd-keyfile={folder}/client.key",
        f"--tls-cert-file={folder}/server.crt", f"--tls-private-key-file={folder}/server.key",
        f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=Node,RBAC",
    )  # fmt: skip


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _api_server(folder: Path, endpoint: str) -> list[Figure]:
    port = free_port()
    argv = flags(folder, endpoint, port)
    began = time.perf_counter()
    with started(*argv, url=f"https://127.0.0.1:{port}", token=TOKEN) as server:
        await answering(server.target)
        ready, first = time.perf_counter() - began, server.resident
        await prepare(server.target, PODS)
        found = [
            Figure(name="ready, on an empty etcd (upstream 2.8 s)", value=ready, unit="s", limit=0.93),
            Figure(name="resident when ready (upstream 275 MB)", value=first, unit="MB", limit=92),
            Figure(name=f"resident with {PODS} pods", value=server.resident, unit="MB"),
        ]
        request = server.target.request("GET", "/api/v1/pods")
        size = (await client.load(server.target, lambda: request, connections=1, count=1)).size
        with started("bench.bare", f"{folder}/server.crt", f"{folder}/server.key", "4300", str(size)) as bare:
            get, bare_get = await _alternating(server, bare, gets, "/small", 16)
            listed, bare_listed = await _alternating(server, bare, lists, "/large", 4)
        zipped_load, create = await _spent(server, zipped, SECONDS), await _spent(server, creates, SECONDS)
        patch = await _spent(server, patches, SECONDS)
        fan_out = await watches(server.target)
        last = server.resident
    with started(*argv, "--workers=2", url=f"https://127.0.0.1:{port}", token=TOKEN) as pair:
        await answering(pair.target)
        both = {name: await LOADS[name](pair.target, SECONDS) for name in ("gets", "creates")}
    return [
        *found,
        *_reads(get, bare_get, listed, bare_listed, size),
        Figure(name="LIST with gzip (upstream 12/s)", value=zipped_load[0].rate, unit="/s", limit=120, at_most=False),
        Figure(name="creates of a pod (upstream 745/s)", value=create[0].rate, unit="/s"),
        Figure(
            name="creates, beside the bare server's GETs",
            value=create[0].rate / bare_get[0].rate,
            unit="",
            limit=CREATE_SHARE,
            at_most=False,
        ),
        Figure(name="creates of a pod, p99", value=create[0].percentile(0.99), unit="ms"),
        Figure(name="creates, processor time per request", value=create[1], unit="ms"),
        Figure(name="status patches of pods", value=patch[0].rate, unit="/s"),
        Figure(name="status patches, processor time per request", value=patch[1], unit="ms"),
        *(Figure(name=f"{name} with --workers 2", value=load.rate, unit="/s") for name, load in both.items()),
        Figure(
            name=f"events/s to {WATCHERS} watchers of one object, {WRITES} writes (upstream 20,000)",
            value=fan_out,
            unit="/s",
            limit=40_000,
            at_most=False,
        ),
        Figure(name="resident after all of it (upstream 700 MB)", value=last, unit="MB", limit=233),
    ]


Measured: TypeAlias = tuple[Load, float]


async def _spent(server: Started, load: Callable[[Target, float], Awaitable[Load]], seconds: float) -> Measured:
    """The load, and the server's processor time per answer in milliseconds."""
    before = server.processor
    found = await load(server.target, seconds)
    if found.failures:
        raise RuntimeError(f"the server answered {found.failures}")
    return found, (server.processor - before) / len(found.times) * 1e3


async def _alternating(
    server: Started, bare: Started, ours: Callable[[Target, float], Awaitable[Load]], path: str, connections: int
) -> tuple[Measured, Measured]:
    """Ours and the bare server in turns, so that what else the machine does burdens both alike."""
    request = bare.target.request("GET", path)

    async def theirs(target: Target, seconds: float) -> Load:
        return await client.load(target, lambda: request, connections=connections, seconds=seconds)

    pairs = ((server, ours, Load()), (bare, theirs, Load()))
    before = [each.processor for each, _, _ in pairs]
    for _ in range(ROUNDS):
        for each, load, found in pairs:
            found += await load(each.target, SECONDS / ROUNDS)
    if pairs[0][2].failures:
        raise RuntimeError(f"the server answered {pairs[0][2].failures}")
    costs = [
        (each.processor - then) / len(found.times) * 1e3 for (each, _, found), then in zip(pairs, before, strict=True)
    ]
    return (pairs[0][2], costs[0]), (pairs[1][2], costs[1])


def _reads(get: Measured, bare_get: Measured, listed: Measured, bare_listed: Measured, size: int) -> list[Figure]:
    """Single objects and whole lists beside the bare server, in rates and in the processor time of one answer."""
    return [
        Figure(name="GET of a pod (upstream 2,200/s)", value=get[0].rate, unit="/s"),
        Figure(name="bare server, the same bytes", value=bare_get[0].rate, unit="/s"),
        Figure(
            name="GET of a pod, share of the bare server's rate",
            value=get[0].rate / bare_get[0].rate,
            unit="",
            limit=GET_SHARE,
            at_most=False,
        ),
        Figure(name="GET of a pod, p50 (upstream 6 ms)", value=get[0].percentile(0.5), unit="ms"),
        Figure(name="GET of a pod, p99", value=get[0].percentile(0.99), unit="ms"),
        Figure(name="GET, processor time beside the bare server's", value=get[1] / bare_get[1], unit="×"),
        Figure(name=f"LIST of {PODS} pods, {size / 1e6:.0f} MB (upstream 6.5/s)", value=listed[0].rate, unit="/s"),
        Figure(name="bare server, the same bytes", value=bare_listed[0].rate, unit="/s"),
        Figure(
            name="LIST, share of the bare server's rate",
            value=listed[0].rate / bare_listed[0].rate,
            unit="",
            limit=0.8,
            at_most=False,
        ),
        Figure(name="LIST, processor time beside the bare server's", value=listed[1] / bare_listed[1], unit="×"),
    ]


async def _measure(folder: Path) -> list[Figure]:
    # Only here: it belongs to the tests, and `--server` needs none of them.
    from bench.storage import bare
    from pynetes.component.tracing import Recorder
    from pynetes.storage.etcd import EtcdBackend
    from tests.contract.etcd_server import EtcdServer

    etcd = EtcdServer(folder)
    await etcd.start()
    try:
        found = await _api_server(folder, etcd.endpoint)
        backend = EtcdBackend([etcd.endpoint], etcd.credentials(), recorder=Recorder())
        own = await bare(backend)
        await backend.close()
    finally:
        await etcd.kill()
    made = next(figure.value for figure in found if figure.name.startswith("creates of a pod ("))
    share = Figure(name="creates, share of etcd's own puts", value=made / own, unit="")
    return [*found, Figure(name="etcd's own puts", value=own, unit="/s"), share]


def measure() -> list[Figure]:
    """All figures; none without etcd."""
    if shutil.which("etcd") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(_measure(Path(folder)))


async def against(targets: Sequence[Target], pods: Sequence[int], seconds: float, figures: Sequence[str]) -> None:
    """Print the figures of API servers that run already, one beside the other, as their pods become more."""
    there = 0
    for wanted in pods:
        for target in targets:
            await prepare(target, wanted - there)
        there = wanted
        for name in figures:
            shown = [await _figure(target, name, seconds) for target in targets]
            rates = [rate for rate, _ in shown]
            ratio = f"  {rates[0] / rates[1]:6.2f} ×" if len(rates) > 1 and rates[1] else ""
            print(f"{wanted:6} pods  {name:8} {'  |  '.join(text for _, text in shown)}{ratio}", flush=True)


async def _figure(target: Target, name: str, seconds: float) -> tuple[float, str]:
    if name == "watches":
        rate = await watches(target)
        return rate, f"{rate:9.1f}/s"
    found = await LOADS[name](target, seconds)
    times = f"p50 {found.percentile(0.5):8.2f} ms  p99 {found.percentile(0.99):8.2f} ms"
    return found.rate, f"{found.rate:9.1f}/s  {times}" + (f"  FAILED {found.failures}" if found.failures else "")


def arguments() -> argparse.Namespace:
    """What `--server` is measured with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--peer", default="", help="another API server to measure beside it")
    for side, whose in (("", "the server's"), ("peer-", "the peer's")):
        parser.add_argument(f"--{side}token", default="", help=f"{whose} bearer token")
        parser.add_argument(f"--{side}cert", default="", help=f"{whose} client certificate")
        parser.add_argument(f"--{side}key", default="", help="its key")
        parser.add_argument(f"--{side}ca", default="", help=f"{whose} PEM bundle; without it it is not verified")
    parser.add_argument("--pods", default="1", help="pods to make before measuring; several numbers, rising: growth")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("figures", nargs="*", default=[*LOADS, "watches"], help=f"of {', '.join(LOADS)}, watches")
    return parser.parse_args()


MEASURE = measure

if __name__ == "__main__":
    given = arguments()
    known = [Target(url=given.server, token=given.token, ca=given.ca, certificate=given.cert, key=given.key)]
    if given.peer:
        known.append(
            Target(
                url=given.peer,
                token=given.peer_token,
                ca=given.peer_ca,
                certificate=given.peer_cert,
                key=given.peer_key,
            )
        )
    uvloop.run(against(known, [int(number) for number in given.pods.split(",")], given.seconds, given.figures))
