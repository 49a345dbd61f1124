"""A real etcd with mutual TLS in a temporary directory, that a test may kill and start again."""

import asyncio
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pynetes.pki import issue, layout
from pynetes.storage.backend import Unavailable
from pynetes.storage.etcd import EtcdBackend
from pynetes.storage.etcd_channel import Credentials

_NO_NAMES = layout.Names()


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class EtcdServer:
    """One member, its certificates made as `up` makes them."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("etcd")
        if binary is None:
            pytest.skip("no etcd on PATH (Debian: etcd-server)")
        self._binary = binary
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._choose_ports()
        self.authority = issue.authority("etcd-ca", datetime.now(UTC))
        self.certificate("server", names=layout.names("localhost", "127.0.0.1"))
        self.certificate("client")
        (folder / "ca.crt").write_bytes(self.authority.certificate_pem)

    def _choose_ports(self) -> None:
        self._peer = f"http://127.0.0.1:{free_port()}"
        self.endpoint = f"https://127.0.0.1:{free_port()}"

    def certificate(
        self,
        stem: str,
        *,
        names: layout.Names = _NO_NAMES,
        issuer: issue.Issued | None = None,
        subject: str = "",
        life: timedelta = issue.LEAF_LIFE,
    ) -> None:
        """Issue (again) a certificate."""
        server = names != _NO_NAMES
        wanted = layout.Leaf(
            stem, layout.ETCD_CA, subject or f"test-{stem}", server=server, client=not server, names=names
        )
        issued = issue.leaf(wanted, issuer or self.authority, datetime.now(UTC), life=life)
        for suffix, pem in (("key", issued.key_pem), ("crt", issued.certificate_pem)):
            (self._folder / f"{stem}.{suffix}").write_bytes(pem)

    def credentials(self, stem: str = "client", ca: str = "ca") -> Credentials:
        """What a client shows."""
        folder = self._folder
        return Credentials(
            ca=str(folder / f"{ca}.crt"),
            certificate=str(folder / f"{stem}.crt") if stem else "",
            key=str(folder / f"{stem}.key") if stem else "",
        )

    async def start(self, *flags: str, patience: float = 30) -> None:
        """Start it, or start it again on the same data, and wait until it answers."""
        fresh = not (self._folder / "data").exists()
        async with asyncio.timeout(patience):
            while not await self._started(flags):
                # Somebody else has taken one of the ports since they were found free.
                assert fresh, "etcd has ended at its start"
                self._choose_ports()

    async def _started(self, flags: tuple[str, ...]) -> bool:
        """Whether it answers; False when it has ended instead."""
        folder = self._folder
        self._process = await asyncio.create_subprocess_exec(
            *(self._binary, "--data-dir", str(folder / "data"), "--log-level", "error", "--logger", "zap"),
            *("--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint),
            *("--listen-peer-urls", self._peer, "--initial-advertise-peer-urls", self._peer),
            *("--initial-cluster", f"default={self._peer}", "--client-cert-auth"),
            "--enable-grpc-gateway=false",
            *flags,
            *("--trusted-ca-file", str(folder / "ca.crt")),
            *("--cert-file", str(folder / "server.crt"), "--key-file", str(folder / "server.key")),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        backend = EtcdBackend([self.endpoint], self.credentials())
        answering, ended = asyncio.ensure_future(_answering(backend)), asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait((answering, ended), return_when=asyncio.FIRST_COMPLETED)
            return not ended.done()
        finally:
            answering.cancel()
            ended.cancel()
            await backend.close()

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def _answering(backend: EtcdBackend) -> None:
    while True:
        try:
            await backend.current_revision()
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return
