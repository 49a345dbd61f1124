"""Client certificates: CN is the user, each O a group.

TLS has verified the chain when the connection was made. Here it is checked which authority signed (the TLS layer trusts
the front proxies' too), that the certificate is meant for clients, and that it has not expired since: a connection may
outlive its certificate.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pynetes.apiserver.authn.user import User, known
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY

#: Verified certificates remembered; connections share few.
REMEMBERED = 4096
_HOUR, _DAY = 3600.0, 86400.0
_EXPIRES_IN = REGISTRY.histogram(
    "apiserver_client_certificate_expiration_seconds",
    "Distribution of the remaining lifetime on the certificate used to authenticate a request.",
    buckets=(0, 1800, _HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 30 * _DAY,
             90 * _DAY, 180 * _DAY, 360 * _DAY),
)  # fmt: skip
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class Bundle:
    """The authorities of a PEM file, read again whenever the file changes."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int] | None = None
        self.authorities: list[x509.Certificate] = []
        #: Moves with every reload.
        self.version = 0
        self.refresh()

    def refresh(self) -> None:
        """Look for a new file. A file that is gone or broken leaves the last good authorities in force."""
        try:
            found = self._path.stat()
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
            if stamp == self._stamp:
                return
            authorities = x509.load_pem_x509_certificates(self._path.read_bytes())
        except (OSError, ValueError):
            if self._stamp is None:
                raise
            return
        self.authorities, self._stamp = authorities, stamp
        self.version += 1

    def signed(self, certificate: x509.Certificate, now: datetime) -> bool:
        """Whether one of the authorities, itself valid now, has issued the certificate."""
        return any(_issued(certificate, authority, now) for authority in self.authorities)


def _issued(certificate: x509.Certificate, authority: x509.Certificate, now: datetime) -> bool:
    if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Verified:
    """A certificate that an authority vouches for, between two moments."""

    user: User
    since: datetime
    until: datetime
    subject: str
    #: What `pynetes paths` shows of it.
    credential: str


class ClientCertificates:
    """Verifies certificates against one bundle; remembers what it has verified."""

    def __init__(self, bundle: Bundle, clock: Clock) -> None:
        self._bundle = bundle
        self._clock = clock
        self._known: dict[bytes, Verified | None] = {}
        self._version = bundle.version

    def verify(self, der: bytes) -> Verified | None:
        """The certificate's user, or None when it does not count."""
        self._bundle.refresh()
        if self._version != self._bundle.version or len(self._known) > REMEMBERED:
            self._known.clear()
            self._version = self._bundle.version
        now = self._clock.now()
        if der not in self._known:
            self._known[der] = self._check(der, now)
        found = self._known[der]
        if found is None or not found.since <= now <= found.until:
            return None
        _EXPIRES_IN.observe((found.until - now).total_seconds())
        return found

    def _check(self, der: bytes, now: datetime) -> Verified | None:
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError:
            return None
        user = user_of(certificate, der)
        if user is None or not for_clients(certificate) or not self._bundle.signed(certificate, now):
            return None
        since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
        credential = f"certificate {subject}, issuer {issuer}"
        return Verified(known(user), since, until, subject, credential)


def user_of(certificate: x509.Certificate, der: bytes) -> User | None:
    """The user a certificate names; None without a common name."""
    names = [str(found.value) for found in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names or not names[0]:
        return None
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return User(
        names[0],
        groups=tuple(str(found.value) for found in groups),
        extra={CREDENTIAL_ID: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)},
        expires=certificate.not_valid_after_utc.astimezone(UTC).timestamp(),
    )


def for_clients(certificate: x509.Certificate) -> bool:
    """Whether its extended key usage, if it has one, includes client authentication."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages
