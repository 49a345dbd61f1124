"""Volumes, mounts and references of pods: what upstream refuses, in its words."""

import pytest

from pynetes.apis.core import _container_validation, _pod_validation, _volume_validation
from pynetes.machinery.meta import Object

MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def wrong(**source: Object) -> list[str]:
    """Of one volume called v."""
    return [str(error) for error in _volume_validation.validate_volumes([{"name": "v", **source}], "v", set(), "p")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"nfs": {"server": "s", "path": "p"}}, 'v[0].nfs.path: Invalid value: "p": must be an absolute path'),
        ({"secret": {"secretName": "s", "defaultMode": 512}}, f"v[0].secret.defaultMode: Invalid value: 512: {MODE}"),
        (
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "..p"}]}},
            "v[0].configMap.items[0].path: Invalid value: \"..p\": must not start with '..'",
        ),
        (
            {"emptyDir": {"sizeLimit": "-1"}},
            "v[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        ({"gcePersistentDisk": {}}, "v[0].persistentDisk.pdName: Required value"),
        ({"downwardAPI": {"items": [{"path": "p"}]}}, "v[0].downwardAPI: Required value: one of fieldRef and"),
        (
            {"downwardAPI": {"items": [{"path": "p", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
            "v[0].downwardAPI.resourceFieldRef.containerName: Required value",
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 1}}]}},
            "v[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify",
        ),
        (
            {"projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "a"}}]}},
            "v[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 600}}]}},
            "v[0].projected.path: Required value",
        ),
        (
            {
                "projected": {
                    "sources": [{"secret": {"name": n, "items": [{"key": "k", "path": "p"}]}} for n in ("a", "b")]
                }
            },
            'v[0].projected: Invalid value: "b": conflicting duplicate paths',
        ),
        ({"downwardAPI": {}, "configMap": {"name": "c"}}, "v[0].configMap: Forbidden: may not specify more than 1"),
        ({"configMap": {"name": "c"}, "downwardAPI": {}}, "v[0].configMap: Forbidden: may not specify more than 1"),
        ({"cephfs": {}, "rbd": {"monitors": ["m"], "image": "i"}}, "v[0].cephFS: Forbidden: may not specify more"),
        ({"quobyte": {"registry": "r", "volume": "v"}}, 'v[0].quobyte.registry: Invalid value: "r": must be a host:'),
        ({"flocker": {}}, "v[0].flocker: Required value: one of datasetName and datasetUUID is required"),
        (
            {"flexVolume": {"driver": "d", "options": {"x.k8s.io/a": "b"}}},
            'v[0].flexVolume.options[x.k8s.io/a]: Invalid value: "x.k8s.io/a": kubernetes.io and k8s.io namespaces',
        ),
        (
            {"azureDisk": {"diskName": "d", "diskURI": "u", "kind": "Managed"}},
            'v[0].azureDisk.diskURI: Unsupported value: "u": supported values: "/subscriptions/',
        ),
        ({"cinder": {"volumeID": "v", "secretRef": {}}}, "v[0].cinder.secretRef.name: Required value"),
        ({"storageos": {"volumeName": "A"}}, 'v[0].storageos.volumeName: Invalid value: "A": a lowercase RFC 1123'),
        ({"csi": {"driver": "d", "nodePublishSecretRef": {"name": "A"}}}, 'v[0].csi.name: Invalid value: "A": a low'),
        (
            {"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1"}}}}}},
            "v[0].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
        ),
        ({"iscsi": {"targetPortal": "t", "iqn": "iqn.x"}}, 'v[0].iscsi.iqn: Invalid value: "iqn.x": must be valid'),
        ({"fc": {}}, "v[0].fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"),
    ],
)
def test_sources(source: Object, expected: str) -> None:
    """One mistake each."""
    (found,) = wrong(**source)
    assert found.startswith(expected)


def container(**parts: object) -> list[str]:
    """Of a pod with one container that has this, a volume v and a claim volume b."""
    spec: Object = {
        "terminationGracePeriodSeconds": 30,
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "c"}}],
        "containers": [
            {"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always", **parts}
        ],
    }
    return [str(error) for error in _container_validation.validate_containers(spec, "s", {"v", "b"})]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"volumeDevices": [{"name": "b", "devicePath": "/dev/x"}]}, None),
        ({"volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}, "volumeDevices[0].name: Invalid value"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}, 'volumeMounts[0].name: Not found: "x"'),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/x", "mountPropagation": "Bidirectional"}]},
            "volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged",
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/x", "recursiveReadOnly": "Enabled"}]},
            "volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
        ),
        ({"envFrom": [{}]}, 'envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "", "key": "k"}}}]},
            'env[0].valueFrom.secretKeyRef.name: Invalid value: "": a lowercase RFC 1123 subdomain',
        ),
        (
            {"terminationMessagePolicy": "X"},
            'terminationMessagePolicy: Unsupported value: "X": supported values: "File", "FallbackToLogsOnError"',
        ),
        ({"restartPolicyRules": []}, None),
        (
            {"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In"}}]},
            "restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ),
        ({"resources": {"claims": [{"name": "a"}]}}, 'resources.claims[0]: Not found: "a": must be one of'),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, "lifecycle.preStop.sleep: Invalid value: 31"),
        (
            {"readinessProbe": {"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 1}},
            "readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]},
            'env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels"',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]},
            'env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m and 1',
        ),
    ],
)
def test_containers(parts: Object, expected: str | None) -> None:
    """At most one mistake each."""
    found = container(**parts)
    assert len(found) == (expected is not None), found
    assert not expected or found[0].startswith(f"s.containers[0].{expected}")


def test_a_gated_pod_has_no_node() -> None:
    """Nor may the same spread be asked for twice."""
    spread = {"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}
    spec: Object = {"nodeName": "n", "schedulingGates": [{"name": "a"}], "topologySpreadConstraints": [spread, spread]}
    found = [str(error) for error in _pod_validation.validate_pod({"metadata": {}, "spec": spec}, None)]
    assert "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared" in found
    place = "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}"
    assert f'{place}: Duplicate value: "{{k, DoNotSchedule}}"' in found
