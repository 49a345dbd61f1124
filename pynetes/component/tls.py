"""TLS contexts whose certificates are read again when their files change, so that renewal needs no restart."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def listening() -> ssl.SSLContext:
    """A server's context, without certificates yet: TLS 1.2 at least, no renegotiation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


class Reloading:
    """A pair of certificate and key loaded into a context; `refresh` reads it again when a file is newer."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        self.context, self._files = context, (certificate, key)
        self._seen: tuple[int, ...] = ()
        self.refresh()

    def refresh(self) -> bool:
        """Whether it was read again. A half-written pair leaves the old one in place until the next call."""
        try:
            stamps = tuple(path.stat().st_mtime_ns for path in self._files)
            if stamps == self._seen:
                return False
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError):
            if not self._seen:
                raise
            return False
        self._seen = stamps
        return True


def server_context(certificate: Path, key: Path, *, client_ca: Path | None = None) -> Reloading:
    """For a server; with client_ca, client certificates are asked for and verified if given."""
    context = listening()
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return Reloading(context, certificate, key)


def self_signed_context(names: tuple[str, ...] = ("localhost",)) -> ssl.SSLContext:
    """For a server that was given no certificate, as upstream's components make one for themselves."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{names[0]}@{int(datetime.now(UTC).timestamp())}")])
    start = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    with TemporaryDirectory() as folder:
        pem = Path(folder, "both.pem")
        pem.touch(mode=0o600)
        pem.write_bytes(
            certificate.public_bytes(encoding)
            + key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        context = listening()
        context.load_cert_chain(pem)
    return context
