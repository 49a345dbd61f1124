"""TLS contexts whose certificates and authorities are read again when their files change: renewal needs no restart.

A context can be given a certificate more, but no authority less. So a server's context is made anew when a file has
changed, and handed to each handshake where OpenSSL asks which certificate is for the name the client wants: that is
before the client's own certificate is judged.
"""

import fnmatch
import ssl
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pynetes.component import files
from pynetes.component.metrics import REGISTRY

MONTH = timedelta(days=30)
#: For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_EXPIRES = REGISTRY.gauge(
    "pynetes_certificate_expiration_timestamp_seconds",
    "When the certificates in a file that this process uses end, in Unix time; of several the first to end.",
    "file",
)


def listening() -> ssl.SSLContext:
    """A server's context, without certificates yet: TLS 1.2 at least, no renegotiation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    # A resumed session would not be verified again: neither against an authority that is no longer trusted.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


class Reloading:
    """A pair of certificate and key loaded into a context; `refresh` reads it again when a file is newer."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        self.context, self._files = context, (certificate, key)
        self._seen: Hashable = None
        self.refresh()

    def refresh(self) -> bool:
        """Whether it was read again. A half-written pair leaves the old one in place until the next call."""
        try:
            stamps = files.stamp(self._files)
            if stamps == self._seen:
                return False
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError):
            if self._seen is None:
                raise
            return False
        note_expiry(self._files[0])
        self._seen = stamps
        return True


class Remade:
    """A context made anew whenever its stamp changes; one that cannot be made leaves the last good one in force."""

    def __init__(self, make: Callable[[], ssl.SSLContext], stamp: Callable[[], Hashable]) -> None:
        self._make, self._stamp = make, stamp
        self._seen = stamp()
        self._made = make()

    def current(self) -> ssl.SSLContext:
        """The context for the next connection."""
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._made = self._make()
                self._seen = stamp
        except (OSError, ssl.SSLError, ValueError):
            pass  # between two steps of a renewal
        return self._made


def serving(made: Remade, names: Callable[[str], ssl.SSLContext | None] = lambda name: None) -> ssl.SSLContext:
    """The context to listen with: each handshake uses what `made` is then, or what `names` has for the wanted name."""
    first = made.current()
    context = listening()
    # What a handshake cannot take from the context it is handed: whether certificates are asked for.
    context.verify_mode = first.verify_mode

    def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = names(name or "") or made.current()

    context.sni_callback = choose
    return context


#: Certificate, key, and the names they are shown to: none are those that the certificate has.
Named: TypeAlias = tuple[Path, Path, tuple[str, ...]]


def server_context(
    certificate: Path,
    key: Path,
    *,
    client_cas: Sequence[Path] = (),
    protocols: Sequence[str] = (),
    named: Sequence[Named] = (),
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLContext:
    """For a server; with client_cas, client certificates are asked for and verified if given. Raises OSError."""

    def remade(certificate: Path, key: Path) -> Remade:
        def make() -> ssl.SSLContext:
            context = listening()
            if protocols:
                context.set_alpn_protocols(list(protocols))
            for authorities in client_cas:
                context.load_verify_locations(authorities)
                context.verify_mode = ssl.CERT_OPTIONAL
                note_expiry(authorities)
            context.load_cert_chain(certificate, key)
            note_expiry(certificate)
            return context

        return Remade(make, lambda: files.stamp((certificate, key, *client_cas)))

    others = [(patterns or names_in(one), remade(one, its_key)) for one, its_key, patterns in named]

    def for_name(name: str) -> ssl.SSLContext | None:
        for patterns, made in others:
            if any(matches(pattern, name) for pattern in patterns):
                return made.current()
        return None

    context = serving(remade(certificate, key), for_name)
    # Agreed upon before the name is known that chooses another context.
    context.minimum_version = oldest
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def names_in(certificate: Path) -> tuple[str, ...]:
    """The DNS names that a certificate is for. Raises OSError, ValueError."""
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    try:
        return tuple(
            found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
                x509.DNSName
            )
        )
    except x509.ExtensionNotFound:
        return ()


def matches(pattern: str, name: str) -> bool:
    """Whether *.example.org, or a name without a star, is for this name. A star stands for one label."""
    return pattern.count(".") == name.count(".") and fnmatch.fnmatchcase(name.lower(), pattern.lower())


def note_expiry(path: Path) -> None:
    """Show in the metrics when the certificates of a PEM file end; what cannot be read shows nothing."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return
    _EXPIRES.set(min(each.not_valid_after_utc for each in found).timestamp(), str(path))


def self_signed_context(names: tuple[str, ...] = ("localhost",)) -> ssl.SSLContext:
    """For a server that was given no certificate, as upstream's components make one for themselves."""
    context = listening()
    load(context, self_signed(names))
    return context


def kept_self_signed(folder: Path, names: tuple[str, ...]) -> ssl.SSLContext:
    """As above, but the same over restarts: what a browser was told to accept once, it need not be told again.

    In the folder, tls.pem has certificate and key; a new pair is made a month before the old one ends, when the names
    are others, or when nobody can read the file. Raises OSError."""
    path = folder / "tls.pem"
    context = listening()
    if not _good(path, names):
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.write_bytes(self_signed(names))
        part.replace(path)
    context.load_cert_chain(path)
    note_expiry(path)
    return context


def _good(path: Path, names: tuple[str, ...]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        listening().load_cert_chain(path)
        return names_in(path) == names and certificate.not_valid_after_utc > datetime.now(UTC) + MONTH
    except (OSError, ValueError):
        return False


def load(context: ssl.SSLContext, pem: bytes) -> None:
    """Certificate and key from memory; the ssl module reads them from files only."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "both.pem")
        path.touch(mode=0o600)
        path.write_bytes(pem)
        context.load_cert_chain(path)


def self_signed(names: tuple[str, ...]) -> bytes:
    """Certificate and key, PEM, for a year."""
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
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return certificate.public_bytes(encoding) + key.private_bytes(encoding, form, serialization.NoEncryption())
