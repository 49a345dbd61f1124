"""What the cluster's signers certify, and what they do not."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from pynetes.pki import issue, signing

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CA = issue.authority("kubernetes", NOW - timedelta(days=1))
CLIENT_USAGES = ("digital signature", "client auth")
SERVER_USAGES = ("digital signature", "key encipherment", "server auth")


def request(name: str, *groups: str, names: tuple[x509.GeneralName, ...] = ()) -> bytes:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder(subject_name=subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issue.new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


HOST = (x509.DNSName("n1"), x509.IPAddress(ipaddress.ip_address("10.0.0.1")))


def test_kubelet_client() -> None:
    """A node's client certificate says who it is, for clients only, and no more."""
    pem = signing.sign(request("system:node:n1", "system:nodes"), signing.KUBELET_CLIENT, CLIENT_USAGES, CA, NOW)
    made = x509.load_pem_x509_certificate(pem)
    assert made.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    made.verify_directly_issued_by(CA.certificate)


def test_kubelet_serving() -> None:
    """A node's serving certificate keeps the names it asked for."""
    asked = request("system:node:n1", "system:nodes", names=HOST)
    pem = signing.sign(asked, signing.KUBELET_SERVING, SERVER_USAGES, CA, NOW, life=timedelta(days=30))
    made = x509.load_pem_x509_certificate(pem)
    assert issue.names_of(made) == (("n1",), ("10.0.0.1",))
    assert made.not_valid_after_utc == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    ("signer", "usages", "asked"),
    [
        (signing.KUBELET_CLIENT, CLIENT_USAGES, request("admin", "system:nodes")),
        (signing.KUBELET_CLIENT, CLIENT_USAGES, request("system:node:", "system:nodes")),
        (signing.KUBELET_CLIENT, CLIENT_USAGES, request("system:node:n1", "system:nodes", "system:masters")),
        (signing.KUBELET_CLIENT, CLIENT_USAGES, request("system:node:n1", "system:nodes", names=HOST)),
        (signing.KUBELET_CLIENT, (*CLIENT_USAGES, "server auth"), request("system:node:n1", "system:nodes")),
        (signing.KUBELET_SERVING, SERVER_USAGES, request("system:node:n1", "system:nodes")),
        (signing.KUBELET_SERVING, CLIENT_USAGES, request("system:node:n1", "system:nodes", names=HOST)),
        (
            signing.KUBELET_SERVING,
            SERVER_USAGES,
            request("system:node:n1", "system:nodes", names=(*HOST, x509.RFC822Name("a@b"))),
        ),
        (signing.CLIENT, CLIENT_USAGES, request("eve", "system:masters")),
        (signing.CLIENT, ("cert sign", *CLIENT_USAGES), request("eve")),
        ("example.com/other", CLIENT_USAGES, request("eve")),
        (signing.CLIENT, CLIENT_USAGES, b"garbage"),
    ],
)
def test_refused(signer: str, usages: tuple[str, ...], asked: bytes) -> None:
    """Whatever reaches beyond the signer is refused whole."""
    with pytest.raises(signing.Refused):
        signing.sign(asked, signer, usages, CA, NOW)
