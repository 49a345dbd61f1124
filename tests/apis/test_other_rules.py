"""Autoscalers, storage, flow schemas, slices and roles: what upstream refuses, in its words and its order."""

from typing import Any

import pytest

from pynetes import apis
from pynetes.machinery import schema
from pynetes.machinery.meta import Object


def found(api_version: str, kind: str, old: Object | None = None, **members: Any) -> list[str]:
    """All mistakes of an object named x, decoded and defaulted as a request's body is."""
    record = apis.by_kind(api_version, kind)
    assert record is not None
    assert record.validate is not None
    compiled = schema.of(record, api_version.rpartition("/")[2])
    obj: Object = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "d"}, **members}
    compiled.decode(obj)
    compiled.default(obj)
    return [str(error) for error in record.validate(obj, old)]


HPA, SCH = ("autoscaling/v2", "HorizontalPodAutoscaler"), ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema")
STORAGE, RBAC = "storage.k8s.io/v1", "rbac.authorization.k8s.io/v1"
GROUP = "apiVersion must specify API group"


def rules(**rule: Any) -> Object:
    """The spec of a flow schema with one rule."""
    return {"priorityLevelConfiguration": {"name": "l"}, "rules": [rule]}


VERBS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
SUBJECTS = [{"kind": "User", "user": {"name": "u"}}]


@pytest.mark.parametrize(
    ("kind", "members", "expected"),
    [
        (
            HPA,
            {"spec": {"scaleTargetRef": {"kind": "K", "name": "n"}, "maxReplicas": 0}},
            [
                "spec.maxReplicas: Required value: must be set and greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
                f'spec.scaleTargetRef.apiVersion: Invalid value: "": {GROUP}',
            ],
        ),
        (
            HPA,
            {"spec": {"scaleTargetRef": {"kind": "ReplicationController", "name": "n"}, "maxReplicas": 1}},
            [],
        ),
        (
            HPA,
            {
                "spec": {
                    "scaleTargetRef": {"kind": "ReplicationController", "name": "n"},
                    "maxReplicas": 1,
                    "behavior": {"scaleUp": {"policies": []}, "scaleDown": {"policies": None}},
                }
            },
            ["spec.behavior.scaleUp.policies: Required value: must specify at least one Policy"],
        ),
        (
            HPA,
            {
                "spec": {
                    "scaleTargetRef": {"kind": "K", "name": "n", "apiVersion": "a/v1"},
                    "maxReplicas": 1,
                    "behavior": {"scaleUp": {"stabilizationWindowSeconds": -1}},
                }
            },
            [
                "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to "
                "zero",
            ],
        ),
        (
            SCH,
            {"spec": rules(subjects=SUBJECTS, nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": ["", "a b"]}])},
            [
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "": must not be empty',
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "a b": must start with slash',
            ],
        ),
        (
            SCH,
            {
                "spec": rules(
                    subjects=[{"kind": "ServiceAccount", "serviceAccount": {}, "group": {"name": "g"}}],
                    resourceRules=[VERBS | {"clusterScope": True}],
                )
            },
            [
                "spec.rules[0].subjects[0].serviceAccount.name: Required value",
                "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for "
                "service account",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            ],
        ),
        (
            (STORAGE, "VolumeAttributesClass"),
            {"driverName": "a/b", "parameters": {"a": "b"}},
            [],
        ),
        (
            (STORAGE, "VolumeAttachment"),
            {"spec": {"attacher": "a", "nodeName": "n", "source": {"inlineVolumeSpec": {"accessModes": ["X"]}}}},
            [
                "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline "
                "volumes",
                'spec.source.inlineVolumeSpec.accessModes: Unsupported value: "X": supported values: "ReadOnlyMany", '
                '"ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"',
            ],
        ),
        (
            (STORAGE, "CSINode"),
            {
                "spec": {
                    "drivers": [
                        {"name": "a", "nodeID": "n", "topologyKeys": ["k", "k"]},
                        {"name": "a", "nodeID": "n", "allocatable": {"count": -1}},
                    ]
                }
            },
            [
                'spec.drivers[0]: Duplicate value: "k"',
                "spec.drivers[1].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
                'spec.drivers[1].name: Duplicate value: "a"',
            ],
        ),
        (
            (STORAGE, "StorageClass"),
            {
                "provisioner": "p",
                "allowedTopologies": [{"matchLabelExpressions": [{"key": "k", "values": ["v"]}]}] * 2,
            },
            ['allowedTopologies[1].matchLabelExpressions: Duplicate value: ""'],
        ),
        (
            ("discovery.k8s.io/v1", "EndpointSlice"),
            {
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": ["10.0.0.1"], "hostname": "", "hints": {"forNodes": [{"name": "n"}, {"name": "n"}]}}
                ],
                "ports": [{"name": "A"}, {"name": "A"}],
            },
            [
                "ports[0].name",
                "ports[1].name",
                'ports[1].name: Duplicate value: "A"',
                "endpoints[0].hostname",
                'endpoints[0].hints.forNodes[1].name: Duplicate value: "n"',
            ],
        ),
        (
            ("certificates.k8s.io/v1", "CertificateSigningRequest"),
            {"spec": {"request": "", "signerName": "a_.b_/c"}},
            [
                "spec.request",
                "spec.usages: Required value",
                'spec.signerName: Invalid value: "a_.b_": validating label "a_": a lowercase RFC 1123 label',
            ],
        ),
        (
            (RBAC, "ClusterRole"),
            {"rules": [], "aggregationRule": {}},
            [
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if "
                "aggregationRule is non-nil"
            ],
        ),
        (
            (RBAC, "RoleBinding"),
            {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"name": "n"}]},
            ['subjects[0].kind: Unsupported value: "": supported values: "ServiceAccount", "User", "Group"'],
        ),
    ],
)
def test_mistakes(kind: tuple[str, str], members: Object, expected: list[str]) -> None:
    """All of them, each at the place where upstream has it."""
    texts = found(*kind, **members)
    assert len(texts) == len(expected), texts
    assert all(text.startswith(start) for text, start in zip(texts, expected, strict=True)), texts


def test_conditions_and_certificates_of_requests() -> None:
    """Each condition by itself, decisions against one another, and a certificate that is issued once."""
    record = apis.by_kind("certificates.k8s.io/v1", "CertificateSigningRequest")
    assert record is not None
    assert record.validate_status is not None
    both = [{"type": "Approved", "status": "False"}, {"type": "Denied", "status": "True"}]
    old: Object = {"status": {"conditions": [dict(item) for item in both], "certificate": "YQ=="}}
    new: Object = {"status": {"conditions": both, "certificate": "Yg=="}}
    assert [str(error) for error in record.validate_status(new, old)] == [
        'status.conditions[0].status: Unsupported value: "False": supported values: "True"',
        'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive',
        'status.certificate: Invalid value: "<certificate data>": must contain one or more CERTIFICATE PEM blocks',
        "status.certificate: Forbidden: updates may not modify existing certificate content",
    ]


def test_an_update_of_a_priority_class_is_told_what_it_changes() -> None:
    """Whether the new number would be allowed is not the question; nor is the old one's right looked at again."""
    kind = ("scheduling.k8s.io/v1", "PriorityClass")
    old: Object = {"metadata": {"name": "x"}, "value": 5, "preemptionPolicy": "Never"}
    assert found(*kind, old=old, value=2_000_000_000, preemptionPolicy="Sometimes") == [
        "value: Forbidden: may not be changed in an update.",
        'preemptionPolicy: Invalid value: "Sometimes": field is immutable',
    ]
    assert found(*kind, old={**old, "value": 2_000_000_000}, value=2_000_000_000, preemptionPolicy="Never") == []


def test_a_storage_class_is_told_first_what_it_may_not_be_at_all() -> None:
    """A value that no class may have is named twice: for itself, and then for being another."""
    old: Object = {"metadata": {"name": "x"}, "provisioner": "p", "reclaimPolicy": "Delete"}
    old |= {"volumeBindingMode": "Immediate", "parameters": {"a": "b", "c": "d"}}
    given: Object = {"provisioner": "q", "reclaimPolicy": "Recycle", "parameters": {"c": "d", "a": "x"}}
    assert found(STORAGE, "StorageClass", old=old, **given) == [
        'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
        'parameters: Invalid value: {"a":"x","c":"d"}: field is immutable',
        'provisioner: Invalid value: "q": field is immutable',
        'reclaimPolicy: Invalid value: "Recycle": field is immutable',
    ]
    assert found(STORAGE, "StorageClass", old=old, provisioner="p", parameters={"c": "d", "a": "b"}) == []
