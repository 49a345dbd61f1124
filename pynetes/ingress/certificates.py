"""Certificates from Secrets: read, and checked before nginx is given them."""

import base64
import binascii
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pynetes.ingress.rules import Certificate
from pynetes.machinery.meta import Object, key_of


def text_of(secret: Object, name: str) -> str:
    """A Secret's value as text; "" when it is not there. Raises ValueError when it is not base64 of UTF-8."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(name) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"{name} of the Secret {key_of(secret)} is no text") from None


@lru_cache(maxsize=4096)
def _checked(chain: str, key: str) -> tuple[datetime, tuple[str, ...]]:
    """When it ends and the names it has. Raises ValueError."""
    try:
        certificate = x509.load_pem_x509_certificates(chain.encode())[0]
    except ValueError:
        raise ValueError("tls.crt is no PEM certificate") from None
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        raise ValueError("tls.key is no PEM private key without a passphrase") from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise ValueError("tls.key does not belong to tls.crt")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        dns = ()
    return certificate.not_valid_after_utc, dns


def read(secret: Object | None, what: str) -> Certificate:
    """The pair in a Secret; what names it in errors. Raises ValueError."""
    if secret is None:
        raise ValueError(f"there is no Secret {what}")
    chain, key = text_of(secret, "tls.crt"), text_of(secret, "tls.key")
    if not chain or not key:
        raise ValueError(f"the Secret {what} has no tls.crt or no tls.key")
    try:
        _checked(chain, key)
    except ValueError as problem:
        raise ValueError(f"the Secret {what}: {problem}") from None
    return Certificate(chain, key)


def ends(pair: Certificate) -> datetime:
    """When a certificate ends."""
    return _checked(*pair)[0]


def ended(pair: Certificate, now: datetime) -> bool:
    """Whether it is too late for it."""
    return ends(pair) <= now.astimezone(UTC)


def covers(pair: Certificate, host: str) -> bool:
    """Whether one of its names is that of the host."""
    parent = "*." + host.partition(".")[2]
    return any(name in (host, parent) for name in _checked(*pair)[1])
