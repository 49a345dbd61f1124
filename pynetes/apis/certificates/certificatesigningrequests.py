"""CertificateSigningRequest: a request for a certificate. Who asks is written by the API server."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pynetes.apis.apps import _workload
from pynetes.machinery import cells, field, time
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


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
