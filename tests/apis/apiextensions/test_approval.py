"""Groups of the Kubernetes project ask for a word that the definition was agreed on."""

import pytest

from pynetes.apis.apiextensions import _approval, customresourcedefinitions
from pynetes.apiserver.crd import compiled
from pynetes.machinery.meta import Object


def _definition(group: str, text: str | None = None) -> Object:
    annotations = {} if text is None else {_approval.ANNOTATION: text}
    return {"metadata": {"name": f"foos.{group}", "annotations": annotations}, "spec": {"group": group}}


@pytest.mark.parametrize(
    ("group", "text", "reason", "refused"),
    [
        ("example.com", None, None, ""),
        ("myk8s.io", None, None, ""),
        ("x.k8s.io", None, "MissingAnnotation", "FieldValueRequired"),
        ("kubernetes.io", "", "MissingAnnotation", "FieldValueRequired"),
        ("x.k8s.io", "yes", "InvalidAnnotation", "FieldValueInvalid"),
        ("x.k8s.io", "unapproved, a trial", "UnapprovedAnnotation", ""),
        ("x.k8s.io", "https://example.com/1", "ApprovedAnnotation", ""),
    ],
)
def test_what_the_annotation_comes_to(group: str, text: str | None, reason: str | None, refused: str) -> None:
    """A condition says it; what is missing or no address is refused, but only once."""
    definition = _definition(group, text)
    found = [each["reason"] for each in compiled.approval(definition, "2020-01-01T00:00:00Z")]
    assert found == ([reason] if reason else [])
    assert [error.reason for error in _approval.validate(definition, None)] == ([refused] if refused else [])
    assert not list(_approval.validate(definition, definition))


def test_unknown_fields_are_kept_by_schemas_only() -> None:
    """The old switch for all of an object cannot be turned on any more."""
    definition = _definition("example.com")
    definition["spec"]["preserveUnknownFields"] = True
    rule = customresourcedefinitions.RESOURCE.validate
    assert rule is not None
    assert "spec.preserveUnknownFields" in [error.path for error in rule(definition, None)]
    assert "spec.preserveUnknownFields" not in [error.path for error in rule(definition, definition)]
