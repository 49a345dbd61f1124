"""Encryption at rest under attack: what a thief of the store, a forger in it and a clumsy administrator can do."""

import asyncio
import base64
import json
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pynetes import apis
from pynetes.apis.core import configmaps, secrets
from pynetes.component.clock import SystemClock
from pynetes.machinery.meta import Key, Object
from pynetes.storage.backend import Unavailable
from pynetes.storage.cache import Cacher
from pynetes.storage.encryption.backend import EncryptedBackend
from pynetes.storage.encryption.config import load
from pynetes.storage.memory import MemoryBackend
from pynetes.storage.store import Store

KEY = "/registry/secrets/default/db"
VALUE = b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db"},"data":{"password":"aHVudGVyMg=="}}'
FIRST, SECOND = b"1" * 32, b"2" * 32


def keyed(cipher: str, *keys: tuple[str, bytes]) -> Object:
    """A provider with these keys."""
    return {cipher: {"keys": [{"name": name, "secret": base64.b64encode(secret).decode()} for name, secret in keys]}}


def written(path: Path, *providers: Object, resources: tuple[str, ...] = ("secrets",)) -> str:
    """An EncryptionConfiguration's file."""
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": list(resources), "providers": list(providers)}],
    }
    path.write_text(json.dumps(document))
    return str(path)


def layer(inner: MemoryBackend, path: Path, *providers: Object, **more: Any) -> EncryptedBackend:
    return EncryptedBackend(inner, load(written(path / "encryption.yaml", *providers, **more), apis.load()))


async def kept(inner: MemoryBackend, key: str = KEY) -> bytes:
    item = await inner.get(key)
    assert item is not None
    return item.value


async def value(backend: EncryptedBackend, key: str = KEY) -> bytes:
    item = await backend.get(key)
    assert item is not None
    return item.value


@pytest.mark.parametrize("cipher", ["aesgcm", "aescbc", "secretbox"])
async def test_a_stolen_store_shows_nothing(cipher: str, tmp_path: Path) -> None:
    """The store holds upstream's prefix and bytes without a trace of the value, other bytes for each write."""
    inner = MemoryBackend()
    backend = layer(inner, tmp_path, keyed(cipher, ("k1", FIRST)))
    revision = await backend.create(KEY, VALUE)
    stored = await kept(inner)
    assert stored.startswith(f"k8s:enc:{cipher}:v1:k1:".encode())
    assert b"password" not in stored and b"aHVudGVyMg" not in stored
    await backend.update(KEY, VALUE, expected=revision)
    assert await kept(inner) != stored
    assert await value(backend) == VALUE


async def test_what_upstream_wrote_is_read(tmp_path: Path) -> None:
    """Twelve bytes of nonce, ciphertext and tag, with the store's key authenticated."""
    inner = MemoryBackend()
    nonce = b"n" * 12
    sealed = AESGCM(FIRST).encrypt(nonce, VALUE, KEY.encode())
    await inner.create(KEY, b"k8s:enc:aesgcm:v1:k1:" + nonce + sealed)
    assert await value(layer(inner, tmp_path, keyed("aesgcm", ("k1", FIRST)))) == VALUE


@pytest.mark.parametrize("cipher", ["aesgcm", "secretbox"])
async def test_an_altered_value_is_refused(cipher: str, tmp_path: Path) -> None:
    """One flipped bit: unreadable, and the error holds neither value nor key."""
    inner = MemoryBackend()
    backend = layer(inner, tmp_path, keyed(cipher, ("k1", FIRST)))
    revision = await backend.create(KEY, VALUE)
    stored = bytearray(await kept(inner))
    stored[-1] ^= 1
    await inner.update(KEY, bytes(stored), expected=revision)
    with pytest.raises(Unavailable) as caught:
        await backend.get(KEY)
    told = "".join(traceback.format_exception(caught.value))
    assert "cannot decrypt /registry/secrets/default/db" in told
    assert base64.b64encode(FIRST).decode() not in told and "hunter2" not in told and "aHVudGVyMg" not in told


async def test_a_value_moved_under_another_name_is_refused(tmp_path: Path) -> None:
    """Whoever can write to the store cannot show one namespace's Secret in another: aesgcm authenticates the key."""
    inner = MemoryBackend()
    backend = layer(inner, tmp_path, keyed("aesgcm", ("k1", FIRST)))
    await backend.create(KEY, VALUE)
    await inner.create("/registry/secrets/attacker/db", await kept(inner))
    with pytest.raises(Unavailable, match="altered, moved"):
        await backend.get("/registry/secrets/attacker/db")


async def test_an_unknown_key_fails_closed_everywhere(tmp_path: Path) -> None:
    """get, list and watch refuse; nobody sees ciphertext as a value, nor a Secret as absent."""
    inner = MemoryBackend()
    old = layer(inner, tmp_path, keyed("aesgcm", ("k1", FIRST)))
    await old.create("/registry/secrets/default/other", VALUE)
    before = await inner.current_revision()
    await old.create(KEY, VALUE)
    for providers in ([keyed("aesgcm", ("k2", SECOND))], [{"identity": {}}], [keyed("aesgcm", ("k1", SECOND))]):
        backend = layer(inner, tmp_path, *providers)
        with pytest.raises(Unavailable, match="cannot decrypt"):
            await backend.get(KEY)
        with pytest.raises(Unavailable, match="cannot decrypt"):
            await backend.list("/registry/secrets/")
        with pytest.raises(Unavailable, match="cannot decrypt"):
            async with backend.watch("", after=before) as batches:
                await anext(batches)
    # The rule was taken out of the file, the values were not.
    backend = layer(inner, tmp_path, {"identity": {}}, resources=("configmaps",))
    with pytest.raises(Unavailable, match="cannot decrypt"):
        await backend.get(KEY)


async def test_only_the_named_resources_are_encrypted(tmp_path: Path) -> None:
    """Secrets here; wildcards cover a group, custom resources by their group."""
    inner = MemoryBackend()
    one = layer(inner, tmp_path, keyed("aesgcm", ("k1", FIRST)), resources=("secrets", "*.apps", "pandas.zoo.io"))
    for key, hidden in {
        KEY: True,
        "/registry/configmaps/default/a": False,
        "/registry/deployments/default/a": True,
        "/registry/zoo.io/pandas/default/a": True,
        "/registry/zoo.io/bears/default/a": False,
    }.items():
        await one.create(key, VALUE)
        assert (await kept(inner, key)).startswith(b"k8s:enc:") is hidden, key
    page = await one.list("/registry/")
    assert {item.value for item in page.items} == {VALUE}


async def test_a_replace_after_a_key_change_encrypts_anew(tmp_path: Path) -> None:
    """A write that changes nothing is written if an older key, or no key, had written the value, and only then."""
    inner = MemoryBackend()
    plain = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "default"},
        "data": {"a": ""},
    }
    old = layer(inner, tmp_path, keyed("aesgcm", ("k1", FIRST)))
    async with asyncio.TaskGroup() as group:
        backend = layer(inner, tmp_path, keyed("aesgcm", ("k2", SECOND), ("k1", FIRST)), {"identity": {}})
        await Store(secrets.RESOURCE, old, Cacher(old, SystemClock(), [secrets.RESOURCE])).create(plain)
        assert (await kept(inner)).startswith(b"k8s:enc:aesgcm:v1:k1:")
        cacher = Cacher(backend, SystemClock(), [secrets.RESOURCE, configmaps.RESOURCE])
        running = group.create_task(cacher.run())
        await cacher.ready()
        store = Store(secrets.RESOURCE, backend, cacher)

        async def same(obj: Object) -> Object:
            return obj

        before = await store.read(Key("default", "db"))
        after = await store.update(Key("default", "db"), same)
        assert (await kept(inner)).startswith(b"k8s:enc:aesgcm:v1:k2:")
        assert after.revision > before.revision
        assert (await store.update(Key("default", "db"), same)).revision == after.revision
        running.cancel()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("kind: EncryptionConfiguration\nsecret: c3VwZXItc2VjcmV0: [", ":2: not YAML"),
        ("kind: Other\nx: c3VwZXItc2VjcmV0", "kind: must be"),
        (json.dumps({"secret": "c3VwZXItc2VjcmV0"}), "kind: must be"),
    ],
)
def test_errors_in_the_file_name_the_place_and_not_the_secret(text: str, place: str, tmp_path: Path) -> None:
    """The parser's own message would quote the line with the key."""
    path = tmp_path / "encryption.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=place) as caught:
        load(str(path), apis.load())
    assert "c3VwZXItc2VjcmV0" not in "".join(traceback.format_exception(caught.value))


def test_a_key_of_the_wrong_length_is_refused_by_its_place(tmp_path: Path) -> None:
    """Not silently padded or cut."""
    path = written(tmp_path / "e.yaml", keyed("aesgcm", ("k1", b"too short")))
    with pytest.raises(
        ValueError, match=r"resources\[0\].providers\[0\].aesgcm.keys\[0\].secret: an aesgcm key has 16"
    ):
        load(path, apis.load())
    path = written(tmp_path / "e.yaml", keyed("rot13", ("k1", FIRST)))
    with pytest.raises(ValueError, match="unknown provider"):
        load(path, apis.load())
