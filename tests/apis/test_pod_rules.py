"""Pods and templates of them: what upstream refuses, where, in which words and in which order."""

import copy
from typing import Any

import pytest

from pynetes.apis.apps import deployments
from pynetes.apis.core import pods
from pynetes.machinery.meta import Object

_NO_SIDECAR = "Forbidden: may not be set for init containers without restartPolicy=Always"
_WHITE = 'Invalid value: " i": must not have leading or trailing whitespace'


def container(name: str = "c", **members: Any) -> Object:
    """A container as it is after defaulting."""
    filled = {"imagePullPolicy": "Always", "terminationMessagePolicy": "File"}
    return {"name": name, "image": "i", **filled, **members}


def pod(**spec: Any) -> Object:
    """A pod as it is after defaulting, with one container."""
    filled = {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30}
    full = {"containers": [container()], **filled, "serviceAccountName": "default", **spec}
    return {"metadata": {"name": "p"}, "spec": full}


def found(new: Object, old: Object | None = None) -> list[str]:
    """All mistakes, in order."""
    return [str(error) for error in pods.validate(new, old)]


PROBE = {"exec": {"command": ["a"]}, "successThreshold": 1}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"initContainers": [container("i", lifecycle={}, livenessProbe=PROBE)]},
            [
                f"spec.initContainers[0].lifecycle: {_NO_SIDECAR}",
                f"spec.initContainers[0].livenessProbe: {_NO_SIDECAR}",
            ],
        ),
        (
            {"containers": [container(lifecycle={"preStop": {}}, livenessProbe={**PROBE, "successThreshold": 2})]},
            [
                "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type",
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            {"containers": [container(ports=[{"containerPort": 1, "hostPort": 1, "protocol": "TCP"}] * 2)]},
            ['spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//1"'],
        ),
        (
            {"restartPolicy": "Never", "containers": [container(resizePolicy=[{"resourceName": "cpu"}])]},
            [
                "spec.containers[0].resizePolicy: Required value",
                "spec.containers[0].resizePolicy: Invalid value: \"\": must be 'NotRequired' when `restartPolicy` is "
                "'Never'",
            ],
        ),
        ({"containers": [container(image=" i")]}, [f"spec.containers[0].image: {_WHITE}"]),
        (
            {"hostPID": True, "shareProcessNamespace": True},
            [
                "spec.securityContext.shareProcessNamespace: Invalid value: true: "
                "ShareProcessNamespace and HostPID cannot both be enabled"
            ],
        ),
        (
            {"preemptionPolicy": "X"},
            [
                'spec.preemptionPolicy: Unsupported value: "X": supported values: "PreemptLowerPriority", "Never"',
            ],
        ),
        ({"os": {"name": "x"}}, ['spec.os: Unsupported value: "x": supported values: "linux", "windows"']),
        ({"os": {}}, ["spec.os.name: Required value: cannot be empty"]),
        (
            {"securityContext": {"seccompProfile": {"type": "Unconfined", "localhostProfile": "p"}}},
            [
                "spec.securityContext.seccompProfile.localhostProfile: Invalid value: "
                '{"Type":"Unconfined","LocalhostProfile":"p"}: can only be set when seccomp type is Localhost'
            ],
        ),
        (
            {"securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": " p"}}},
            [
                'spec.securityContext.appArmorProfile.localhostProfile: Invalid value: " p": '
                "must not be padded with whitespace"
            ],
        ),
        (
            {"dnsConfig": {"searches": ["a_b.c", "_", "x."]}},
            [
                'spec.dnsConfig.searches[1]: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
                "(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
            ],
        ),
        (
            {"volumes": [{"name": "e", "ephemeral": {}}, {"name": "c", "persistentVolumeClaim": {"claimName": "p-e"}}]},
            [
                "spec.volumes[0].ephemeral.volumeClaimTemplate: Required value",
                'spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "p-e": '
                "must not reference a PVC that gets created for an ephemeral volume",
            ],
        ),
        (
            {"securityContext": {"windowsOptions": {"hostProcess": True}}},
            [
                "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess "
                "containers"
            ],
        ),
    ],
)
def test_new_pods(spec: Object, expected: list[str]) -> None:
    """The mistakes of a new pod."""
    assert found(pod(**spec)) == expected


def test_templates_may_have_blanks_around_images_and_no_host_ports() -> None:
    """What only pods must have right; the ports of the node are filled in for the pod."""
    parts = pod(hostNetwork=True, containers=[container(image=" i", ports=[{"containerPort": 1, "protocol": "TCP"}])])
    labels = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": parts["spec"]}
    spec: Object = {"replicas": 1, "selector": labels, "template": template, "strategy": {"type": "Recreate"}}
    assert not list(deployments.RESOURCE.validate({"metadata": {"name": "d"}, "spec": spec}, None))  # type: ignore[misc]


@pytest.mark.parametrize(("cost", "fine"), [("10", True), ("-1", True), ("+1", False), ("01", False), ("x", False)])
def test_what_a_pods_deletion_costs(cost: str, fine: bool) -> None:
    """A number of 32 bits."""
    new = pod()
    key = "controller.kubernetes.io/pod-deletion-cost"
    new["metadata"]["annotations"] = {key: cost}
    text = f'metadata.annotations[{key}]: Invalid value: "{cost}": must be a 32bit integer'
    assert found(new) == ([] if fine else [text])


def test_changes_of_tolerations_and_containers() -> None:
    """Seconds may change, the rest may not; with a container too few nothing else is looked at."""
    old = pod(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}])
    new = copy.deepcopy(old)
    new["spec"]["tolerations"][0]["tolerationSeconds"] = 9
    assert not found(new, old)
    new["spec"]["tolerations"][0]["key"] = "b"
    kept = "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    assert found(new, old) == [kept]
    new["spec"]["containers"].append(container("d"))
    assert found(new, old) == ["spec.containers: Forbidden: pod updates may not add or remove containers"]


def test_label_keys_become_part_of_selectors() -> None:
    """Of a new pod that has the labels; whoever asked for the label already is told so."""
    spread = {"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}
    spread |= {"matchLabelKeys": ["a", "z"], "labelSelector": {"matchLabels": {"a": "b"}}}
    term = {"topologyKey": "k", "labelSelector": {}, "mismatchLabelKeys": ["a"]}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    new = pod(topologySpreadConstraints=[spread], affinity=affinity)
    new["metadata"]["labels"] = {"a": "b"}
    pods.prepare(new, None)
    expected = {"key": "a", "operator": "NotIn", "values": ["b"]}
    assert term["labelSelector"] == {"matchExpressions": [expected]}
    place = "spec.topologySpreadConstraints[0].matchLabelKeys[0]"
    assert found(new) == [f'{place}: Invalid value: "a": exists in both matchLabelKeys and labelSelector']
