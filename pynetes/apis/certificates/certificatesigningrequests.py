"""CertificateSigningRequest: a request for a certificate. Who asks is written by the API server."""

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta

from pynetes.apis.apps import _workload
from pynetes.machinery import cells, field, names, time
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_SHORTEST, _DOMAIN_LIMIT = 600, 253


def default(obj: Object) -> None:
    """Signing, encipherment and authentication unless told otherwise."""
    spec = obj.get("spec")
    if spec is not None and not spec.get("usages") and not spec.get("signerName"):
        spec["usages"] = ["digital signature", "key encipherment"]


def _condition(obj: Object, _: datetime) -> str:
    status = obj.get("status") or {}
    types = {item["type"] for item in status.get("conditions") or ()}
    words = [word for word in ("Approved", "Denied", "Failed") if word in types][:1] or ["Pending"]
    if "Failed" in types and words != ["Failed"]:
        words.append("Failed")
    if status.get("certificate"):
        words.append("Issued")
    return ",".join(words)


def _duration(obj: Object, _: datetime) -> str:
    seconds = obj["spec"].get("expirationSeconds")
    return time.human(timedelta(seconds=seconds)) if seconds is not None else "<none>"


_reset = _workload.reset_status()


def prepare(new: Object, old: Object | None) -> None:
    """What was asked for, and by whom, never changes: somebody has approved, or will approve, just that."""
    _reset(new, old)
    if old is not None:
        new["spec"] = old["spec"]


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A request that was signed with its own key, known usages, and a signer's name."""
    if old is not None:
        return
    spec = new["spec"]
    request = spec.get("request") or ""
    if problem := _request_problem(request):
        yield field.invalid("spec.request", spec.get("request"), problem)
    usages = spec.get("usages") or ()
    if not usages:
        yield field.required("spec.usages", "usages must be provided")
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            yield field.not_supported(f"spec.usages[{index}]", usage, USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            yield field.duplicate(f"spec.usages[{index}]", usage)
    signer = spec.get("signerName") or ""
    if signer == LEGACY_SIGNER:
        text = "the legacy signerName is not allowed via this API version"
        yield field.invalid("spec.signerName", signer, text)
    else:
        yield from _signer_name(signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST:
        text = f"may not specify a duration less than {_SHORTEST} seconds (10 minutes)"
        yield field.invalid("spec.expirationSeconds", seconds, text)


def _request_problem(request: str) -> str:
    from cryptography import x509  # takes as long to import as all of the records

    try:
        pem = base64.b64decode(request)
        if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
            return "PEM block type must be CERTIFICATE REQUEST"
        found = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        return str(error)
    return "" if found.is_signature_valid else "x509: signature verification failed"


def _signer_name(name: str, path: str) -> Iterator[field.Error]:
    if not name:
        yield field.required(path)
        return
    domain, _, rest = name.partition("/")
    if name.count("/") != 1:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield field.invalid(path, name, text)
        return
    if len(domain) > _DOMAIN_LIMIT:
        yield field.too_long(path, _DOMAIN_LIMIT)
    for label in domain.split("."):
        for problem in names.dns_label(label):
            yield field.invalid(path, domain, f"validating label {field.quote(label)}: {problem}")
    if "." not in domain:
        yield field.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    for label in rest.split("."):
        for problem in names.dns_subdomain(label):
            yield field.invalid(path, rest, f"validating label {field.quote(label)}: {problem}")


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Approval has a subresource of its own, with rights of its own; status may not bring it in."""
    before = {item["type"] for item in ((old or {}).get("status") or {}).get("conditions") or ()}
    for item in (new.get("status") or {}).get("conditions") or ():
        if item["type"] in ("Approved", "Denied") and item["type"] not in before:
            text = f"updates may not add a condition of type {field.quote(item['type'])}"
            yield field.forbidden("status.conditions", text)


RESOURCE = Resource(
    group="certificates.k8s.io",
    versions=("v1",),
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    short_names=("csr",),
    namespaced=False,
    subresources=("approval", "status"),
    generation=False,
    default=default,
    prepare=prepare,
    validate=validate,
    prepare_status=_workload.keep_spec,
    validate_status=validate_status,
    fields={"spec.signerName": ".spec.signerName"},
    columns=(
        Column.AGE,
        Column("SignerName", cells.path(".spec.signerName", "<none>")),
        Column("Requestor", ".spec.username"),
        Column("RequestedDuration", _duration),
        Column("Condition", _condition),
    ),
)
