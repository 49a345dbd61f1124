"""Objects as upstream's internal Go structs print them, which some messages quote: a value, or what differs of two.

The internal types bear no JSON names, so their members print under their Go names, all of them, in the order of their
declaration: that of the wire numbers but for the types in `_ORDER`. Types of apimachinery print as ever.
"""

import difflib
from typing import Any

import orjson

from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import METADATA, Field, Type

_CORE = "api.core.v1."
_META = "apimachinery.pkg.apis.meta.v1."
#: Names whose Go form is more than a capital at the beginning.
_NAMES = {
    "apiGroup": "APIGroup",
    "apiVersion": "APIVersion",
    "awsElasticBlockStore": "AWSElasticBlockStore",
    "cephfs": "CephFS",
    "csi": "CSI",
    "dnsConfig": "DNSConfig",
    "dnsPolicy": "DNSPolicy",
    "fc": "FC",
    "fsGroup": "FSGroup",
    "fsGroupChangePolicy": "FSGroupChangePolicy",
    "fsType": "FSType",
    "gcePersistentDisk": "GCEPersistentDisk",
    "gmsaCredentialSpec": "GMSACredentialSpec",
    "gmsaCredentialSpecName": "GMSACredentialSpecName",
    "grpc": "GRPC",
    "httpGet": "HTTPGet",
    "httpHeaders": "HTTPHeaders",
    "ip": "IP",
    "iqn": "IQN",
    "iscsi": "ISCSI",
    "nfs": "NFS",
    "os": "OS",
    "pdName": "PDName",
    "rbd": "RBD",
    "seLinuxChangePolicy": "SELinuxChangePolicy",
    "seLinuxOptions": "SELinuxOptions",
    "storageos": "StorageOS",
    "tcpSocket": "TCPSocket",
    "tty": "TTY",
    "uid": "UID",
    "wwids": "WWIDs",
}
_POD_SPEC = (
    "volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds "
    "activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName automountServiceAccountToken nodeName "
    "securityContext imagePullSecrets hostname subdomain setHostnameAsFQDN affinity schedulerName tolerations "
    "hostAliases priorityClassName priority preemptionPolicy dnsConfig readinessGates runtimeClassName overhead "
    "enableServiceLinks topologySpreadConstraints os schedulingGates resourceClaims resources hostnameOverride "
    "schedulingGroup"
)
_CONTAINER = (
    "name image command args workingDir ports envFrom env resources resizePolicy restartPolicy restartPolicyRules "
    "volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath "
    "terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty"
)
#: Members of the pod's spec that the internal security context holds.
_HOST = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
_ORDER = {
    name: tuple(text.split())
    for name, text in {
        "PodSpec": _POD_SPEC,
        "Container": _CONTAINER,
        "EphemeralContainer": f"{_CONTAINER} targetContainerName",
        "PodSecurityContext": (
            "seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot supplementalGroups "
            "supplementalGroupsPolicy fsGroup fsGroupChangePolicy sysctls seccompProfile appArmorProfile "
            "seLinuxChangePolicy"
        ),
        "PersistentVolumeClaimSpec": (
            "accessModes selector resources volumeName storageClassName volumeMode dataSource dataSourceRef "
            "volumeAttributesClassName"
        ),
        "PersistentVolumeSpec": (
            "capacity gcePersistentDisk awsElasticBlockStore hostPath glusterfs nfs rbd quobyte iscsi flexVolume "
            "cinder cephfs fc flocker azureFile vsphereVolume azureDisk photonPersistentDisk portworxVolume scaleIO "
            "local storageos csi accessModes claimRef persistentVolumeReclaimPolicy storageClassName mountOptions "
            "volumeMode nodeAffinity volumeAttributesClassName"
        ),
        "EnvVarSource": "fieldRef resourceFieldRef configMapKeyRef secretKeyRef fileKeyRef",
        "Toleration": "key operator value effect tolerationSeconds",
        "ContainerPort": "name hostPort containerPort protocol hostIP",
    }.items()
}
#: Sources of a volume come in this order inside it.
_SOURCES = _ORDER["PersistentVolumeSpec"][1:23]


def shown(type_: Type, value: Any) -> Any:
    """The value with Go's names and all members; None is null."""
    if value is None or type_.name.startswith(_META):
        return value
    if type_.kind == "array" and type_.items is not None:
        return [shown(type_.items, item) for item in value]
    if type_.kind == "map" and type_.items is not None:
        return {name: shown(type_.items, item) for name, item in sorted(value.items())}
    return _struct(type_, value) if type_.kind == "object" else value


def persistent_volume_source(type_: Type, spec: Object) -> Object:
    """Only the source of a PersistentVolume's spec, which is a struct of its own."""
    return {_name(name): _member(type_.fields[name], spec.get(name)) for name in _SOURCES if name in type_.fields}


def diff(old: Any, new: Any) -> str:
    """What differs between two shown values, as a unified diff of their JSON with three lines around each change."""
    texts = [orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().splitlines() for value in (old, new)]
    before, after = ([_one_space(line) for line in lines] for lines in texts)
    lines = list(difflib.unified_diff(before, after, lineterm=""))[2:]
    return "".join(f"{line}\n" for line in lines)


def _one_space(line: str) -> str:
    text = line.lstrip(" ")
    return " " * ((len(line) - len(text)) // 2) + text


def _struct(type_: Type, value: Object) -> Object:
    result: Object = {}
    for name, member in _members(type_):
        if member.type.name == METADATA:
            # Embedded, and with names of its own.
            given = (value.get(name) or {}).items()
            result |= {
                key: dict(sorted(item.items())) if isinstance(item, dict) else item
                for key, item in given
                if item is not None
            }
        elif name == "securityContext" and type_.name == f"{_CORE}PodSpec":
            inner = _struct(member.type, value.get(name) or {})
            host = {_name(each): _member(type_.fields[each], value.get(each)) for each in _HOST}
            result["SecurityContext"] = host | inner
        else:
            result[_name(name)] = _member(member, value.get(name))
    return result


def _members(type_: Type) -> list[tuple[str, Field]]:
    order = _ORDER.get(type_.name.removeprefix(_CORE)) if type_.name.startswith(_CORE) else None
    if order is not None:
        return [(name, type_.fields[name]) for name in order if name in type_.fields]
    return sorted(type_.fields.items(), key=lambda item: [int(part or 0) for part in item[1].number.split("/")])


def _member(member: Field, value: Any) -> Any:
    if value is not None:
        return shown(member.type, value)
    match member.unset, member.type.kind:
        case ("s", _):
            return shown(member.type, {})
        case ("z" | "a", "boolean"):
            return False
        case ("z" | "a", "integer" | "number"):
            return 0
        case ("z" | "a", "string"):
            return ""
        case ("q", _):
            return "0"
        case ("i", _):
            return 0
        case _:
            return None


def _name(name: str) -> str:
    return _NAMES.get(name) or name[:1].upper() + name[1:]
