"""Warnings about objects that are no pods, in upstream's words."""

import base64
from typing import Any

import pytest

from pynetes.apis.admissionregistration import (
    mutatingadmissionpolicies,
    mutatingadmissionpolicybindings,
    mutatingwebhookconfigurations,
    validatingadmissionpolicies,
    validatingadmissionpolicybindings,
    validatingwebhookconfigurations,
)
from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.apps import deployments, statefulsets
from pynetes.apis.core import (
    _pod_warnings,
    nodes,
    persistentvolumeclaims,
    persistentvolumes,
    secrets,
    serviceaccounts,
    services,
)
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import networkpolicies
from pynetes.apis.node import runtimeclasses
from pynetes.apis.storage import csistoragecapacities, storageclasses
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

_OS = 'deprecated since v1.14; use "kubernetes.io/os" instead'
_LABEL = "beta.kubernetes.io/os"
_FRACTION = 'fractional byte value "500m" is invalid, must be an integer'
_CANONICAL = 'should be in RFC 5952 canonical format ("fd00::/64")'
_TERMS = {"nodeSelectorTerms": [{"matchExpressions": [{"key": _LABEL, "operator": "Exists"}]}]}


@pytest.mark.parametrize(
    ("resource", "obj", "expected"),
    [
        (
            persistentvolumes,
            {"spec": {"persistentVolumeReclaimPolicy": "Recycle", "cephfs": {}, "nodeAffinity": {"required": _TERMS}}},
            [
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                "Instead, the recommended approach is to use dynamic provisioning.",
                f"spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: {_LABEL} is {_OS}",
                "spec.cephfs: deprecated in v1.28, non-functional in v1.31+",
            ],
        ),
        (
            persistentvolumeclaims,
            {
                "metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}},
                "spec": {"resources": {"requests": {"storage": "0.5"}}},
            },
            [
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: "
                'deprecated since v1.8; use "storageClassName" attribute instead',
                f"spec.resources.requests[storage]: {_FRACTION}",
            ],
        ),
        (
            storageclasses,
            {"allowedTopologies": [{"matchLabelExpressions": [{"key": _LABEL, "values": ["a"]}]}]},
            [f"allowedTopologies[0].matchLabelExpressions[0].key: {_OS}"],
        ),
        (
            csistoragecapacities,
            {"nodeTopology": {"matchLabels": {_LABEL: "a"}}},
            [f"nodeTopology.matchLabels.{_LABEL}: {_OS}"],
        ),
        (runtimeclasses, {"scheduling": {"nodeSelector": {_LABEL: "a"}}}, [f"scheduling.nodeSelector: {_OS}"]),
        (
            nodes,
            {"spec": {"externalID": "x", "podCIDRs": ["FD00::/64"]}},
            [
                "spec.externalID: this field is deprecated, and is unused by Kubernetes",
                f'spec.podCIDRs[0]: IPv6 CIDR value "FD00::/64" {_CANONICAL}',
            ],
        ),
        (
            serviceaccounts,
            {"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}},
            [
                "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: "
                "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
            ],
        ),
        (endpointslices, {"addressType": "FQDN"}, ["spec.addressType: FQDN endpoints are deprecated"]),
        (
            networkpolicies,
            {"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "FD00::/64"}}]}]}},
            [f'spec.egress[0].to[0].ipBlock.cidr: IPv6 CIDR value "FD00::/64" {_CANONICAL}'],
        ),
        (
            services,
            {"spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["FD00::/64"]}},
            [f'spec.loadBalancerSourceRanges[0]: IPv6 CIDR value "FD00::/64" {_CANONICAL}'],
        ),
        (
            statefulsets,
            {
                "spec": {
                    "revisionHistoryLimit": -1,
                    "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "0.5"}}}}],
                }
            },
            [
                f"spec.volumeClaimTemplates[0].resources.requests[storage]: {_FRACTION}",
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; "
                "a value >= 0 is recommended",
            ],
        ),
        (
            deployments,
            {"metadata": {"name": "a.b"}, "spec": {}},
            [
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
                "a DNS label is recommended: [must not contain dots]"
            ],
        ),
        (
            customresourcedefinitions,
            {
                "spec": {
                    "versions": [
                        {
                            "schema": {
                                "openAPIV3Schema": {
                                    "properties": {
                                        "a": {"type": "string", "format": "bogus"},
                                        "b": {"type": "integer", "format": "int32"},
                                        "c": {"type": "array", "items": {"type": "string", "format": "date-time"}},
                                    }
                                }
                            }
                        }
                    ]
                }
            },
            ['unrecognized format "bogus"'],
        ),
        (
            secrets,
            {"type": "kubernetes.io/tls", "data": {"tls.crt": base64.b64encode(b"x").decode()}},
            ["tls: failed to find any PEM data in certificate input"],
        ),
    ],
)
def test_what_is_old_or_odd(resource: Any, obj: Object, expected: list[str]) -> None:
    """One text for each, where it stands."""
    record: Resource = resource.RESOURCE
    assert record.warnings is not None
    assert record.warnings({"metadata": {}, **obj}, None) == expected


def test_what_was_there_before_is_not_warned_of_again() -> None:
    """Formats that were ignored before, and an annotation that stays."""
    for resource, obj in (
        (
            customresourcedefinitions,
            {"spec": {"versions": [{"schema": {"openAPIV3Schema": {"type": "string", "format": "x"}}}]}},
        ),
        (serviceaccounts, {"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}),
    ):
        record: Resource = resource.RESOURCE
        assert record.warnings is not None
        assert record.warnings({"metadata": {}, **obj}, {"metadata": {}, **obj}) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"containers": [{"ports": [{"containerPort": 80, "protocol": "TCP", "hostIP": "10.0.0.1"}]}]},
            [
                "spec.containers[0].ports[0]: hostIP set without hostPort: "
                "{Name: HostPort:0 ContainerPort:80 Protocol:TCP HostIP:10.0.0.1}"
            ],
        ),
        (
            {
                "initContainers": [{"ports": [{"name": "p", "containerPort": 1}]}],
                "containers": [{"ports": [{"name": "p", "containerPort": 2}]}],
            },
            [
                'spec.containers[0].ports[0]: duplicate port name "p" with spec.initContainers[0].ports[0], services '
                "and probes that select ports by name will use spec.initContainers[0].ports[0]"
            ],
        ),
        (
            {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
            [
                "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: "
                "a null labelSelector results in matching no pod"
            ],
        ),
        (
            {"volumes": [{"gitRepo": {"repository": "x"}}]},
            ["spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"],
        ),
        (
            {
                "volumes": [
                    {"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"limits": {"storage": "0.5"}}}}}}
                ]
            },
            [f"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.limits[storage]: {_FRACTION}"],
        ),
    ],
)
def test_more_of_pods(spec: Object, expected: list[str]) -> None:
    """Ports that hide one another, terms that match nothing, amounts that no volume can have."""
    assert _pod_warnings.of_pod({"metadata": {"name": "x"}, "spec": spec}, None) == expected


def test_a_pod_whose_name_is_no_label() -> None:
    """Its host is named after it; the next one of the same spec is looked at as well."""
    spec = {"containers": [{"name": "c"}]}
    assert _pod_warnings.of_pod({"metadata": {"name": "x"}, "spec": spec}, None) == []
    assert _pod_warnings.of_pod({"metadata": {"name": "x.y"}, "spec": spec}, None) == [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
        "a DNS label is recommended: [must not contain dots]"
    ]


@pytest.mark.parametrize(
    "kind",
    [
        mutatingadmissionpolicies,
        mutatingadmissionpolicybindings,
        mutatingwebhookconfigurations,
        validatingadmissionpolicies,
        validatingadmissionpolicybindings,
        validatingwebhookconfigurations,
    ],
)
def test_names_that_configuration_in_files_has(kind: Any) -> None:
    """Are warned of; upstream refuses them only with the feature."""
    warned = kind.RESOURCE.warnings
    assert warned({"metadata": {"name": "a.static.example.com"}}, None) == []
    assert warned({"metadata": {"name": "a.static.k8s.io"}}, None) == [
        'metadata.name: names ending with ".static.k8s.io" are reserved for static manifest-based configurations and '
        "cannot be managed via the API"
    ]
