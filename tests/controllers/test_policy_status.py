"""The status of validating admission policies: what their expressions get wrong about the kinds that they are for."""

from pynetes.apis.admissionregistration import validatingadmissionpolicies
from pynetes.controllers.validatingadmissionpolicystatus import told
from pynetes.machinery.meta import Object
from tests.controllers.harness import running

_V1 = "admissionregistration.k8s.io/v1"


def policy(*expressions: str, **rule: list[str]) -> Object:
    """A policy about Deployments, or about what the rule says."""
    about = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"], **rule}
    validations = [{"expression": each} for each in expressions]
    spec = {"matchConstraints": {"resourceRules": [about]}, "validations": validations}
    metadata = {"name": "p", "generation": 2}
    return {"apiVersion": _V1, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec}


def warned(found: Object) -> list[str]:
    """The texts of the warnings."""
    return [each["warning"] for each in found["status"]["typeChecking"].get("expressionWarnings", ())]


async def test_a_policys_mistakes_are_told_in_its_status() -> None:
    """With the kind, once for its generation."""
    async with running("validatingadmissionpolicy-status") as world:
        world.api.put(policy("object.spec.replicas > 'a'"))
        await world.settle()
        found = world.get(validatingadmissionpolicies.RESOURCE, "p")
        assert found["status"]["observedGeneration"] == 2
        assert found["status"]["typeChecking"]["expressionWarnings"] == [
            {
                "fieldRef": "spec.validations[0].expression",
                "warning": (
                    "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to"
                    " '(int, string)'\n | object.spec.replicas > 'a'\n | .....................^\n"
                ),
            }
        ]


def test_a_policy_without_mistakes_is_checked_too() -> None:
    """Its status then says so: nothing."""
    right = "object.spec.template.spec.containers.all(c, c.image.startsWith('a'))"
    assert told(policy(right, "object.metadata.creationTimestamp > oldObject.metadata.creationTimestamp"), {})[
        "status"
    ] == {
        "observedGeneration": 2,
        "typeChecking": {},
    }


def test_every_kind_is_checked_by_itself() -> None:
    """In alphabetical order; kinds that nobody knows are left out, and rules for all groups."""
    (text,) = warned(
        told(policy("object.zz == 1", resources=["replicasets", "deployments", "no", "deployments/status"]), {})
    )
    assert [line.partition(":")[0] for line in text.split("\n") if "Kind=" in line] == [
        "apps/v1, Kind=Deployment",
        "apps/v1, Kind=ReplicaSet",
    ]
    assert warned(told(policy("object.zz == 1", apiGroups=["*"]), {})) == []


def test_custom_kinds_have_their_definitions_schema() -> None:
    """And all of metadata."""
    inner = {"type": "object", "properties": {"n": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": inner}}
    version = {"name": "v1", "served": True, "schema": {"openAPIV3Schema": schema}}
    definition = {"spec": {"group": "e.com", "names": {"kind": "Widget"}, "versions": [version]}}
    about = {"apiGroups": ["e.com"], "resources": ["widgets"]}
    found = told(
        policy("object.spec.x == 1", "'a' in object.metadata.labels", **about), {("e.com", "widgets"): definition}
    )
    (text,) = warned(found)
    assert text.startswith("e.com/v1, Kind=Widget: ERROR: <input>:1:12: undefined field 'x'\n")
