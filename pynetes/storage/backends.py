"""Opens the store that the configuration names, and keeps its history short."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pynetes import apis
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.files import Reread
from pynetes.storage.backend import Backend, Compacted, Unavailable

if TYPE_CHECKING:
    from pynetes.storage.encryption.config import Rules


class Config(Protocol):
    """What an API server's configuration says about its store, under upstream's names."""

    @property
    def etcd_servers(self) -> tuple[str, ...]:
        """URLs of the members; empty for an embedded store."""

    @property
    def etcd_cafile(self) -> str:
        """Verifies etcd's certificate."""

    @property
    def etcd_certfile(self) -> str:
        """Is shown to etcd."""

    @property
    def etcd_keyfile(self) -> str:
        """Key of etcd_certfile."""

    @property
    def data_dir(self) -> str:
        """Directory of the embedded store; empty for memory."""

    @property
    def encryption_provider_config(self) -> str:
        """File of the EncryptionConfiguration; empty for a store in plain text."""

    @property
    def encryption_provider_config_automatic_reload(self) -> bool:
        """Whether a change of that file counts without a restart."""


def open_backend(config: Config, clock: Clock | None = None) -> Backend:
    """The store; nothing is dialled yet. Raises OSError or ValueError for a wrong EncryptionConfiguration."""
    backend = _plain(config)
    path = config.encryption_provider_config
    if not path:
        return backend
    from pynetes.storage.encryption.backend import EncryptedBackend
    from pynetes.storage.encryption.ciphers import Provider
    from pynetes.storage.encryption.config import load

    kept: dict[tuple[str, str, float], Provider] = {}

    def service(name: str, endpoint: str, timeout: float) -> Provider:
        """A provider keeps its seeds for as long as it is configured."""
        # gRPC is loaded for those who use it.
        from pynetes.rpc.kms.plugin import KeyManagementService
        from pynetes.storage.encryption.kms import KMS

        made = kept.get((name, endpoint, timeout))
        if made is None:
            plugin = KeyManagementService(endpoint)
            made = kept[name, endpoint, timeout] = KMS(name, plugin, clock or SystemClock(), timeout=timeout)
        return made

    problems: list[Exception] = []
    file = Reread((Path(path),), lambda: load(path, apis.load(), service), failed=problems.append)

    def reread() -> "Rules":
        found = file.current()
        if problems:
            raise problems.pop()
        return found

    again = reread if config.encryption_provider_config_automatic_reload else None
    return EncryptedBackend(backend, file.value, reread=again)


def _plain(config: Config) -> Backend:
    # Backends are imported here because an API server uses one of them.
    if config.etcd_servers:
        from pynetes.storage.etcd import EtcdBackend
        from pynetes.storage.etcd_channel import Credentials

        credentials = Credentials(ca=config.etcd_cafile, certificate=config.etcd_certfile, key=config.etcd_keyfile)
        return EtcdBackend(config.etcd_servers, credentials)
    if config.data_dir:
        from pynetes.storage.sqlite import SqliteBackend

        return SqliteBackend(Path(config.data_dir) / "store.db")
    from pynetes.storage.memory import MemoryBackend

    return MemoryBackend()


async def compact_regularly(backend: Backend, clock: Clock, seconds: float) -> None:
    """Forget what is older than one to two intervals, for ever. Several API servers on one store may all do it."""
    if seconds <= 0:
        return
    before = None
    while True:
        await clock.sleep(seconds)
        try:
            now = await backend.current_revision()
            if before is not None:
                await backend.compact(before)
            before = now
        except (Compacted, Unavailable):
            continue
