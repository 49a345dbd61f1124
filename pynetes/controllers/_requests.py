"""CertificateSigningRequests: what is asked for, and what the kubelet's signers accept."""

import base64
import binascii
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from pynetes.machinery.meta import Object

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
NODES = "system:nodes"
NODE_PREFIX = "system:node:"
_CLIENT_USAGES = ({"digital signature", "client auth"}, {"digital signature", "key encipherment", "client auth"})
_SERVING_USAGES = ({"digital signature", "server auth"}, {"digital signature", "key encipherment", "server auth"})


class Wanted(NamedTuple):
    """The subject and names in a request."""

    common_name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    request: x509.CertificateSigningRequest


def read(csr: Object) -> Wanted:
    """Parse spec.request. ValueError when it is no request, or its signature is wrong."""
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(csr["spec"]["request"]))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"unable to parse csr: {error}") from None
    if not request.is_signature_valid:
        raise ValueError("the request is not signed by its own key")
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    try:
        alternative = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternative = x509.SubjectAlternativeName([])
    return Wanted(
        str(names[0].value) if names else "",
        tuple(str(group.value) for group in groups),
        tuple(alternative.get_values_for_type(x509.DNSName)),
        tuple(str(address) for address in alternative.get_values_for_type(x509.IPAddress)),
        request,
    )


def problem(csr: Object, wanted: Wanted) -> str:
    """Why the signer must refuse the request; "" when it need not."""
    signer, usages = csr["spec"]["signerName"], set(csr["spec"].get("usages") or ())
    if signer == CLIENT:
        return "" if usages <= {*_CLIENT_USAGES[1]} and "client auth" in usages else "usages did not match"
    if wanted.organizations != (NODES,):
        return "subject organization is not system:nodes"
    if not wanted.common_name.startswith(NODE_PREFIX):
        return "subject common name does not begin with system:node: "
    names = wanted.dns + wanted.addresses
    if signer == KUBELET_CLIENT:
        if usages not in _CLIENT_USAGES:
            return "usages did not match"
        return "subjectAltNames are not allowed" if names else ""
    if usages not in _SERVING_USAGES:
        return "usages did not match"
    return "" if names else "at least one DNS name or IP address is required"


def has(csr: Object, kind: str) -> bool:
    """Whether the condition (Approved, Denied, Failed) is there."""
    return any(each["type"] == kind for each in (csr.get("status") or {}).get("conditions") or ())
