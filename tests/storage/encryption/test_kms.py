"""KMS v2 against a service in a process of its own: what is stored, other keys, a service that is gone, forgeries."""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pynetes.apiserver import app
from pynetes.apiserver.config import Config
from pynetes.component.clock import SystemClock
from pynetes.machinery.meta import Object
from pynetes.rpc.kms import api_pb2 as messages
from pynetes.storage import backends
from pynetes.storage.backend import Backend, Unavailable
from pynetes.storage.encryption.backend import EncryptedBackend

KEY = "/registry/secrets/default/db"
VALUE = b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db"},"data":{"password":"aHVudGVyMg=="}}'
PREFIX = b"k8s:enc:kms:v2:test:"


class Kms:
    """The service's socket and its keys."""

    def __init__(self, folder: Path) -> None:
        self.socket, self.keys = folder / "kms.sock", folder / "keys.json"
        self.document: Object = {"keys": {}}
        self.process: subprocess.Popen[str] | None = None
        self.use("one")

    def use(self, name: str, **more: str) -> None:
        self.document["keys"].setdefault(name, base64.b64encode(os.urandom(32)).decode())
        self.document = {"keys": self.document["keys"], "current": name, **more}
        partial = self.keys.with_suffix(".partial")
        partial.write_text(json.dumps(self.document))
        partial.replace(self.keys)

    def start(self) -> None:
        argv = [sys.executable, "-m", "tests.storage.encryption.kms_plugin", str(self.socket), str(self.keys)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        assert self.process.stdout is not None and self.process.stdout.readline() == "serving\n"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Kms]:
    service = Kms(tmp_path)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def provider(kms: Kms, name: str = "test") -> Object:
    return {"kms": {"apiVersion": "v2", "name": name, "endpoint": f"unix://{kms.socket}", "timeout": "1s"}}


def config(folder: Path, *providers: Object) -> Config:
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": list(providers)}],
    }
    path = folder / "encryption.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document))
    partial.replace(path)
    return Config(
        data_dir=str(folder),
        encryption_provider_config=str(path),
        encryption_provider_config_automatic_reload=True,
        secure_port=0,
    )


@contextlib.asynccontextmanager
async def opened(wanted: Config) -> AsyncIterator[EncryptedBackend]:
    clock = SystemClock()
    backend = backends.open_backend(wanted, clock)
    assert isinstance(backend, EncryptedBackend)
    running = asyncio.ensure_future(backend.run(clock))
    try:
        yield backend
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await backend.close()


async def until(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


def inner(backend: EncryptedBackend) -> Backend:
    return backend._backend


async def stored(backend: EncryptedBackend, key: str = KEY) -> bytes:
    found = await inner(backend).get(key)
    assert found is not None
    return found.value


async def test_what_is_stored(kms: Kms, tmp_path: Path) -> None:
    """Upstream's message behind upstream's prefix: a seed that only the service can open, and a key of its own for
    every write."""
    async with opened(config(tmp_path, provider(kms))) as backend:
        await until(lambda: backend.problem() is None)
        revision = await backend.create(KEY, VALUE)
        first = await stored(backend)
        await backend.update(KEY, VALUE, expected=revision)
        second = await stored(backend)
        assert first.startswith(PREFIX) and first != second and b"password" not in first + second
        found = [messages.EncryptedObject.FromString(each.removeprefix(PREFIX)) for each in (first, second)]
        assert {each.keyID for each in found} == {"one"} and found[0].encryptedDEKSource == found[1].encryptedDEKSource
        assert found[0].encryptedDEKSourceType == messages.HKDF_SHA256_XNONCE_AES_GCM_SEED
        assert found[0].encryptedData[:32] != found[1].encryptedData[:32]
    # Another API server knows no seed: it asks the service.
    async with opened(config(tmp_path, provider(kms))) as backend:
        again = await backend.get(KEY)
        assert again is not None and again.value == VALUE


async def test_another_key_makes_what_is_there_stale(kms: Kms, tmp_path: Path) -> None:
    """The next writes use it; what the one before encrypted is read, and written again even if nothing else changes."""
    async with opened(config(tmp_path, provider(kms))) as backend:
        await until(lambda: backend.problem() is None)
        revision = await backend.create(KEY, VALUE)
        kms.use("two")
        [service] = backend._rules.watched.values()
        await service.look()  # type: ignore[attr-defined]
        await until(lambda: KEY in backend.stale)
        await backend.update(KEY, VALUE, expected=revision)
        assert messages.EncryptedObject.FromString((await stored(backend)).removeprefix(PREFIX)).keyID == "two"
        assert KEY not in backend.stale


async def test_a_service_that_is_gone(kms: Kms, tmp_path: Path) -> None:
    """What was read before is still read; what needs it is refused, never written in plain text; then all is well."""
    async with opened(config(tmp_path, provider(kms))) as backend:
        await until(lambda: backend.problem() is None)
        await backend.create(KEY, VALUE)
        kms.stop()
        [service] = backend._rules.watched.values()
        await service.look()  # type: ignore[attr-defined]
        assert "UNAVAILABLE" in str(backend.problem())
        assert await backend.get(KEY) is not None
    async with opened(config(tmp_path, provider(kms))) as backend:
        with pytest.raises(Unavailable, match="cannot decrypt"):
            await backend.get(KEY)
        with pytest.raises(Unavailable, match="cannot encrypt"):
            await backend.create(f"{KEY}2", VALUE)
        assert await inner(backend).get(f"{KEY}2") is None
        kms.start()
        [service] = backend._rules.watched.values()
        async with asyncio.timeout(20):
            while backend.problem():
                await service.look()  # type: ignore[attr-defined]
                await asyncio.sleep(0.05)
        await backend.create(f"{KEY}2", VALUE)


@pytest.mark.parametrize("change", [{"healthz": "no disk"}, {"version": "v1"}])
async def test_an_unwell_service_is_told(change: dict[str, str], kms: Kms, tmp_path: Path) -> None:
    """In the health check and in words."""
    kms.use("one", **change)
    async with opened(config(tmp_path, provider(kms))) as backend:
        [service] = backend._rules.watched.values()
        await service.look()  # type: ignore[attr-defined]
        assert next(iter(change.values())) in str(backend.problem())
        with pytest.raises(Unavailable):
            await backend.create(KEY, VALUE)


async def test_forgeries(kms: Kms, tmp_path: Path) -> None:
    """A value under another name, altered, or with another's seed is refused."""
    async with opened(config(tmp_path, provider(kms))) as backend:
        await until(lambda: backend.problem() is None)
        await backend.create(KEY, VALUE)
        good = await stored(backend)
        found = messages.EncryptedObject.FromString(good.removeprefix(PREFIX))
        other = messages.EncryptedObject.FromString(good.removeprefix(PREFIX))
        other.encryptedDEKSource = os.urandom(60)
        found.encryptedData = found.encryptedData[:-1] + bytes([found.encryptedData[-1] ^ 1])
        forged = {
            "moved": good,
            "altered": PREFIX + found.SerializeToString(),
            "seed": PREFIX + other.SerializeToString(),
        }
        for name, value in {**forged, "noise": PREFIX + b"\xff\xff"}.items():
            await inner(backend).create(f"/registry/secrets/default/{name}", value)
            with pytest.raises(Unavailable, match="cannot decrypt"):
                await backend.get(f"/registry/secrets/default/{name}")


async def test_the_configuration_is_taken_up_without_a_restart(kms: Kms, tmp_path: Path) -> None:
    """A running API server goes from plain text to KMS and back; a wrong file changes nothing."""
    wanted = config(tmp_path, {"identity": {}})
    backend = backends.open_backend(wanted, SystemClock())
    assert isinstance(backend, EncryptedBackend)
    await inner(backend).create(KEY, VALUE)
    async with app.running(app.build(wanted, backend), listen=False):
        before = backend._rules.digest
        Path(wanted.encryption_provider_config).write_text("kind: Nonsense")
        await until(lambda: not Path(wanted.encryption_provider_config).read_text().startswith("{"))
        config(tmp_path, provider(kms), {"identity": {}})
        await until(lambda: backend._rules.digest != before and KEY in backend.stale and backend.problem() is None)
        item = await backend.get(KEY)
        assert item is not None
        await backend.update(KEY, VALUE, expected=item.modified)
        assert (await stored(backend)).startswith(PREFIX)
        config(tmp_path, {"identity": {}}, provider(kms))
        await until(lambda: KEY in backend.stale)
    await backend.close()
