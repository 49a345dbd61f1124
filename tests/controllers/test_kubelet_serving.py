"""Kubelets' serving certificates: approved for the names a node was made with, and for nobody else's."""

import base64
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pynetes.controllers import _requests as asked
from pynetes.controllers.kubeletservingapproving import refusal

KNOWN = {"a": ["a", "10.0.0.1"], "b": ["b", "10.0.0.2"]}


def request(node: str, dns: list[str], addresses: list[str]) -> str:
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
    ]
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(Encoding.PEM)).decode()


@pytest.mark.parametrize(
    ("username", "node", "dns", "addresses", "usages", "approved"),
    [
        ("system:node:a", "a", ["a"], ["10.0.0.1"], ["digital signature", "server auth"], True),
        ("system:node:a", "a", [], ["10.0.0.1"], ["digital signature", "server auth"], True),
        ("system:node:a", "a", ["a"], ["10.0.0.2"], ["digital signature", "server auth"], False),
        ("system:node:a", "a", ["a", "kubernetes.default.svc"], [], ["digital signature", "server auth"], False),
        ("system:node:a", "b", ["b"], ["10.0.0.2"], ["digital signature", "server auth"], False),
        ("system:bootstrap:abcdef", "a", ["a"], ["10.0.0.1"], ["digital signature", "server auth"], False),
        ("system:node:c", "c", ["c"], [], ["digital signature", "server auth"], False),
        ("system:node:a", "a", ["a"], [], ["digital signature", "server auth", "client auth"], False),
    ],
    ids=[
        "its own",
        "address only",
        "another's address",
        "the API server's name",
        "another node",
        "a token",
        "unknown",
        "both ways",
    ],
)
def test_only_what_is_its_own(
    username: str, node: str, dns: list[str], addresses: list[str], usages: list[str], approved: bool
) -> None:
    """What a stolen kubelet's key could ask for in another's name waits for a person, for ever."""
    spec = {
        "request": request(node, dns, addresses),
        "signerName": "kubernetes.io/kubelet-serving",
        "usages": usages,
        "username": username,
    }
    csr = {"metadata": {"name": "r"}, "spec": spec}
    assert (refusal(csr, asked.read(csr), KNOWN) == "") == approved
