"""Mistakes that upstream refuses, in its words and in its order: node updates, balancers' addresses, conditions."""

import pytest

from pynetes.apis.autoscaling import _validation as autoscaling
from pynetes.apis.core import nodes, persistentvolumeclaims, persistentvolumes, pods, services
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import ingresses, networkpolicies
from pynetes.apis.policy import poddisruptionbudgets
from pynetes.apis.storage import storageclasses
from pynetes.machinery import names, validation
from pynetes.machinery.meta import Object


def _node(**spec: object) -> Object:
    return {"metadata": {"name": "n"}, "spec": spec, "status": {}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            {"providerID": "a"},
            {"providerID": "b"},
            "spec.providerID: Forbidden: node updates may not change providerID",
        ),
        ({"podCIDRs": ["10.0.0.0/24"]}, {}, "spec.podCIDRs: Forbidden: node updates may not change podCIDR"),
        ({}, {"externalID": "x"}, "spec.externalID: Forbidden: may not be updated"),
        ({}, {"providerID": "a", "unschedulable": True}, None),
    ],
)
def test_what_is_said_of_a_node_stays(before: Object, after: Object, expected: str | None) -> None:
    """Once it is said."""
    found = [str(error) for error in nodes.validate(_node(**after), _node(**before))]
    assert len(found) == (expected is not None), found
    assert not expected or found[0].startswith(expected)


def test_amounts_and_addresses_of_nodes() -> None:
    """No amount below zero, no half pods, no address twice."""
    address = {"type": "InternalIP", "address": "1.2.3.4"}
    status = {"capacity": {"cpu": "-1", "pods": "1500m"}, "addresses": [address, address]}
    found = [str(error) for error in nodes.validate_status({"metadata": {}, "status": status}, None)]
    assert found == [
        'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0',
        'status.capacity.pods: Invalid value: "1500m": must be an integer',
        'status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"1.2.3.4"}',
    ]


def test_addresses_of_balancers() -> None:
    """Only of Services that have one, and only addresses."""
    rule = services.RESOURCE.validate_status
    assert rule is not None
    status = {"loadBalancer": {"ingress": [{"ip": "x", "ipMode": "Z"}, {"hostname": "1.2.3.4", "ipMode": "VIP"}]}}
    paths = [error.path for error in rule({"spec": {"type": "LoadBalancer"}, "status": status}, None)]
    assert paths == [
        f"status.loadBalancer.ingress[{place}" for place in ("0].ip", "0].ipMode", "1].ipMode", "1].hostname")
    ]
    (only,) = rule({"spec": {"type": "ClusterIP"}, "status": status}, None)
    assert str(only) == "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"


def test_an_address_of_a_balancer_is_its_own_unless_told_otherwise() -> None:
    """Controllers that know of no modes leave it out."""
    ingress: list[Object] = [{"ip": "1.2.3.4"}, {"hostname": "h"}, {"ip": "1.2.3.5", "ipMode": "Proxy"}]
    obj: Object = {"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}}}
    services.default(obj)
    assert [item.get("ipMode") for item in ingress] == ["VIP", None, "Proxy"]
    rule = services.RESOURCE.validate_status
    assert rule is not None
    assert not list(rule(obj, None))


def test_conditions_are_whole() -> None:
    """Of each type one, with a status, a time and a reason."""
    good = {"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    assert not list(validation.conditions([good], "c"))
    found = [error.path for error in validation.conditions([good, {"type": "A", "status": "X", "reason": "1"}], "c")]
    assert found == ["c[1].type", "c[1].status", "c[1].lastTransitionTime", "c[1].reason"]
    rule = poddisruptionbudgets.RESOURCE.validate_status
    assert rule is not None
    assert list(rule({"status": {"conditions": [{"type": "a b"}]}}, None))


def test_rules_come_before_tls_and_the_class_is_one() -> None:
    """The annotation may only repeat the field."""
    spec = {"rules": [{"host": "A"}], "tls": [{"hosts": ["B"]}], "ingressClassName": "c"}
    obj = {"metadata": {"annotations": {"kubernetes.io/ingress.class": "d"}}, "spec": spec}
    paths = [error.path for error in ingresses.validate(obj, None)]
    assert paths == ["spec.rules[0].host", "spec.tls[0].hosts[0]", "annotations.kubernetes.io/ingress.class"]
    obj["metadata"]["annotations"] = {}
    assert len(list(ingresses.validate(obj, None))) == 2


def test_ports_of_network_policies_end_after_they_begin() -> None:
    """And only numbers have an end."""
    ports = [{"endPort": 3}, {"port": "a", "endPort": 4}, {"port": 4, "endPort": 70000}]
    obj = {"spec": {"podSelector": {}, "ingress": [{"ports": ports}], "policyTypes": ["Ingress", "Egress", ""]}}
    assert [str(error) for error in networkpolicies.validate(obj, None)] == [
        "spec.ingress[0].ports[0].endPort: Invalid value: 3: may not be specified when `port` is not specified",
        "spec.ingress[0].ports[1].endPort: Invalid value: 4: may not be specified when `port` is non-numeric",
        "spec.ingress[0].ports[2].endPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        'spec.policyTypes: Invalid value: ["Ingress","Egress",""]: may not specify more than two policyTypes',
    ]


def test_an_empty_choice_is_no_choice() -> None:
    """It is refused as any other that is not one, not as a missing one."""
    (error,) = storageclasses.validate({"provisioner": "a/b", "reclaimPolicy": "", "volumeBindingMode": ""}, None)
    assert str(error).startswith('volumeBindingMode: Unsupported value: ""')
    spec = {"scaleTargetRef": {"kind": "K", "name": "n", "apiVersion": "a/v1"}, "maxReplicas": 1}
    policy = {"type": "", "value": 1, "periodSeconds": 1}
    obj = {"spec": {**spec, "behavior": {"scaleUp": {"selectPolicy": "Max", "policies": [policy]}}}}
    assert [error.reason for error in autoscaling.validate(obj, None)] == ["FieldValueNotSupported"]


def test_values_of_selectors_are_label_values() -> None:
    """Also those that are only compared with."""
    selector = {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c d"]}]}
    assert [error.path for error in validation.label_selector(selector, "s")] == ["s.matchExpressions[0].values[1]"]


def test_only_a_subdomain_has_dots_too_many() -> None:
    """Anything else is told what a label is."""
    assert names.dns_label("a.b") == ["must not contain dots"]
    assert names.dns_label("A.b")[0].startswith("a lowercase RFC 1123 label")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"activeDeadlineSeconds": 60}, ["must be less than or equal to previous value"]),
        ({"activeDeadlineSeconds": -1}, ["between 1 and 2147483647", "between 0 and 2147483647"]),
        ({"activeDeadlineSeconds": None}, ["must not update from a positive integer to nil value"]),
        ({"activeDeadlineSeconds": 40}, []),
    ],
)
def test_deadlines_of_pods_come_nearer(change: Object, expected: list[str]) -> None:
    """Or stay where they are."""
    spec: Object = {"containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always"}], "restartPolicy": "Always"}
    spec |= {"dnsPolicy": "ClusterFirst", "activeDeadlineSeconds": 50}
    spec["containers"][0]["terminationMessagePolicy"] = "File"
    after = {name: value for name, value in (spec | change).items() if value is not None}
    found = [str(error) for error in pods.validate({"metadata": {}, "spec": after}, {"metadata": {}, "spec": spec})]
    assert len(found) == len(expected), found
    assert all(text in message for text, message in zip(expected, found, strict=True))


def test_mirrors_run_somewhere_and_profiles_are_of_containers() -> None:
    """The annotations say what the spec must say too."""
    annotations = {"kubernetes.io/config.mirror": "x", "container.apparmor.security.beta.kubernetes.io/zz": "y"}
    container = {"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}
    spec = {"containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}
    found = [error.message for error in pods.validate({"metadata": {"annotations": annotations}, "spec": spec}, None)]
    assert found == [
        'Invalid value: "x": must set spec.nodeName if mirror pod annotation is set',
        'Invalid value: "zz": container not found',
        'Invalid value: "y": invalid AppArmor profile name: "y"',
    ]


def test_a_volume_stays_where_it_is() -> None:
    """Its mode, its nodes once they are known, and that it has a class of attributes."""
    spec: Object = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}
    spec |= {"persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "d", "volumeHandle": "h"}}
    node: Object = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    old = spec | {"nodeAffinity": {"required": {"nodeSelectorTerms": [node]}}, "volumeAttributesClassName": "v"}
    new = spec | {"nodeAffinity": {"required": {"nodeSelectorTerms": [node, node]}}, "volumeMode": "Block"}
    found = [(error.path, error.reason) for error in persistentvolumes.validate({"spec": new}, {"spec": old})]
    assert found == [
        ("volumeMode", "FieldValueInvalid"),
        ("nodeAffinity", "FieldValueInvalid"),
        ("spec.volumeAttributesClassName", "FieldValueForbidden"),
    ]


def test_claims_hold_nothing_below_zero() -> None:
    """The capacity that a claim's status reports."""
    (error,) = persistentvolumeclaims.validate_status({"status": {"capacity": {"storage": "-1"}}}, None)
    assert str(error) == "status.capacity[storage]: Invalid value: -1: must be a valid resource quantity"


def test_endpoints_of_slices() -> None:
    """Domains have two labels, zones are hinted at once, no address is link-local, and a slice ends somewhere."""
    zones = [{"name": "a"}, {"name": "a"}, {"name": "b c"}]
    endpoints = [{"addresses": ["fe80::1", "::"]}, {"addresses": ["2001:db8::1"] * 101, "hints": {"forZones": zones}}]
    found = [error.path for error in endpointslices.validate({"addressType": "IPv6", "endpoints": endpoints}, None)]
    zone = "endpoints[1].hints.forZones"
    assert found == [
        "endpoints[0].addresses[0]",
        "endpoints[0].addresses[1]",
        "endpoints[1].addresses",
        f"{zone}[1].name",
        f"{zone}[2].name",
    ]
    for domain, good in (("a.b", True), ("a.b.", True), ("a", False), ("", False), ("A_.b", False)):
        slice_ = {"addressType": "FQDN", "endpoints": [{"addresses": [domain]}]}
        assert bool(list(endpointslices.validate(slice_, None))) is not good
