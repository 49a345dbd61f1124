"""Makes authorities, certificates and keys. Pure: values in, values out; renew.py decides when, files.py writes.

Keys are ECDSA P-256: a signature takes a hundredth of RSA's time, and every TLS stack of the ecosystem takes them.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pynetes.pki.layout import Leaf, Names

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=365)
#: Machines whose clocks differ a little must accept a certificate made just now.
BACKDATED = timedelta(minutes=5)

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: Key

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as a .crt file has it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as a .key file has it."""
        return private_pem(self.key)


def new_key() -> Key:
    """A fresh ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: Key) -> bytes:
    """EC PRIVATE KEY or RSA PRIVATE KEY: the forms that Go and OpenSSL both read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def public_pem(key: Key) -> bytes:
    """PUBLIC KEY, as in sa.pub."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_key(pem: bytes) -> Key:
    """Read a private key. Raises ValueError when it is none of the kinds used here."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"a {type(key).__name__} is neither ECDSA nor RSA")
    return key


def load(certificate_pem: bytes, key_pem: bytes) -> Issued:
    """Read a pair. Raises ValueError when a part is unreadable or the key is not the certificate's."""
    issued = Issued(x509.load_pem_x509_certificate(certificate_pem), load_key(key_pem))
    if issued.certificate.public_key() != issued.key.public_key():
        raise ValueError("the key does not belong to the certificate")
    return issued


def authority(common_name: str, now: datetime, *, key: Key | None = None) -> Issued:
    """A self-signed CA for ten years; with `key`, one whose earlier certificates stay valid."""
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = _builder(subject, subject, key, now - BACKDATED, now + AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True, encipherment=True), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name)]), critical=False)
    return Issued(builder.sign(key, hashes.SHA256()), key)


def leaf(wanted: Leaf, issuer: Issued, now: datetime, *, life: timedelta = LEAF_LIFE) -> Issued:
    """A certificate for `wanted`, never outliving its issuer."""
    key = new_key()
    return Issued(certify(wanted, key.public_key(), issuer, now, life=life), key)


def certify(
    wanted: Leaf,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: Issued,
    now: datetime,
    *,
    life: timedelta = LEAF_LIFE,
) -> x509.Certificate:
    """Sign somebody's public key."""
    start = max(now - BACKDATED, issuer.certificate.not_valid_before_utc)
    end = min(now + life, issuer.certificate.not_valid_after_utc)
    builder = _builder(subject_of(wanted), issuer.certificate.subject, public_key, start, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    encipherment = isinstance(public_key, rsa.RSAPublicKey)
    builder = builder.add_extension(_key_usage(encipherment=encipherment), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages(wanted)), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if alternatives := general_names(wanted.names):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def subject_of(wanted: Leaf) -> x509.Name:
    """O= for each group, then CN=."""
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in wanted.organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name)])


def usages(wanted: Leaf) -> list[x509.ObjectIdentifier]:
    """The extended key usages."""
    server = [ExtendedKeyUsageOID.SERVER_AUTH] if wanted.server else []
    client = [ExtendedKeyUsageOID.CLIENT_AUTH] if wanted.client else []
    return server + client


def names_of(certificate: x509.Certificate) -> Names:
    """The subject alternative names of a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Names()
    addresses = tuple(str(address) for address in found.get_values_for_type(x509.IPAddress))
    return Names(tuple(found.get_values_for_type(x509.DNSName)), addresses)


def general_names(wanted: Names) -> list[x509.GeneralName]:
    """As an extension has them."""
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in wanted.addresses]
    return [*(x509.DNSName(name) for name in wanted.dns), *addresses]


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key | ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else key
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _key_usage(*, signs_certificates: bool = False, encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=encipherment,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
