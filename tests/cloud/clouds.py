"""Clouds for the contract suite: each a real API in front of a provider, and a way to play its outside."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import yaml

from pynetes.cloud import providers
from pynetes.cloud.localcloud import app
from pynetes.cloud.localcloud.cloud import Cloud
from pynetes.cloud.localcloud.config import Config, Machine
from pynetes.cloud.localcloud.plumbing import Paper
from pynetes.cloud.provider import Provider
from pynetes.cloud.providers import Settings
from pynetes.component.clock import Clock, SystemClock
from pynetes.pki import issue, layout
from pynetes.pki.layout import Authority, Leaf

CLUSTER = "trial"
NODES = ("n1", "n2", "n3")


class Site(Protocol):
    """A cloud with three instances n1, n2, n3, whose outside the test plays."""

    provider: Provider
    #: The nodes' names.
    nodes: tuple[str, ...]

    async def instance_id(self, node: str) -> str:
        """The ID of a node's instance."""

    async def stop(self, node: str) -> None:
        """Shut an instance down behind the provider's back."""

    async def terminate(self, node: str) -> None:
        """Destroy it."""

    async def another(self, cluster: str) -> Provider:
        """The same cloud as another cluster sees it."""

    def changes(self) -> int:
        """How many calls that change something the cloud has seen so far."""


@dataclass
class Local:
    """The local cloud with its machine on paper."""

    provider: Provider
    cloud: Cloud
    paper: Paper
    url: str
    ca: Path
    stack: AsyncExitStack = field(repr=False)
    nodes: tuple[str, ...] = NODES

    async def instance_id(self, node: str) -> str:
        return f"i-{node}"

    async def stop(self, node: str) -> None:
        await self.cloud.act(f"i-{node}", "stop")

    async def terminate(self, node: str) -> None:
        await self.cloud.act(f"i-{node}", "terminate")

    async def another(self, cluster: str) -> Provider:
        return await connected(self.stack, self.url, self.ca, cluster=cluster)

    def changes(self) -> int:
        return len(self.paper.done)


def config(folder: Path) -> Config:
    """A cloud with three instances."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    if not key.exists():
        write_certificate(certificate, key)
    return Config(
        cluster=CLUSTER,
        state=folder / "state",
        certificate=certificate,
        key=key,
        tokens={"controller": "right"},
        instances=tuple(
            Machine(id=f"i-{name}", name=name, address=f"10.0.0.{number}", zone=f"local-{'abc'[number - 1]}")
            for number, name in enumerate(NODES, 1)
        ),
        port=0,
        haproxy_config=str(folder / "haproxy.cfg"),
    )


def write_certificate(certificate: Path, key: Path) -> None:
    """For 127.0.0.1, with its authority in the same file, so that the file is the trust as well."""
    now, own = datetime.now(UTC), Authority("ca", "cloud-ca")
    authority = issue.authority(own.common_name, now)
    names = layout.names("localhost", "127.0.0.1")
    made = issue.leaf(Leaf("tls", own, "local-cloud", server=True, names=names), authority, now)
    certificate.write_bytes(made.certificate_pem + authority.certificate_pem)
    key.write_bytes(made.key_pem)


async def connected(
    stack: AsyncExitStack,
    url: str,
    ca: Path,
    *,
    cluster: str = CLUSTER,
    token: str = "right",
    clock: Clock | None = None,
) -> Provider:
    """A provider of the local cloud at url."""
    text = yaml.safe_dump({"endpoint": url, "token": token, "certificateAuthority": str(ca)})
    settings = Settings(config=text, cluster=cluster, clock=clock or SystemClock())
    provider = await providers.connect("local", settings)
    stack.push_async_callback(provider.close)
    return provider


@asynccontextmanager
async def local(folder: Path, *, clock: Clock | None = None) -> AsyncIterator[Local]:
    """The local cloud over HTTPS."""
    async with AsyncExitStack() as stack:
        paper = Paper()
        given = config(folder)
        cloud, port = await app.serve(given, paper, clock or SystemClock(), stack)
        url = f"https://127.0.0.1:{port}"
        provider = await connected(stack, url, given.certificate)
        yield Local(provider, cloud, paper, url, given.certificate, stack)
