"""Statuses that clients write."""

import pytest

from pynetes import apis
from pynetes.machinery.meta import Object


@pytest.mark.parametrize(
    ("group", "plural", "obj", "text"),
    [
        (
            "",
            "namespaces",
            {"status": {"phase": "Terminating"}},
            "may only be 'Active' if `deletionTimestamp` is empty",
        ),
        (
            "",
            "namespaces",
            {"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Active"}},
            "may only be 'Terminating' if `deletionTimestamp` is not empty",
        ),
        (
            "apiregistration.k8s.io",
            "apiservices",
            {"status": {"conditions": [{"type": "Available", "status": "Q"}]}},
            'status.conditions[0].status: Unsupported value: "Q": supported values: "True", "False", "Unknown"',
        ),
        (
            "admissionregistration.k8s.io",
            "validatingadmissionpolicies",
            {"status": {"typeChecking": {"expressionWarnings": [{"fieldRef": "spec.validations[0]"}]}}},
            "status.typeChecking.expressionWarnings[0].warning: Required value",
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "prioritylevelconfigurations",
            {"status": {"conditions": [{"type": "a"}, {"type": "a"}]}},
            'status.conditions[1].type: Duplicate value: "a"',
        ),
    ],
)
def test_refused(group: str, plural: str, obj: Object, text: str) -> None:
    """One mistake each."""
    resource = apis.find(group, plural)
    assert resource is not None
    assert resource.validate_status is not None
    (found,) = resource.validate_status({"metadata": {}, **obj}, None)
    assert text in str(found)
