"""Admission policies and webhooks are refused where they cannot work, when they are written."""

from typing import Any

import pytest

from pynetes.apis.admissionregistration import (
    mutatingadmissionpolicies,
    validatingadmissionpolicies,
    validatingadmissionpolicybindings,
    validatingwebhookconfigurations,
)
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


def wrong(resource: Resource, obj: Object, old: Object | None = None) -> list[str]:
    """What validation says of the object with its defaults."""
    obj = {"metadata": {"name": "x"}, **obj}
    assert resource.default is not None
    assert resource.validate is not None
    resource.default(obj)
    return [str(error) for error in resource.validate(obj, old)]


def policy(**spec: Any) -> list[str]:
    """Of a policy with this in its spec."""
    given = {"matchConstraints": {"resourceRules": [dict(RULE)]}, "validations": [{"expression": "true"}], **spec}
    return wrong(validatingadmissionpolicies.RESOURCE, {"spec": given})


def test_expressions_know_the_request() -> None:
    """Its fields are typed; the object is not, so that a result from it is no bool yet."""
    assert not policy(validations=[{"expression": "request.name == 'a' && object.spec.x == 1"}])
    (error,) = policy(validations=[{"expression": "request.nme == 'a'"}])
    assert "undefined field 'nme'" in error
    (error,) = policy(validations=[{"expression": "object.spec.ok"}])
    assert error.endswith("must evaluate to bool but got dyn")
    (error,) = policy(validations=[{"expression": "params.a == 1"}])
    assert "undeclared reference to 'params'" in error
    assert not policy(
        validations=[{"expression": "params.a == 1"}], paramKind={"apiVersion": "v1", "kind": "ConfigMap"}
    )


def test_variables_are_known_to_those_behind_them() -> None:
    """And to nobody else."""
    variables = [{"name": "a", "expression": "1"}, {"name": "b", "expression": "variables.a"}]
    assert not policy(variables=variables, validations=[{"expression": "variables.b == 1"}])
    (error,) = policy(variables=variables, validations=[{"expression": "variables.c == 1"}])
    assert "undefined field 'c'" in error


def test_messages_must_be_texts_and_know_no_authorizer() -> None:
    """As upstream."""
    (error,) = policy(validations=[{"expression": "true", "messageExpression": "1"}])
    assert error.endswith("must evaluate to string but got int")
    (error,) = policy(validations=[{"expression": "true", "messageExpression": "string(authorizer)"}])
    assert "undeclared reference to 'authorizer'" in error


def test_annotations_are_texts_or_nothing() -> None:
    """Keys are unique and qualified by the policy's name."""
    assert not policy(auditAnnotations=[{"key": "k", "valueExpression": "'a'"}])
    (error,) = policy(auditAnnotations=[{"key": "k", "valueExpression": "1"}])
    assert error.endswith("must evaluate to one of [string null_type] but got int")


def test_bindings_say_what_happens() -> None:
    """At least one action, and not two that say the same."""
    resource = validatingadmissionpolicybindings.RESOURCE
    assert not wrong(resource, {"spec": {"policyName": "p", "validationActions": ["Deny", "Audit"]}})
    (error,) = wrong(resource, {"spec": {"policyName": "p"}})
    assert error == "spec.validationActions: Required value: at least one validation action is required"


def test_mutations() -> None:
    """A list of steps or an object, as the patch type says."""

    def mutated(mutation: Object) -> list[str]:
        spec = {"matchConstraints": {"resourceRules": [dict(RULE)]}, "mutations": [mutation]}
        return wrong(mutatingadmissionpolicies.RESOURCE, {"spec": spec})

    steps = {"expression": "[JSONPatch{op: 'add', path: '/a', value: 1}]"}
    assert not mutated({"patchType": "JSONPatch", "jsonPatch": steps})
    assert mutated({"patchType": "JSONPatch", "jsonPatch": {"expression": "1"}})[0].endswith("but got int")
    made = {"expression": "Object{metadata: Object.metadata{labels: {'a': 'b'}}}"}
    assert not mutated({"patchType": "ApplyConfiguration", "applyConfiguration": made})
    assert mutated({"patchType": "Bogus"})[0].startswith("spec.mutations[0].patchType: Unsupported value")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"name": "a.b"}, 'webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments'),
        ({"sideEffects": "Some"}, 'webhooks[0].sideEffects: Unsupported value: "Some"'),
        ({"timeoutSeconds": 31}, "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between"),
        ({"clientConfig": {}}, "webhooks[0].clientConfig: Required value: exactly one of url or service is required"),
        ({"clientConfig": {"url": "http://a"}}, "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is"),
        ({"admissionReviewVersions": ["v9"]}, 'webhooks[0].admissionReviewVersions: Invalid value: ["v9"]: must'),
        ({"rules": [{**RULE, "operations": ["*", "CREATE"]}]}, "webhooks[0].rules[0].operations: Invalid value"),
        ({"rules": [{**RULE, "resources": ["a/*", "a/b"]}]}, "webhooks[0].rules[0].resources[1]: Invalid value"),
        ({"matchConditions": [{"name": "c", "expression": "1"}]}, "webhooks[0].matchConditions[0].expression: Invalid"),
    ],
)
def test_webhooks(changes: Object, expected: str | None) -> None:
    """One mistake each."""
    hook = {"name": "h.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    hook |= {"clientConfig": {"url": "https://a/"}, "rules": [dict(RULE)], **changes}
    found = wrong(validatingwebhookconfigurations.RESOURCE, {"webhooks": [hook]})
    assert len(found) == (expected is not None)
    assert not expected or found[0].startswith(expected)
