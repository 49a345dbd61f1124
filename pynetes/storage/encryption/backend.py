"""Encrypts on the way to the store and decrypts on the way back; everything above works on plain values.

What a later provider or an old key wrote is `stale`: the next write of that object goes through even if it changes
nothing, so that `kubectl get secrets -A -o json | kubectl replace -f -` re-encrypts all after a change of keys.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.meta import Revision
from pynetes.storage.backend import Backend, Change, KeyValue, LeaseID, Page, RevisionMismatch, Unavailable
from pynetes.storage.encryption.ciphers import MARK, Plain, Provider, Undecryptable
from pynetes.storage.encryption.config import Rules

log = logging.getLogger(__name__)
#: Seconds between looks at the configuration.
LOOK = 1.0
#: Values read at once when all are looked at after a change of keys.
PAGE = 500
_RELOADS = REGISTRY.counter(
    "apiserver_encryption_config_controller_automatic_reloads_total",
    "Total number of reload successes and failures of encryption configuration split by apiserver identity.",
    "status",
)
_AT = REGISTRY.gauge(
    "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds",
    "Timestamp of the last successful or failed automatic reload of encryption configuration.",
    "status",
)
_IN_FORCE = REGISTRY.gauge(
    "apiserver_encryption_config_controller_last_config_info",
    "Information about the last applied encryption configuration with hash as label.",
    "hash",
)


class EncryptedBackend:
    """A Backend around another. Raises Unavailable, naming the key alone, for what it cannot decrypt or encrypt:
    a Secret that seems not to exist would be worse than one that cannot be read."""

    def __init__(self, backend: Backend, rules: Rules, *, reread: Callable[[], Rules] | None = None) -> None:
        self._backend = backend
        self._rules = rules
        self._reread = reread
        #: Keys whose value is not encrypted as a write today would do it.
        self.stale: set[str] = set()
        self._keys_changed = asyncio.Event()
        #: Of the configuration that the metrics call in force.
        self._shown = rules.digest
        _IN_FORCE.set(1, rules.digest)

    async def run(self, clock: Clock) -> None:
        """Watch key management services, and take a changed configuration up, for ever."""
        async with asyncio.TaskGroup() as group:
            watchers: dict[object, asyncio.Task[None]] = {}
            while True:
                present = set(self._rules.watched.values())
                for gone in watchers.keys() - present:
                    watchers.pop(gone).cancel()
                for service in self._rules.watched.values():
                    if service not in watchers:
                        service.changed = self._keys_changed.set
                        watchers[service] = group.create_task(service.watch())
                await clock.sleep(LOOK)
                self._reload(clock)
                if self._keys_changed.is_set():
                    self._keys_changed.clear()
                    await self._taken_up()

    def problem(self) -> str | None:
        """What is wrong with key management services: a health check's answer."""
        found = {name: service.problem() for name, service in self._rules.watched.items()}
        return "; ".join(f"{name}: {problem}" for name, problem in found.items() if problem) or None

    def _reload(self, clock: Clock) -> None:
        """Put a changed configuration in force; one that is wrong is told, and the one before stays."""
        if self._reread is None:
            return
        try:
            rules = self._reread()
        except (OSError, ValueError) as error:
            _RELOADS.inc("failure")
            _AT.set(clock.now().timestamp(), "failure")
            log.error(logs.fact("encryption configuration not taken up", error=error))
            return
        if rules is self._rules:
            return
        self._rules = rules
        _RELOADS.inc("success")
        _AT.set(clock.now().timestamp(), "success")
        log.info(logs.fact("encryption configuration taken up", hash=rules.digest))
        self._keys_changed.set()

    async def _taken_up(self) -> None:
        """Know what is stale, and only then tell that the configuration is in force: whoever waits for that writes
        everything again, and takes the old key away."""
        try:
            await self._look_at_all()
        except Unavailable as error:
            log.warning(logs.fact("the store cannot be looked through", error=error))
            self._keys_changed.set()
            return
        _IN_FORCE.remove(self._shown)
        self._shown = self._rules.digest
        _IN_FORCE.set(1, self._shown)

    async def _look_at_all(self) -> None:
        """Which values are stale now; the next write of each of them goes through even if it changes nothing."""
        for prefix in self._rules.prefixes():
            start, more = "", True
            while more:
                page = await self._backend.list(prefix, start=start, limit=PAGE)
                for item in page.items:
                    try:
                        await self._plain(item.key, item.value)
                    except Unavailable as error:
                        log.error(logs.fact("a value cannot be read", error=error))
                more = page.remaining > 0 and bool(page.items)
                start = f"{page.items[-1].key}\0" if page.items else ""

    async def get(self, key: str) -> KeyValue | None:
        """Decrypted."""
        item = await self._backend.get(key)
        return None if item is None else await self._opened(item)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: Revision | None = None) -> Page:
        """Decrypted."""
        page = await self._backend.list(prefix, start=start, limit=limit, revision=revision)
        return page._replace(items=[await self._opened(item) for item in page.items])

    async def create(self, key: str, value: bytes, *, lease: LeaseID | None = None) -> Revision:
        """Encrypted."""
        return await self._backend.create(key, await self._sealed(key, value), lease=lease)

    async def update(self, key: str, value: bytes, *, expected: Revision, lease: LeaseID | None = None) -> Revision:
        """Encrypted with the first provider, whichever wrote it before."""
        sealed = await self._sealed(key, value)
        try:
            revision = await self._backend.update(key, sealed, expected=expected, lease=lease)
        except RevisionMismatch as mismatch:
            raise await self._mismatch(mismatch) from None
        self.stale.discard(key)
        return revision

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        """What was undecryptable can be deleted too."""
        try:
            revision = await self._backend.delete(key, expected=expected)
        except RevisionMismatch as mismatch:
            raise await self._mismatch(mismatch) from None
        self.stale.discard(key)
        return revision

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: Revision) -> AsyncIterator[AsyncIterator[Sequence[Change]]]:
        """Decrypted."""
        async with self._backend.watch(prefix, after=after) as batches:
            yield self._batches(batches)

    async def _batches(self, batches: AsyncIterator[Sequence[Change]]) -> AsyncIterator[Sequence[Change]]:
        async for batch in batches:
            yield [await self._changed(change) for change in batch]

    async def _changed(self, change: Change) -> Change:
        if change.value is None:
            self.stale.discard(change.key)
            return change
        return change._replace(value=await self._plain(change.key, change.value))

    async def compact(self, revision: Revision) -> None:
        """As below."""
        await self._backend.compact(revision)

    async def current_revision(self) -> Revision:
        """As below."""
        return await self._backend.current_revision()

    async def size(self) -> int:
        """As below."""
        return await self._backend.size()

    async def grant_lease(self, seconds: int) -> LeaseID:
        """As below."""
        return await self._backend.grant_lease(seconds)

    async def close(self) -> None:
        """As below."""
        await self._backend.close()

    async def _mismatch(self, mismatch: RevisionMismatch) -> RevisionMismatch:
        current = mismatch.current
        return mismatch if current is None else RevisionMismatch(await self._opened(current))

    async def _opened(self, item: KeyValue) -> KeyValue:
        return item._replace(value=await self._plain(item.key, item.value))

    async def _sealed(self, key: str, value: bytes) -> bytes:
        providers = self._rules.of(key)
        if not providers:
            return value
        try:
            return providers[0].prefix + await providers[0].encrypt(value, key)
        except Undecryptable as error:
            raise Unavailable(f"cannot encrypt {key}: {error}") from None

    async def _plain(self, key: str, value: bytes) -> bytes:
        providers = self._rules.of(key)
        if not providers and not value.startswith(MARK):
            return value
        try:
            plain = await _read(providers, key, value)
        except Undecryptable as error:
            raise Unavailable(f"cannot decrypt {key}: {error}") from None
        if plain.stale:
            self.stale.add(key)
        else:
            self.stale.discard(key)
        return plain.value


async def _read(providers: Sequence[Provider], key: str, value: bytes) -> Plain:
    problem: Undecryptable | None = None
    for position, provider in enumerate(providers):
        if not value.startswith(provider.prefix):
            continue
        try:
            plain = await provider.decrypt(value[len(provider.prefix) :], key)
        except Undecryptable as error:
            problem = problem or error
            continue
        return plain._replace(stale=plain.stale or position > 0)
    raise problem or Undecryptable("no configured provider and key reads it")
