"""CertificateSigningRequest: a request for a certificate. Who asks is written by the API server."""

import base64
import re
from collections.abc import Iterator, Sequence
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
_DECISIONS, _FINAL = ("Approved", "Denied"), ("Approved", "Denied", "Failed")


def _condition(obj: Object, _: datetime) -> str:
    status = obj.get("status") or {}
    types = {item["type"] for item in status.get("conditions") or ()}
    words = [word for word in ("Denied", "Approved") if word in types][:1] or ["Pending"]
    if "Failed" in types:
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
        yield field.required("spec.usages")
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
    yield from _labels(domain, path, names.dns_label)
    if "." not in domain:
        yield field.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    yield from _labels(rest, path, names.dns_subdomain)
    if len(rest) > _DOMAIN_LIMIT:
        yield field.too_long(path, _DOMAIN_LIMIT)


def _labels(text: str, path: str, rule: names.Rule) -> Iterator[field.Error]:
    """The first label with mistakes: those of others would read the same."""
    for label in text.split("."):
        if problems := rule(label):
            yield from (field.invalid(path, text, f"validating label {field.quote(label)}: {why}") for why in problems)
            return


def set_conditions(new: Object, given: Sequence[Object], old: Object, now: str) -> None:
    """These conditions, with the times that the client left to the server."""
    before = {item["type"]: item for item in (old.get("status") or {}).get("conditions") or ()}
    conditions = []
    for item in given:
        condition, was = dict(item), before.get(item.get("type")) or {}
        condition["lastUpdateTime"] = condition.get("lastUpdateTime") or now
        same = was.get("status") == condition.get("status")
        kept = was.get("lastTransitionTime") if same else None
        condition["lastTransitionTime"] = condition.get("lastTransitionTime") or kept or now
        conditions.append(condition)
    status = new.setdefault("status", {})
    status.pop("conditions", None)
    if conditions:
        status["conditions"] = conditions


def stamp(new: Object, old: Object | None, now: str) -> None:
    """Conditions have times; approvals and denials stay what they were, but for those who may approve."""
    status = new.get("status") or {}
    if old is None or status == old.get("status"):
        return
    known = (old.get("status") or {}).get("conditions") or ()
    decided = {item["type"]: item for item in known if item["type"] in _DECISIONS}
    set_conditions(new, [decided.get(item.get("type"), item) for item in status.get("conditions") or ()], old, now)


def validate_conditions(new: Object, old: Object, *, approval: bool) -> Iterator[field.Error]:
    """Decisions are True, stay, and are made through the subresource that takes the right to approve."""
    conditions = (new.get("status") or {}).get("conditions") or ()
    before = [item["type"] for item in (old.get("status") or {}).get("conditions") or ()]
    kinds = [item.get("type") or "" for item in conditions]
    yield from _each_condition(conditions, kinds)
    if not approval:
        yield from _certificate(new, old)
    for kind in _FINAL:
        if kind in before and kind not in kinds:
            text = f"updates may not remove a condition of type {field.quote(kind)}"
            yield field.forbidden("status.conditions", text)
    if approval:
        return
    for kind in _DECISIONS:
        if kind in kinds and kind not in before:
            text = f"updates may not add a condition of type {field.quote(kind)}"
            yield field.forbidden("status.conditions", text)


def _each_condition(conditions: Sequence[Object], kinds: list[str]) -> Iterator[field.Error]:
    for index, item in enumerate(conditions):
        path, kind = f"status.conditions[{index}]", kinds[index]
        if not kind:
            yield field.required(f"{path}.type")
        allowed = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
        if not item.get("status"):
            yield field.required(f"{path}.status")
        elif item["status"] not in allowed:
            yield field.not_supported(f"{path}.status", item["status"], allowed)
        if kind in _DECISIONS and any(other in kinds[:index] for other in _DECISIONS if other != kind):
            text = "Approved and Denied conditions are mutually exclusive"
            yield field.invalid("status.conditions", kind, text)
        if kind in kinds[:index]:
            yield field.duplicate(f"{path}.type", kind)


def _certificate(new: Object, old: Object) -> Iterator[field.Error]:
    """What was issued is one or more certificates, and is issued once."""
    now, before = ((each.get("status") or {}).get("certificate") or "" for each in (new, old))
    if now == before:
        return
    if now and (problem := _certificate_problem(base64.b64decode(now))):
        yield field.invalid("status.certificate", "<certificate data>", problem)
    if before:
        yield field.forbidden("status.certificate", "updates may not modify existing certificate content")


def _certificate_problem(pem: bytes) -> str:
    kinds = re.findall(rb"-----BEGIN ([^-]*)-----", pem)
    if not kinds:
        return "must contain one or more CERTIFICATE PEM blocks"
    other = next((kind.decode(errors="replace") for kind in kinds if kind != b"CERTIFICATE"), None)
    return f"only CERTIFICATE PEM blocks are allowed, found {field.quote(other)}" if other is not None else ""


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Approval has a subresource of its own, with rights of its own; status may not bring it in."""
    yield from validate_conditions(new, old or {}, approval=False)


RESOURCE = Resource(
    group="certificates.k8s.io",
    versions=("v1",),
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    short_names=("csr",),
    namespaced=False,
    # Whatever a URL can bear.
    name_rule="path-segment",
    subresources=("approval", "status"),
    generation=False,
    prepare=prepare,
    validate=validate,
    prepare_status=_workload.keep_spec,
    stamp=stamp,
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
