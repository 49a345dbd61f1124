"""CertificateSigningRequest."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="certificates.k8s.io",
    versions=("v1",),
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    short_names=("csr",),
    namespaced=False,
    subresources=("approval", "status"),
    generation=False,
)
