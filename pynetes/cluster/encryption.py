"""Other keys for what is encrypted in etcd, while the cluster runs: `pynetes encryption`.

A key is replaced in three steps, as with certificates: the API server can read the new key; it writes with it, and
everything is written again; the old key goes. The API server takes the file up by itself and tells in its metrics which
one is in force, so no step is taken before the one before is.
"""

import asyncio
import base64
import copy
import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import yaml

from pynetes import apis
from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.client.rest import Client
from pynetes.client.transport import Call
from pynetes.cluster import hardening
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object, key_of
from pynetes.machinery.resource import Resource
from pynetes.pki import files

WITHIN = 60.0
STEP = 0.25
METRIC = "apiserver_encryption_config_controller_last_config_info"
#: Local ciphers that can be written with; aescbc is for reading what is there.
CIPHERS = ("aesgcm", "secretbox", "aescbc")


def file(cluster: Cluster) -> Path:
    """The cluster's EncryptionConfiguration."""
    return cluster.state / "apiserver" / hardening.ENCRYPTION


def with_new_key(document: Object, name: str, secret: bytes) -> tuple[Object, Object, Object]:
    """The configurations of the three steps: the new key second, first, and alone. Raises ValueError."""
    key = {"name": name, "secret": base64.b64encode(secret).decode()}
    second, first, alone = (copy.deepcopy(document) for _ in range(3))
    found = False
    for one, two, three in zip(second["resources"], first["resources"], alone["resources"], strict=True):
        cipher = next(iter(one["providers"][0]))
        if cipher not in CIPHERS:
            continue
        found = True
        one["providers"][0][cipher]["keys"].insert(1, key)
        two["providers"][0][cipher]["keys"].insert(0, key)
        three["providers"][0][cipher]["keys"] = [key]
    if not found:
        raise ValueError("no resource is written with a key of this file")
    return second, first, alone


async def rotate_key(cluster: Cluster) -> AsyncIterator[str]:
    """Replace the key; yields what was done. Raises ClusterError."""
    document = _read(cluster)
    name = f"key-{secrets.token_hex(4)}"
    try:
        steps = with_new_key(document, name, os.urandom(32))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ClusterError(f"{file(cluster)}: {error}", "a key management service replaces its keys itself") from None
    async with _client(cluster) as client:
        await _put(cluster, client, steps[0])
        yield f"{name} can be read"
        await _put(cluster, client, steps[1])
        yield f"{name} is written with"
        async for done in rewrite(client, document):
            yield done
        await _put(cluster, client, steps[2])
        yield f"{name} is the only key; save {file(cluster)} with your backups, without it they show no Secrets"


async def reencrypt(cluster: Cluster) -> AsyncIterator[str]:
    """Write everything again that is encrypted, with what is configured now; yields what was done."""
    async with _client(cluster) as client:
        async for done in rewrite(client, _read(cluster)):
            yield done


def _read(cluster: Cluster) -> Any:
    try:
        return yaml.safe_load(file(cluster).read_bytes())
    except (OSError, yaml.YAMLError):
        # The parser's own text would quote the lines around, keys among them.
        raise ClusterError(f"{file(cluster)} cannot be read", "restore it from a backup") from None


def _client(cluster: Cluster) -> "_Open":
    return _Open(Client.from_kubeconfig(str(cluster.state / "super-admin.conf"), component="pynetes-encryption"))


class _Open:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def __aenter__(self) -> Client:
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


async def _put(cluster: Cluster, client: Client, document: Object) -> None:
    """Write the file and wait until the API server uses it."""
    content = json.dumps(document, indent=2).encode()
    files.write(file(cluster), content)
    wanted, deadline = f"sha256:{hashlib.sha256(content).hexdigest()}", monotonic() + WITHIN
    while wanted not in await _in_force(client):
        if monotonic() > deadline:
            raise ClusterError("the API server does not take the new configuration up", "see `pynetes logs apiserver`")
        await asyncio.sleep(STEP)
    # That was one of them; others that share its port or its etcd look within a second.
    await asyncio.sleep(2.0)


async def _in_force(client: Client) -> str:
    answer = await client.transport.request(Call(method="GET", target="/metrics"))
    lines = answer.body.decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if line.startswith(METRIC))


async def rewrite(client: Client, document: Object) -> AsyncIterator[str]:
    """Write all that the document names once more, as it is; yields what was done. Raises ClusterError."""
    names = {name for entry in document["resources"] for name in entry["resources"]}
    for resource in (*apis.load(), *await _custom(client)):
        if resource.stored and _named(resource, names):
            count = 0
            for item in (await client.list(resource)).items:
                # A conflict means that somebody has just written it, with the new key.
                try:
                    await client.update(resource, item)
                    count += 1
                except StatusError as error:
                    if error.reason not in ("Conflict", "NotFound"):
                        raise ClusterError(f"{resource.plural} {key_of(item)}: {error}", "repeat it") from None
            yield f"{count} {resource.plural} written again"


async def _custom(client: Client) -> list[Resource]:
    """What CustomResourceDefinitions define."""
    found = []
    for definition in (await client.list(customresourcedefinitions.RESOURCE)).items:
        spec = definition["spec"]
        # Read and written in the version they are stored in, no webhook has to convert them.
        versions = [each["name"] for each in spec["versions"] if each.get("storage") and each.get("served")]
        versions = versions or [each["name"] for each in spec["versions"] if each.get("served")]
        if versions:
            names, namespaced = spec["names"], spec["scope"] == "Namespaced"
            group, kind, plural = spec["group"], names["kind"], names["plural"]
            found.append(
                Resource(group=group, versions=(versions[0],), kind=kind, plural=plural, namespaced=namespaced)
            )
    return found


def _named(resource: Resource, names: set[str]) -> bool:
    full = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    return not names.isdisjoint((full, f"*.{resource.group}", "*.*"))
