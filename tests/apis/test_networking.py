"""Ingresses, addresses, ranges, signing requests and devices: what upstream refuses, in its words."""

import pytest

from pynetes.apis.certificates import certificatesigningrequests
from pynetes.apis.core import namespaces
from pynetes.apis.networking import ingresses, ipaddresses, servicecidrs
from pynetes.apis.resource import _slices as slices
from pynetes.apis.resource import _validation as devices
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource


def wrong(resource: Resource, spec: Object, old: Object | None = None) -> list[str]:
    """Of an object with this spec."""
    assert resource.validate is not None
    before = {"metadata": {"name": "x"}, "spec": old} if old is not None else None
    return [str(error) for error in resource.validate({"metadata": {"name": "x"}, "spec": spec}, before)]


def rule(**path: object) -> Object:
    """An Ingress's spec with one path."""
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    return {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend, **path}]}}]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (rule(), None),
        (rule(path="/a//b"), "must not contain '//'"),
        (rule(path="/a/.."), "cannot end with '/..'"),
        (rule(path="/a//b", pathType="ImplementationSpecific"), None),
        (rule(backend={"service": {"name": "s", "port": {"number": 1, "name": "p"}}}), "cannot set both port name &"),
        (rule(backend={"resource": {"kind": "K"}}), "resource.name: Required value: name is required"),
        ({**rule(), "tls": [{"hosts": ["*.*"]}]}, "a wildcard DNS-1123 subdomain must start with"),
        ({"rules": [{"http": {"paths": []}}]}, "spec.rules[0].http.paths: Required value"),
    ],
)
def test_ingresses(spec: Object, expected: str | None) -> None:
    """At most one mistake each."""
    found = wrong(ingresses.RESOURCE, spec)
    assert len(found) == (expected is not None), found
    assert not expected or expected in found[0]


def test_addresses_are_named_by_themselves() -> None:
    """In the one way in which they are written."""
    assert ipaddresses.name_problem("10.0.0.1") is None
    assert ipaddresses.name_problem("2001:DB8::1") == 'must be in canonical form ("2001:db8::1")'
    assert (ipaddresses.name_problem("x") or "").startswith("must be a valid IP address")
    assert wrong(ipaddresses.RESOURCE, {}) == ["spec.parentRef: Required value"]


def test_ranges_grow_by_a_family_and_no_more() -> None:
    """The second may be added; the first stays."""
    one, two = {"cidrs": ["10.0.0.0/8"]}, {"cidrs": ["10.0.0.0/8", "2001:db8::/64"]}
    assert not wrong(servicecidrs.RESOURCE, two)
    assert not wrong(servicecidrs.RESOURCE, two, one)
    assert wrong(servicecidrs.RESOURCE, one, two)[0].endswith("field is immutable")
    assert "no more than one IP for each" in wrong(servicecidrs.RESOURCE, {"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]})[0]
    assert wrong(servicecidrs.RESOURCE, {"cidrs": ["10.0.0.1/8"]})[0].endswith("bits set beyond the prefix length")


def test_signing_requests() -> None:
    """A request in PEM, known usages, the name of a signer."""
    found = wrong(
        certificatesigningrequests.RESOURCE,
        {"request": "eA==", "signerName": "x", "usages": ["any", "any", "y"], "expirationSeconds": 1},
    )
    places = ["spec.request", "spec.usages[2]", "spec.usages[1]", "spec.signerName", "spec.expirationSeconds"]
    assert [error.partition(":")[0] for error in found] == places
    assert found[0].endswith("PEM block type must be CERTIFICATE REQUEST")


def test_finalizers_of_namespaces_are_qualified() -> None:
    """But for those that upstream knows."""
    assert not wrong(namespaces.RESOURCE, {"finalizers": ["kubernetes", "a.b/c"]})
    assert "neither a standard finalizer name" in wrong(namespaces.RESOURCE, {"finalizers": ["bad"]})[0]


def test_devices() -> None:
    """Requests have names that constraints know, and selectors that compile."""
    good = {"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}}
    assert not list(devices.claim_spec({"devices": {"requests": [good]}}, "s"))
    selector = [{"cel": {"expression": "device."}}]
    bad = {"name": "r", "exactly": {**good["exactly"], "selectors": selector}}  # type: ignore[dict-item]
    spec = {"devices": {"requests": [bad, {"name": "q"}], "constraints": [{"requests": ["zz"]}]}}
    places = [error.path for error in devices.claim_spec(spec, "s")]
    assert places == [
        "s.devices.requests[0].exactly.selectors[0].cel.expression",
        "s.devices.requests[1]",
        "s.devices.constraints[0].requests[0]",
        "s.devices.constraints[0]",
    ]
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
    slice_ = {"spec": {"driver": "d.example.com", "pool": pool, "nodeName": "n", "allNodes": True}}
    (error,) = slices.resource_slice(slice_, None)
    assert str(error).startswith('spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of')
