"""What claims, their status, classes and slices of devices may not be."""

from typing import Any

import pytest

from pynetes.apis.resource import _claim_status, _slices, _validation
from pynetes.machinery.meta import Object


def texts(found: Any) -> list[str]:
    return [str(error) for error in found]


def claim(**request: Any) -> Object:
    exactly = {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1, **request}
    return {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}


@pytest.mark.parametrize(
    ("toleration", "text"),
    [
        ({"operator": "Exists", "value": "v"}, 'value: Invalid value: "v": must be empty for operator `Exists`'),
        ({"operator": "In"}, 'operator: Unsupported value: "In": supported values: "Equal", "Exists"'),
        ({"operator": "Exists", "effect": "X"}, "effect: Unsupported value"),
    ],
)
def test_tolerations(toleration: Object, text: str) -> None:
    """Operators and effects are known ones."""
    (found,) = texts(_validation.claim_spec(claim(tolerations=[toleration]), "spec"))
    assert found.startswith(f"spec.devices.requests[0].exactly.tolerations[0].{text}")


def test_constraints() -> None:
    """One attribute, with its domain, that matches or differs."""
    spec = claim()
    spec["devices"]["constraints"] = [{"distinctAttribute": "a.b/c"}, {}, {"distinctAttribute": "c"}]
    assert [error.path for error in _validation.claim_spec(spec, "spec")] == [
        "spec.devices.constraints[1]",
        "spec.devices.constraints[2].distinctAttribute",
    ]


def test_parameters_are_bounded() -> None:
    """10 KiB of somebody else's JSON."""
    assert texts(_validation.raw({"a": "b" * 10240}, "p")) == ["p: Too long: may not be more than 10240 bytes"]
    assert texts(_validation.raw(None, "p")) == ["p: Required value"]


def test_template_metadata() -> None:
    """Labels and annotations, and nothing that names the claim."""
    template = {"spec": {"metadata": {"name": "x", "uid": "y", "labels": {"a": "b"}}, "spec": claim()}}
    assert texts(_validation.claim_template(template, None)) == [
        "spec.metadata.name: Forbidden: cannot be set",
        "spec.metadata.uID: Forbidden: cannot be set",
    ]


def test_a_class_that_stays_is_not_looked_at_again() -> None:
    """What was stored when rules were laxer may stay."""
    spec = {"selectors": [{}], "extendedResourceName": "nodomain"}
    assert [error.path for error in _validation.device_class({"spec": spec}, {"spec": spec})] == [
        "spec.extendedResourceName"
    ]


def slice_(device: Object, **spec: Any) -> list[str]:
    pool = {"name": "p", "resourceSliceCount": 1}
    made = {"driver": "d.io", "pool": pool, "nodeName": "n", "devices": [{"name": "g", **device}], **spec}
    return texts(_slices.resource_slice({"spec": made}, None))


@pytest.mark.parametrize(
    ("device", "path"),
    [
        ({"bindingConditions": ["a"]}, "bindingFailureConditions"),
        ({"bindingConditions": ["a"], "bindingFailureConditions": ["a"]}, "bindingFailureConditions[0]"),
        ({"consumesCounters": [{"counterSet": "s"}]}, "consumesCounters[0].counters"),
        ({"capacity": {"m": {"value": "1", "requestPolicy": {}}}}, "capacity[m].requestPolicy"),
        (
            {
                "allowMultipleAllocations": True,
                "capacity": {"m": {"value": "8", "requestPolicy": {"default": "3", "validValues": ["1", "9"]}}},
            },
            "capacity[m].requestPolicy.validValues[1]",
        ),
        (
            {
                "allowMultipleAllocations": True,
                "capacity": {
                    "m": {"value": "8", "requestPolicy": {"default": "3", "validRange": {"min": "2", "step": "2"}}}
                },
            },
            "capacity[m].requestPolicy.validRange.step",
        ),
    ],
)
def test_devices(device: Object, path: str) -> None:
    """Conditions come in pairs, counters are named, shares fit the capacity."""
    assert slice_(device)[0].startswith(f"spec.devices[0].{path}: ")


def test_each_device_on_nodes_of_its_own() -> None:
    """If the slice leaves it to devices, each says where it is, once."""
    assert slice_({"allNodes": True}, nodeName=None, perDeviceNodeSelection=True) == []
    (missing,) = slice_({}, nodeName=None, perDeviceNodeSelection=True)
    (twice,) = slice_({"allNodes": True, "nodeName": "n"}, nodeName=None, perDeviceNodeSelection=True)
    assert missing.startswith("spec.devices[0]: Required value: exactly one of")
    assert twice.startswith('spec.devices[0]: Invalid value: "{`nodeName`, `allNodes`}"')


DEVICE = {"driver": "d.io", "pool": "p", "device": "g"}
USER = {"resource": "pods", "name": "a", "uid": "u"}


def status(**members: Any) -> Object:
    return {"metadata": {}, "spec": claim(), "status": members}


def test_status() -> None:
    """Reserved is what is allocated, and told of are devices that are."""
    found = _claim_status.validate(status(reservedFor=[USER], devices=[DEVICE]), status())
    assert texts(found) == [
        "status.devices[0]: Invalid value: d.io/p/g: must be an allocated device in the claim",
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
    ]
    allocation = {"devices": {"results": [{**DEVICE, "request": "r"}]}}
    assert texts(_claim_status.validate(status(allocation=allocation, devices=[DEVICE]), status())) == []


def test_allocation_is_final() -> None:
    """Another one needs the first to be taken back; with that, what was told of its devices goes."""
    one = {"devices": {"results": [{**DEVICE, "request": "r"}]}}
    other = {"devices": {"results": [{**DEVICE, "request": "r", "pool": "q"}]}}
    (found,) = _claim_status.validate(status(allocation=other), status(allocation=one))
    assert (found.path, found.message[-18:]) == ("status.allocation", "field is immutable")
    new = status(devices=[DEVICE])
    _claim_status.prepare(new, status(allocation=one, devices=[DEVICE]))
    assert new["status"] == {}
