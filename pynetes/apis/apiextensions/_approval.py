"""Groups of the Kubernetes project itself: a definition in one says by an annotation where it was agreed on, or that it
was not (KEP-1111). The annotation is checked when the definition is made and when it changes."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from pynetes.machinery import field
from pynetes.machinery.meta import Object

ANNOTATION = "api-approved.kubernetes.io"
_GROUPS = ("k8s.io", "kubernetes.io")
_PATH = f"metadata.annotations[{ANNOTATION}]"
_RULE = f"protected groups must have approval annotation {field.quote(ANNOTATION)}"
_SEE = ", see https://github.com/kubernetes/enhancements/pull/1111"


class Approval(NamedTuple):
    """What the annotation comes to, as the condition KubernetesAPIApprovalPolicyConformant says it."""

    status: str
    reason: str
    message: str


def of(definition: Object) -> Approval | None:
    """None for a group that is not protected."""
    group = definition["spec"].get("group") or ""
    if group not in _GROUPS and not group.endswith(tuple(f".{name}" for name in _GROUPS)):
        return None
    text = (definition["metadata"].get("annotations") or {}).get(ANNOTATION) or ""
    if not text:
        return Approval("False", "MissingAnnotation", _RULE + _SEE)
    if text.startswith("unapproved"):
        return Approval("False", "UnapprovedAnnotation", f"not approved: {field.quote(text)}")
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme and parts.netloc:
        return Approval("True", "ApprovedAnnotation", f"approved in {text}")
    detail = ' with either a URL or a reason starting with "unapproved"'
    return Approval("False", "InvalidAnnotation", _RULE + detail + _SEE)


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """What is wrong with it, unless that was wrong before."""
    found = of(new)
    before = of(old) if old is not None else None
    if found is None or (before is not None and before.reason == found.reason):
        return
    if found.reason == "MissingAnnotation":
        yield field.required(_PATH, found.message)
    elif found.reason == "InvalidAnnotation":
        yield field.invalid(_PATH, new["metadata"]["annotations"][ANNOTATION], found.message)
