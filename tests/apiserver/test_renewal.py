"""Certificates and authorities are replaced under a client that keeps asking: it never notices."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.apis.core import configmaps
from pynetes.apiserver import app
from pynetes.apiserver.config import Config
from pynetes.apiserver.server import TLS
from pynetes.client import kubeconfig as kubeconfigs
from pynetes.client.rest import Client
from pynetes.client.transport import NetworkTransport, Unreachable
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key
from pynetes.pki import issue, kubeconfig, renew, rotate
from pynetes.pki.layout import CLUSTER_CA, FRONT_PROXY_CA, Hosts, Layout
from pynetes.storage.memory import MemoryBackend

EXTENSION = Key("kube-system", "extension-apiserver-authentication")


@pytest.fixture
async def layout(tmp_path: Path) -> AsyncIterator[Layout]:
    """A server started from the files of a cluster's directory."""
    made = Layout(tmp_path)
    renew.ensure(made, Hosts(node_name="n", addresses=("127.0.0.1",)))
    pair, ca, proxies = made.pair("apiserver"), made.pair("ca").certificate, made.pair("front-proxy-ca").certificate
    config = Config(
        bind_address="127.0.0.1",
        secure_port=0,
        client_ca_file=str(ca),
        requestheader_client_ca_file=str(proxies),
        authorization_mode=("RBAC",),
    )
    tls = TLS(certificate=str(pair.certificate), key=str(pair.key), client_cas=(str(ca), str(proxies)))
    async with app.running(app.build(config, MemoryBackend()), tls=tls) as server:
        for path in tmp_path.glob("*.conf"):
            path.write_bytes(path.read_bytes().replace(b":6443", f":{server.port}".encode()))
        yield made


async def test_renewal_under_load(layout: Layout) -> None:
    """Every file is issued anew and every authority replaced, step by step, while requests and a watch go on."""
    client = Client.from_kubeconfig(str(layout.kubeconfig("super-admin.conf")), component="load")
    asked, seen, stop = 0, 0, asyncio.Event()

    async def load() -> None:
        nonlocal asked
        while not stop.is_set():
            await client.list(configmaps.RESOURCE, namespace="default")
            asked += 1

    async def watch() -> None:
        nonlocal seen
        async with client.watch(configmaps.RESOURCE, namespace="default", resource_version="0") as events:
            async for event in events:
                seen += event.object["metadata"]["name"].startswith("step")

    async def settle() -> None:
        """Until every worker has asked again."""
        until = asked + 20
        while asked < until:
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(load()) for _ in range(4)]
        watching = group.create_task(watch())
        await settle()
        await asyncio.to_thread(lambda: list(renew.again(layout)))
        for number, step in enumerate(rotate.STEPS):
            await settle()
            for authority in (CLUSTER_CA, FRONT_PROXY_CA):
                await asyncio.to_thread(lambda step=step, authority=authority: _take(layout, authority, step))
            await settle()
            metadata = {"namespace": "default", "name": f"step-{number}"}
            await client.create(configmaps.RESOURCE, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        while seen < len(rotate.STEPS):
            await asyncio.sleep(0)
        stop.set()
        await asyncio.gather(*workers)
        watching.cancel()
    pem = layout.pair("ca").certificate.read_text()
    async with asyncio.timeout(10):
        while (await client.get(configmaps.RESOURCE, EXTENSION))["data"]["client-ca-file"] != pem:
            await asyncio.sleep(0.05)
    await client.close()


def _take(layout: Layout, authority: object, step: str) -> None:
    assert step == rotate.following(layout, authority)  # type: ignore[arg-type]
    list(getattr(rotate, step)(layout, authority) or ())


async def test_an_authority_that_was_replaced_opens_nothing(layout: Layout) -> None:
    """A copy of a kubeconfig of before is refused; so is whatever a thief of the old key signs."""
    stolen = layout.pair("ca").certificate.read_bytes(), layout.pair("ca").key.read_bytes()
    thief = issue.leaf(
        next(leaf for leaf in _admins()), issue.load(*stolen), issue.load(*stolen).certificate.not_valid_before_utc
    )
    for step in rotate.STEPS:
        _take(layout, CLUSTER_CA, step)
    now = kubeconfig.read(layout.kubeconfig("admin.conf").read_bytes())
    forged = kubeconfig.build(cluster="c", server=now[1], ca=now[2], user="thief", identity=thief)
    path = layout.kubeconfig("forged.conf")
    path.write_bytes(forged)
    client = Client(NetworkTransport(kubeconfigs.load(path)))
    with pytest.raises((Unreachable, StatusError)):
        await client.list(configmaps.RESOURCE, namespace="default")
    await client.close()


def _admins() -> list[renew.Leaf]:
    return [renew.Leaf("thief", CLUSTER_CA, "kubernetes-super-admin", ("system:masters",), client=True)]
