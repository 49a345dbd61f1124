"""Signing requests of the cluster's own signers: what each will certify, and nothing beyond it.

Whoever approves decides whether; this decides what. A request that asks for more than its signer gives is refused
whole, never trimmed: the requester would not notice.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, Leaf, Names

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"

SIGN, ENCIPHER, CLIENT_AUTH, SERVER_AUTH = "digital signature", "key encipherment", "client auth", "server auth"
NODE_PREFIX, NODES = "system:node:", "system:nodes"
#: Shorter ones are of no use: a certificate is backdated and needs time to be renewed.
SHORTEST = timedelta(seconds=600)


class Refused(Exception):
    """The signer does not certify this; the text says why."""


def sign(
    pem: bytes,
    signer: str,
    usages: Sequence[str],
    issuer: issue.Issued,
    now: datetime,
    *,
    life: timedelta = issue.LEAF_LIFE,
) -> bytes:
    """The certificate (PEM) for a request (PEM). Raises Refused, listing everything that is wrong."""
    try:
        request = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        raise Refused(f"the request is unreadable: {error}") from error
    check = CHECKS.get(signer)
    if check is None:
        raise Refused(f"{signer} is none of this signer's names")
    problems = list(check(request, frozenset(usages)))
    if not request.is_signature_valid:
        problems.append("the request is not signed with its own key")
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        problems.append("the key is neither ECDSA nor RSA")
    if problems or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Refused("; ".join(problems))
    wanted = Leaf(
        signer,
        CLUSTER_CA,
        _subject(request, NameOID.COMMON_NAME)[0],
        tuple(_subject(request, NameOID.ORGANIZATION_NAME)),
        server=SERVER_AUTH in usages,
        client=CLIENT_AUTH in usages,
        names=_names(request),
    )
    certificate = issue.certify(wanted, key, issuer, now, life=max(life, SHORTEST))
    return certificate.public_bytes(serialization.Encoding.PEM)


def _subject(request: x509.CertificateSigningRequest, kind: x509.ObjectIdentifier) -> list[str]:
    return [str(found.value) for found in request.subject.get_attributes_for_oid(kind)]


def _alternatives(request: x509.CertificateSigningRequest) -> Sequence[x509.GeneralName]:
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _names(request: x509.CertificateSigningRequest) -> Names:
    found = _alternatives(request)
    dns = tuple(name.value for name in found if isinstance(name, x509.DNSName))
    return Names(dns, tuple(str(name.value) for name in found if isinstance(name, x509.IPAddress)))


def _any_client(request: x509.CertificateSigningRequest, usages: frozenset[str]) -> Iterator[str]:
    yield from _usages(usages, CLIENT_AUTH)
    if len(_subject(request, NameOID.COMMON_NAME)) != 1:
        yield "the subject has no common name"
    if "system:masters" in _subject(request, NameOID.ORGANIZATION_NAME):
        yield "nobody becomes system:masters by a request"


def _node(request: x509.CertificateSigningRequest) -> Iterator[str]:
    if _subject(request, NameOID.ORGANIZATION_NAME) != [NODES]:
        yield f"subject organization is not {NODES}"
    names = _subject(request, NameOID.COMMON_NAME)
    if len(names) != 1 or not names[0].startswith(NODE_PREFIX) or names[0] == NODE_PREFIX:
        yield f"subject common name does not begin with {NODE_PREFIX}"


def _kubelet_client(request: x509.CertificateSigningRequest, usages: frozenset[str]) -> Iterator[str]:
    yield from _node(request)
    yield from _usages(usages, CLIENT_AUTH)
    if _alternatives(request):
        yield "subject alternative names are not allowed"


def _kubelet_serving(request: x509.CertificateSigningRequest, usages: frozenset[str]) -> Iterator[str]:
    yield from _node(request)
    yield from _usages(usages, SERVER_AUTH)
    found = _alternatives(request)
    if not found:
        yield "at least one DNS or IP subject alternative name is needed"
    if any(not isinstance(name, x509.DNSName | x509.IPAddress) for name in found):
        yield "only DNS and IP subject alternative names are allowed"


def _usages(usages: frozenset[str], purpose: str) -> Iterator[str]:
    """RSA keys may encipher, others need not; the purpose is a must."""
    if usages not in ({SIGN, purpose}, {SIGN, ENCIPHER, purpose}):
        yield f"the usages must be {SIGN}, {purpose} and at most {ENCIPHER} besides"


CHECKS: dict[str, Callable[[x509.CertificateSigningRequest, frozenset[str]], Iterator[str]]] = {
    CLIENT: _any_client,
    KUBELET_CLIENT: _kubelet_client,
    KUBELET_SERVING: _kubelet_serving,
}
