"""The cloud controller manager at rest with a thousand nodes: calls per kind and minute, counted at the cloud.

An API server in memory, the cloud's HTTPS API with its machine on paper, and managers: each a process of its own but
for the cloud, which counts.
"""

import asyncio
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import yaml

from bench.figures import Figure
from pynetes.apis.core import nodes
from pynetes.client.rest import Client
from pynetes.cloud import names
from pynetes.cloud.localcloud import api, app
from pynetes.cloud.localcloud.cloud import Cloud
from pynetes.cloud.localcloud.config import Config, Machine
from pynetes.cloud.localcloud.plumbing import Paper
from pynetes.component.clock import SystemClock
from pynetes.component.tasks import gather_limited
from pynetes.machinery.meta import Object
from pynetes.paths.scene import eventually
from pynetes.pki import issue, layout
from pynetes.pki.layout import Authority, Leaf

NODES, MINUTES = 1000, 3
CODES = ("200", "400", "401", "403", "404", "409", "422", "503")
CLUSTER, TOKEN = "rest", "of-the-managers"


@dataclass
class Site:
    """An API server and a cloud; `manager` starts a cloud controller manager."""

    folder: Path
    client: Client
    cloud: Cloud
    paper: Paper
    #: Requests that the cloud's API had before this one was made: the counter is the process's.
    _before: dict[str, float] = field(
        default_factory=lambda: {each.name: _requests(each.name) for each in api.OPERATIONS}
    )

    async def manager(self, *flags: str) -> asyncio.subprocess.Process:
        """A process of its own; end it yourself."""
        port = free_port()
        argv = (
            "cloud-controller-manager", "--cloud-provider=local", f"--cloud-config={self.folder}/cloud-config.yaml",
            f"--cluster-name={CLUSTER}", f"--kubeconfig={self.folder}/kubeconfig", "--cluster-cidr=10.0.0.0/8",
            "--allocate-node-cidrs=true", "--bind-address=127.0.0.1", f"--secure-port={port}", *flags,
        )  # fmt: skip
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "pynetes.cmd.main", *argv)

    def requests(self) -> dict[str, int]:
        """How often each operation of the cloud's API was asked for, those that never were left out."""
        now = {each.name: int(_requests(each.name) - self._before[each.name]) for each in api.OPERATIONS}
        return {name: count for name, count in now.items() if count}


def _requests(operation: str) -> float:
    return sum(api.REQUESTS.value(operation, code) for code in CODES)


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def site(folder: Path, machines: int) -> AsyncIterator[Site]:
    """An API server in memory, and a cloud with so many instances i-n1, i-n2, …"""
    async with AsyncExitStack() as stack:
        paper = Paper()
        cloud, port = await app.serve(_cloud_config(folder, machines), paper, SystemClock(), stack)
        given = {
            "endpoint": f"https://127.0.0.1:{port}",
            "token": TOKEN,
            "certificateAuthority": str(folder / "ca.crt"),
        }
        (folder / "cloud-config.yaml").write_text(yaml.safe_dump(given))
        client = await _api_server(folder, stack)
        yield Site(folder, client, cloud, paper)


def _cloud_config(folder: Path, machines: int) -> Config:
    now, own = datetime.now(UTC), Authority("ca", "cloud-ca")
    authority = issue.authority(own.common_name, now)
    answering = layout.names("localhost", "127.0.0.1")
    made = issue.leaf(Leaf("tls", own, "local-cloud", server=True, names=answering), authority, now)
    (folder / "ca.crt").write_bytes(authority.certificate_pem)
    (folder / "tls.crt").write_bytes(made.certificate_pem)
    (folder / "tls.key").write_bytes(made.key_pem)
    return Config(
        cluster=CLUSTER, state=folder / "cloud", certificate=folder / "tls.crt", key=folder / "tls.key",
        tokens={"controller": TOKEN}, port=0, haproxy_config=str(folder / "haproxy.cfg"),
        instances=tuple(Machine(id=f"i-n{n}", name=f"n{n}", address=_address(n)) for n in range(1, machines + 1)),
    )  # fmt: skip


def _address(number: int) -> str:
    return f"192.0.{number >> 8}.{number & 255}"


async def _api_server(folder: Path, stack: AsyncExitStack) -> Client:
    port = free_port()
    (folder / "tokens.csv").write_text("t,admin,1,system:masters\n")
    argv = (f"--secure-port={port}", "--bind-address=127.0.0.1", f"--cert-dir={folder}/certs",
            f"--token-auth-file={folder}/tokens.csv")  # fmt: skip
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "pynetes.cmd.main", "apiserver", *argv)
    stack.push_async_callback(ended, process)
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))
    client = Client.from_kubeconfig(str(folder / "kubeconfig"))
    stack.push_async_callback(client.close)

    async def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await eventually(ready, "the API server does not answer", within=60)
    return client


async def ended(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, and wait."""
    if process.returncode is None:
        process.terminate()
    await process.wait()


def node(number: int) -> Object:
    """The node of an instance, as its kubelet and its cloud have left it."""
    name = f"n{number}"
    labels = {names.ZONE: "local-a", names.REGION: "local", names.INSTANCE_TYPE: "local.standard"}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": f"local:///local-a/i-{name}", "podCIDR": f"10.{number >> 8}.{number & 255}.0/24"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": _address(number)}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


async def _create(client: Client, number: int) -> None:
    await client.create(nodes.RESOURCE, node(number))


def measure() -> list[Figure]:
    """Calls in the busiest minute of each kind, and all of them together."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Figure]:
    async with site(folder, NODES) as made:
        await gather_limited([partial(_create, made.client, number) for number in range(1, NODES + 1)], limit=20)
        manager = await made.manager()
        try:

            async def routed() -> bool:
                return len(made.cloud.state.of("routes")) == NODES

            await eventually(routed, "not all nodes have their route", within=300)
            # The calls that follow from the start itself are no rest.
            await asyncio.sleep(30)
            seconds = [made.requests()]
            for _ in range(60 * MINUTES):
                await asyncio.sleep(1)
                seconds.append(made.requests())
        finally:
            await ended(manager)
    return _figures(seconds)


def _figures(seconds: list[dict[str, int]]) -> list[Figure]:
    """From the counts at each second."""
    grown = {name: seconds[-1][name] - seconds[0].get(name, 0) for name in seconds[-1]}
    # A window of 59 seconds: what comes once a minute may come a little early.
    figures = [
        Figure(
            name=f"{name}, most in a minute at rest with {NODES} nodes",
            value=float(
                max(late[name] - early.get(name, 0) for early, late in zip(seconds, seconds[59:], strict=False))
            ),
            unit="calls",
            limit=1.0,
        )
        for name in grown
        if name.startswith("list")
    ]
    others = sum(count for name, count in grown.items() if not name.startswith("list"))
    figures.append(
        Figure(name=f"other calls in {MINUTES} minutes at rest", value=float(others), unit="calls", limit=0.0)
    )
    return figures


MEASURE = measure
