"""Keys of the store are replaced without a moment in which something cannot be read."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pynetes import apis
from pynetes.apiserver.app import APIServer, build, running
from pynetes.apiserver.config import Config
from pynetes.apiserver.http import request
from pynetes.client.rest import Client
from pynetes.client.transport import Call, InProcessTransport, Stream
from pynetes.cluster import encryption, hardening
from pynetes.machinery.meta import Object
from pynetes.storage.encryption import backend
from pynetes.storage.encryption.config import load
from pynetes.storage.memory import MemoryBackend
from tests.apiserver.harness import API, Asked


def keys(document: Object) -> list[str]:
    return [key["name"] for key in document["resources"][0]["providers"][0]["aesgcm"]["keys"]]


def test_the_new_key_is_read_before_it_is_written_with() -> None:
    """Several API servers take a file up at different moments: whatever one of them writes, all can read."""
    document = hardening.encryption(b"1" * 32)
    steps = encryption.with_new_key(document, "new", b"2" * 32)
    assert [keys(step) for step in steps] == [["key1", "new"], ["new", "key1"], ["new"]]
    assert keys(document) == ["key1"]
    secret = steps[2]["resources"][0]["providers"][0]["aesgcm"]["keys"][0]["secret"]
    assert base64.b64decode(secret) == b"2" * 32


@pytest.mark.parametrize("providers", [[{"identity": {}}], [{"kms": {"name": "x"}}]])
def test_there_must_be_a_key(providers: list[Any]) -> None:
    """Plain text has none, and a service has its own."""
    with pytest.raises(ValueError, match="no resource"):
        encryption.with_new_key({"resources": [{"resources": ["secrets"], "providers": providers}]}, "new", b"2" * 32)


CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "safes.bank.io"},
    "spec": {
        "group": "bank.io",
        "scope": "Namespaced",
        "names": {"plural": "safes", "singular": "safe", "kind": "Safe"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
SAFES = "/apis/bank.io/v1/namespaces/default/safes"


def client_of(server: APIServer) -> Client:
    """Asks in process."""

    async def handle(call: Call) -> Stream:
        headers = {name.lower(): value for name, value in call.headers.items()}
        asked = Asked(await server.handle(request(call.method, call.target, headers=headers, body=call.body or b"")))

        async def chunks() -> AsyncIterator[bytes]:
            yield asked.raw

        return Stream(asked.status, {"content-type": asked.type}, chunks())

    return Client(InProcessTransport(handle))


@pytest.mark.parametrize("name", ["safes.bank.io", "*.bank.io", "*.*"])
async def test_custom_resources_are_written_again_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the new key, once the old one is to go; otherwise nobody could read them any more."""
    monkeypatch.setattr(backend, "LOOK", 0.01)
    document = hardening.encryption(b"1" * 32)
    document["resources"][0]["resources"] = ["secrets", name]
    path = tmp_path / "encryption.json"
    path.write_text(json.dumps(document))
    rules = [load(str(path), apis.load())]
    inner = MemoryBackend()
    store = backend.EncryptedBackend(inner, rules[0], reread=lambda: rules[-1])
    async with running(build(Config(), store), listen=False) as server:
        api, client = API(server), client_of(server)
        assert (await api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)).status == 201
        async with asyncio.timeout(20):
            while (await api.get(SAFES)).status != 200:
                await asyncio.sleep(0)
        safe = {"apiVersion": "bank.io/v1", "kind": "Safe", "metadata": {"name": "s"}, "spec": {"word": "hidden"}}
        assert (await api.post(SAFES, safe)).status == 201
        for step in encryption.with_new_key(document, "new", b"2" * 32)[1:]:
            path.write_text(json.dumps(step))
            rules.append(load(str(path), apis.load()))
            async with asyncio.timeout(20):
                while rules[-1].digest not in (await api.get("/metrics")).raw.decode():
                    await asyncio.sleep(0.01)
            done = [line async for line in encryption.rewrite(client, document)]
            assert "1 safes written again" in done
            stored = await inner.get("/registry/bank.io/safes/default/s")
            assert stored is not None and stored.value.startswith(b"k8s:enc:aesgcm:v1:new:")
        assert (await api.get(f"{SAFES}/s")).body["spec"] == {"word": "hidden"}
