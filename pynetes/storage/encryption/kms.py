"""KMS v2: a plugin over gRPC keeps the key; here are only seeds that it has encrypted, and what they encrypt.

One seed per key of the plugin's, made when the API server starts and whenever the plugin says that its key is another
one; every write derives a key of its own from it (HKDF-SHA256 over 32 random bytes), so a seed may encrypt any number
of values. Stored is upstream's EncryptedObject. The plugin is asked how it is once a minute, every ten seconds when
it is unwell. Reading back needs the plugin once per seed; its answers are remembered.
"""

import asyncio
import hashlib
import logging
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import NamedTuple, Protocol, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from google.protobuf.message import DecodeError

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.rpc.kms import api_pb2 as messages
from pynetes.rpc.kms.plugin import CallError
from pynetes.storage.encryption.ciphers import MARK, NONCE, Plain, Undecryptable

T = TypeVar("T")
log = logging.getLogger(__name__)
SEED = INFO = 32
#: Seconds between two looks at a healthy plugin and at one that is not, and how long a look without answer counts.
POLL, POLL_UNHEALTHY, LAPSES = 60.0, 10.0, 180.0
#: Seeds of earlier keys that are remembered in plain text.
REMEMBERED = 1000
MOST_ANNOTATIONS = 32 << 10
MOST_KEY_ID = 1 << 10
VERSIONS = ("v2", "v2beta1")
_SECONDS = REGISTRY.histogram(
    "apiserver_envelope_encryption_kms_operations_latency_seconds",
    "KMS operation duration with gRPC error code status total.",
    "provider_name",
    "method_name",
    "grpc_status_code",
    buckets=exponential(0.0001, 2, 15),
)
_KEY_SECONDS = REGISTRY.histogram(
    "apiserver_storage_data_key_generation_duration_seconds",
    "Latencies in seconds of data encryption key(DEK) generation operations.",
    buckets=exponential(0.000005, 2, 14),
)
_STATUS = REGISTRY.counter(
    "apiserver_envelope_encryption_key_id_hash_total",
    "Number of times a keyID is used split by transformation type, provider, and apiserver identity.",
    "transformation_type",
    "provider_name",
    "key_id_hash",
)


class PluginError(Exception):
    """The plugin did not answer, or not as it must; the text holds nothing secret."""


class Plugin(Protocol):
    """A key management service; messages are those of rpc/kms."""

    async def call(self, method: str, request: object, timeout: float) -> object:
        """Raises CallError."""

    async def close(self) -> None:
        """Hang up."""


class Seed(NamedTuple):
    """What a plugin has encrypted for us, and in plain text only in memory."""

    key_id: str
    source: bytes
    annotations: Mapping[str, bytes]
    plain: bytes


class KMS:
    """A provider. `watch` has to run while it is used; until the plugin has answered, writes are refused."""

    def __init__(self, name: str, plugin: Plugin, clock: Clock, *, timeout: float = 3.0) -> None:
        self.name = name
        self.prefix = MARK + f"kms:v2:{name}:".encode()
        self._plugin, self._clock, self._timeout = plugin, clock, timeout
        self._seed: Seed | None = None
        self._until = 0.0
        self._problem = "the plugin has not answered yet"
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        #: Called when the plugin has another key: what the one before encrypted is stale now.
        self.changed: Callable[[], None] = lambda: None

    def problem(self) -> str | None:
        """What is wrong with the plugin: a health check's answer."""
        return self._problem or None

    async def watch(self) -> None:
        """Look at the plugin for ever, at once for the first time."""
        try:
            while True:
                await self.look()
                await self._clock.sleep(POLL_UNHEALTHY if self._problem else POLL)
        finally:
            await self._plugin.close()

    async def look(self) -> None:
        """Ask how it is; make a new seed when its key is another one. Raises nothing."""
        try:
            status = await self._call("Status", messages.StatusRequest(), messages.StatusResponse)
            if status.version not in VERSIONS:
                raise PluginError(f"version {status.version!r} is none of {', '.join(VERSIONS)}")
            if status.healthz != "ok":
                raise PluginError(f"healthz is {status.healthz!r}")
            if not status.key_id or len(status.key_id) > MOST_KEY_ID:
                raise PluginError("key_id is missing or too long")
            if self._seed is None or self._seed.key_id != status.key_id:
                before, self._seed = self._seed, await self._make()
                if before is not None:
                    log.info(logs.fact("the key management service has another key", provider=self.name))
                    self.changed()
            self._until = self._clock.monotonic() + LAPSES
            self._problem = ""
        except PluginError as error:
            self._problem = str(error)
            log.warning(logs.fact("the key management service is not well", provider=self.name, error=error))

    async def encrypt(self, value: bytes, key: str) -> bytes:
        """An EncryptedObject. Raises Undecryptable when no seed is there, or the plugin was silent for too long."""
        seed = self._seed
        if seed is None or self._clock.monotonic() > self._until:
            raise Undecryptable(f"the key management service {self.name}: {self._problem or 'no answer for too long'}")
        info, nonce = os.urandom(INFO), os.urandom(NONCE)
        sealed = AESGCM(_derived(seed.plain, info)).encrypt(nonce, value, key.encode())
        _STATUS.inc("to_storage", self.name, _hash(seed.key_id))
        return messages.EncryptedObject(
            encryptedData=info + nonce + sealed,
            keyID=seed.key_id,
            encryptedDEKSource=seed.source,
            annotations=seed.annotations,
            encryptedDEKSourceType=messages.HKDF_SHA256_XNONCE_AES_GCM_SEED,
        ).SerializeToString()

    async def decrypt(self, payload: bytes, key: str) -> Plain:
        """Stale when another key of the plugin's stands behind it. Raises Undecryptable."""
        try:
            found = messages.EncryptedObject.FromString(payload)
        except DecodeError:
            raise Undecryptable("it is no encrypted object of KMS v2") from None
        source = await self._source(found)
        data, seeded = found.encryptedData, found.encryptedDEKSourceType == messages.HKDF_SHA256_XNONCE_AES_GCM_SEED
        try:
            if seeded:
                source, data = _derived(source, data[:INFO]), data[INFO:]
            plain = AESGCM(source).decrypt(data[:NONCE], data[NONCE:], key.encode())
        except (InvalidTag, ValueError):
            raise Undecryptable("it was altered, moved, or encrypted with another key") from None
        _STATUS.inc("from_storage", self.name, _hash(found.keyID))
        current = self._seed.key_id if self._seed else found.keyID
        return Plain(plain, stale=found.keyID != current or not seeded)

    async def _make(self) -> Seed:
        with _KEY_SECONDS.timing():
            plain = os.urandom(SEED)
        request = messages.EncryptRequest(plaintext=plain, uid=str(uuid.uuid4()))
        answer = await self._call("Encrypt", request, messages.EncryptResponse)
        if not answer.ciphertext or not answer.key_id or len(answer.key_id) > MOST_KEY_ID:
            raise PluginError("its answer to Encrypt has no ciphertext or no key_id")
        annotations = dict(answer.annotations)
        if sum(len(name) + len(value) for name, value in annotations.items()) > MOST_ANNOTATIONS:
            raise PluginError("its annotations are larger than 32 kB")
        seed = Seed(answer.key_id, answer.ciphertext, annotations, plain)
        self._remember(_source_id(seed.key_id, seed.source, annotations), plain)
        return seed

    async def _source(self, found: messages.EncryptedObject) -> bytes:
        """The seed or key that encrypted this object."""
        annotations = dict(found.annotations)
        name = _source_id(found.keyID, found.encryptedDEKSource, annotations)
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
            return known
        request = messages.DecryptRequest(
            ciphertext=found.encryptedDEKSource, uid=str(uuid.uuid4()), key_id=found.keyID, annotations=annotations
        )
        try:
            answer = await self._call("Decrypt", request, messages.DecryptResponse)
        except PluginError as error:
            raise Undecryptable(f"the key management service {self.name}: {error}") from None
        self._remember(name, answer.plaintext)
        return bytes(answer.plaintext)

    def _remember(self, name: bytes, plain: bytes) -> None:
        self._known[name] = plain
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _call(self, method: str, request: object, answer: type[T]) -> T:
        began, code = perf_counter(), "OK"
        try:
            async with asyncio.timeout(self._timeout + 1):
                found = await self._plugin.call(method, request, self._timeout)
            assert isinstance(found, answer)
            return found
        except (CallError, TimeoutError) as error:
            code = "Unknown"
            raise PluginError(str(error) or f"no answer in {self._timeout:g} s") from None
        finally:
            _SECONDS.observe(perf_counter() - began, self.name, method, code)


def _derived(seed: bytes, info: bytes) -> bytes:
    if len(seed) < SEED or len(info) != INFO:
        raise ValueError("a seed or its info is too short")
    return HKDFExpand(algorithm=hashes.SHA256(), length=32, info=info).derive(seed)


def _source_id(key_id: str, source: bytes, annotations: Mapping[str, bytes]) -> bytes:
    known = hashlib.sha256()
    for part in (key_id.encode(), source, *(p for n in sorted(annotations) for p in (n.encode(), annotations[n]))):
        known.update(len(part).to_bytes(8, "big") + part)
    return known.digest()


def _hash(key_id: str) -> str:
    return f"sha256:{hashlib.sha256(key_id.encode()).hexdigest()}"
