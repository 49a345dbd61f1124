"""Paths 4 and 5 and their mTLS: what the API server writes is in etcd, and what is in etcd reaches every watch."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pynetes.apis.core import configmaps
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key
from pynetes.paths.check import Check, expect
from pynetes.paths.scene import NAMESPACE, Scene
from pynetes.pki import evidence
from pynetes.pki.layout import Layout
from pynetes.storage.etcd import EtcdBackend
from pynetes.storage.etcd_channel import Credentials

WRITERS = 20


@asynccontextmanager
async def _etcd(scene: Scene) -> AsyncIterator[EtcdBackend]:
    """etcd itself, past the API server, with the health checker's certificate."""
    layout = Layout(scene.site.state)
    pair = layout.pair("etcd/healthcheck-client")
    ca = layout.pair("etcd/ca").certificate
    backend = EtcdBackend(
        [scene.site.etcd], Credentials(ca=str(ca), certificate=str(pair.certificate), key=str(pair.key))
    )
    try:
        yield backend
    finally:
        await backend.close()


async def _writes(scene: Scene) -> str:
    """Twenty writers add one each to the same number through the API; etcd has the sum."""
    await scene.namespace()
    key = Key(NAMESPACE, "counter")
    await scene.ensure(configmaps.RESOURCE, {"metadata": {"name": key.name}, "data": {"n": "0"}})
    start = int((await scene.client.get(configmaps.RESOURCE, key))["data"]["n"])

    async def add() -> int:
        conflicts = 0
        while True:
            found = await scene.client.get(configmaps.RESOURCE, key)
            found["data"]["n"] = str(int(found["data"]["n"]) + 1)
            try:
                await scene.client.update(configmaps.RESOURCE, found)
                return conflicts
            except StatusError as error:
                if error.reason != "Conflict":
                    raise
                conflicts += 1

    conflicts = sum(await asyncio.gather(*(add() for _ in range(WRITERS))))
    path = configmaps.RESOURCE.storage_key(key)
    async with _etcd(scene) as etcd:
        stored = await etcd.get(path)
    expect(stored, f"{path} is not in etcd")
    assert stored is not None
    count = json.loads(stored.value)["data"]["n"]
    expect(count == str(start + WRITERS), f"{WRITERS} increments gave {count}, not {start + WRITERS}")
    return (
        f"{path} in etcd at revision {stored.modified} has n={count} after {WRITERS} writers and {conflicts} conflicts"
    )


async def _watch(scene: Scene) -> str:
    """Keys that another writer puts into etcd show in an open watch, in order, once."""
    await scene.namespace()
    listed = await scene.client.list(configmaps.RESOURCE, namespace=NAMESPACE)
    names = [f"foreign-{number}" for number in range(3)]
    seen: list[str] = []
    async with (
        scene.client.watch(
            configmaps.RESOURCE, namespace=NAMESPACE, resource_version=listed.resource_version, timeout_seconds=10
        ) as events,
        _etcd(scene) as etcd,
    ):
        for name in names:
            await _put(etcd, name)
        async for event in events:
            if event.type == "ADDED":
                seen.append(event.object["metadata"]["name"])
            if len(seen) == len(names):
                break
    expect(seen == names, f"the watch showed {seen}, not {names}")
    return (
        f"{len(names)} keys written straight to etcd came through the API server's watch, in order: {', '.join(seen)}"
    )


async def _put(etcd: EtcdBackend, name: str) -> None:
    path = configmaps.RESOURCE.storage_key(Key(NAMESPACE, name))
    old = await etcd.get(path)
    if old is not None:
        await etcd.delete(path, expected=old.modified)
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"00000000-0000-4000-8000-{len(name):012d}"}
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"by": "etcd"}}
    await etcd.create(path, json.dumps(obj).encode())


async def _mtls(scene: Scene) -> str:
    """The four refusals, at the handshake, and the check that refused each."""
    host, _, port = scene.site.etcd.removeprefix("https://").rpartition(":")
    log = scene.site.state / "logs" / "etcd.log"
    found = await asyncio.to_thread(
        evidence.handshakes, Layout(scene.site.state), host, int(port), log=log if log.exists() else None
    )
    for item in found:
        expect(item.passed, f"{item.seen}, expected refusal by {item.refused_by or 'nobody'}")
    return "; ".join(str(item.seen) for item in found)


CHECKS = (Check((4,), _writes), Check((5,), _watch), Check((0,), _mtls))
