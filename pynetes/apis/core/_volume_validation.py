"""What volumes may not be: those of pods, and the sources that PersistentVolumes have too."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pynetes.apis.core import _references, _volumes
from pynetes.machinery import field, names, quantity, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
#: Source → the members that it cannot do without, in the order in which they are missed.
REQUIRED = {
    "awsElasticBlockStore": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "cinder": ("volumeID",),
    "configMap": ("name",),
    "flexVolume": ("driver",),
    "gcePersistentDisk": ("pdName",),
    "gitRepo": ("repository",),
    "glusterfs": ("endpoints", "path"),
    "image": ("reference",),
    "iscsi": ("targetPortal",),
    "nfs": ("server", "path"),
    "persistentVolumeClaim": ("claimName",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "secret": ("secretName",),
    "vsphereVolume": ("volumePath",),
}
_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_PORT_FORMATS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$"),
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$"),
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$"),
}
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32
_ONE_TYPE = "may not specify more than 1 volume type"
_ONE_PER_SOURCE = f"{_ONE_TYPE} per source"


#: Sources in the order in which upstream looks at them: the first that is there counts, the others are one too many.
OF_PODS = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
    "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip
_ONE_TOO_MANY = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
_NAME_LIMIT = 64
_ISCSI_PARTS = "Total length of <volume name>:<iscsi.targetPortal>"
_ISCSI_NAME = f"{_ISCSI_PARTS} must be under {_NAME_LIMIT} characters if iscsi.initiatorName is specified."


def validate_volumes(volumes: Any, path: str, fine: set[str], pod: str | None) -> Errors:
    """Mistakes of all volumes; the names of those without any are added to `fine`. The name of the pod decides what
    the claims of its ephemeral volumes are called; templates have none."""
    made = {
        f"{pod}-{volume.get('name') or ''}" for volume in volumes or () if pod and volume.get("ephemeral") is not None
    }
    for index, volume in enumerate(volumes or ()):
        place = f"{path}[{index}]"
        mistakes = list(_source(volume, place, pod))
        name = volume.get("name") or ""
        if not name:
            mistakes.append(field.required(f"{place}.name"))
        else:
            mistakes += validation.checked(name, f"{place}.name", names.dns_label)
        if name in fine:
            mistakes.append(field.duplicate(f"{place}.name", name))
        if not mistakes:
            fine.add(name)
        yield from mistakes
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in made:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            yield field.invalid(f"{place}.persistentVolumeClaim.claimName", claim, detail)


def _source(volume: Object, path: str, pod: str | None) -> Errors:
    given = [name for name in OF_PODS if volume.get(name) is not None]
    yield from one_of_sources(given, path)
    if not given:
        yield field.required(path, "must specify a volume type")
        return
    first, name = given[0], volume.get("name") or ""
    if not (first == "image" and pod is None and not volume["image"].get("reference")):
        yield from source(first, volume[first], path)
    iscsi = volume.get("iscsi") or {}
    portal = iscsi.get("targetPortal") or ""
    if iscsi.get("initiatorName") is not None and len(f"{name}:{portal}") > _NAME_LIMIT:
        yield field.invalid(f"{path}.name", name, _ISCSI_NAME)
    if first == "ephemeral" and pod and name:
        claim = f"{pod}-{name}"
        for text in names.dns_subdomain(claim):
            yield field.invalid(f"{path}.name", name, f"PVC name {field.quote(claim)}: {text}")


def one_of_sources(given: list[str], path: str) -> Errors:
    """Sources beside the first."""
    for name in given[1:]:
        yield field.forbidden(f"{path}.{_ONE_TOO_MANY.get(name, name)}", _ONE_TYPE)


def source(kind: str, found: Object, path: str, *, persistent: bool = False) -> Errors:
    """One source at a place, whether of a pod's volume or of a PersistentVolume."""
    # Upstream calls this one so.
    place = f"{path}.{'persistentDisk' if kind == 'gcePersistentDisk' else kind}"
    for member in REQUIRED.get(kind, ()):
        if not found.get(member):
            yield field.required(f"{place}.{member}")
    rule = _PERSISTENT.get(kind) if persistent else None
    if rule := rule or _RULES.get(kind):
        yield from rule(found, place)


def _empty_dir(found: Object, path: str) -> Errors:
    limit = found.get("sizeLimit")
    if limit is not None and quantity.parse(limit).nanos < 0:
        yield field.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _files(found: Object, path: str) -> Errors:
    yield from _mode(found.get("defaultMode"), f"{path}.defaultMode")
    yield from _items(found, path)


def _downward_api(found: Object, path: str) -> Errors:
    yield from _mode(found.get("defaultMode"), f"{path}.defaultMode")
    for item in found.get("items") or ():
        yield from _downward(item, path)


def _nfs(found: Object, path: str) -> Errors:
    if not (found.get("path") or "").startswith("/"):
        yield field.invalid(f"{path}.path", found.get("path") or "", "must be an absolute path")


def _csi(found: Object, path: str) -> Errors:
    yield from validation.csi_driver_name(found.get("driver") or "", f"{path}.driver")
    if (secret := found.get("nodePublishSecretRef")) is not None:
        if not secret.get("name"):
            yield field.required(f"{path}.nodePublishSecretRef.name")
        else:
            yield from validation.checked(secret["name"], f"{path}.name", names.dns_subdomain)


def _ephemeral(found: Object, path: str) -> Errors:
    template, place = found.get("volumeClaimTemplate"), f"{path}.volumeClaimTemplate"
    if template is None:
        yield field.required(place)
        return
    metadata = template.get("metadata") or {}
    for key in metadata.get("annotations") or ():
        yield from validation.checked(key.lower(), f"{place}.metadata.annotations", names.qualified_name)
    yield from validation.label_map(metadata.get("labels"), f"{place}.metadata.labels")
    for name in metadata:
        if name not in ("annotations", "labels") and metadata[name]:
            yield field.forbidden(f"{place}.metadata.{name}", "cannot be set")
    yield from _volumes.validate_claim(template.get("spec") or {}, f"{place}.spec")


def _image(found: Object, path: str) -> Errors:
    yield from validation.one_of(found.get("pullPolicy"), f"{path}.pullPolicy", ("Always", "IfNotPresent", "Never"))


def _git(found: Object, path: str) -> Errors:
    yield from local_path(found.get("directory") or "", f"{path}.directory")


def _disk(found: Object, path: str) -> Errors:
    yield from _between(found.get("partition") or 0, f"{path}.partition", 0, 255, "1 and 255")


def _mode(mode: int | None, path: str) -> Errors:
    if mode is not None and not 0 <= mode <= 0o777:
        yield field.invalid(path, mode, _MODE)


def _between(number: int, path: str, least: int, most: int, shown: str) -> Errors:
    if not least <= number <= most:
        yield field.invalid(path, number, f"must be between {shown}, inclusive")


def _host_path(found: Object, path: str) -> Errors:
    if not found.get("path"):
        yield field.required(f"{path}.path")
        return
    if ".." in found["path"].split("/"):
        yield field.invalid(f"{path}.path", found["path"], "must not contain '..'")
    if found.get("type"):
        yield from validation.one_of(found["type"], f"{path}.type", HOST_PATH_TYPES)


def _items(found: Object, path: str) -> Errors:
    for number, item in enumerate(found.get("items") or ()):
        yield from _item(item, f"{path}.items[{number}]")


def _item(item: Object, path: str) -> Errors:
    for member in ("key", "path"):
        if not item.get(member):
            yield field.required(f"{path}.{member}")
    yield from _own_path(item.get("path") or "", f"{path}.path")
    yield from _mode(item.get("mode"), f"{path}.mode")


def local_path(text: str, path: str) -> Errors:
    """A path that stays below where it begins."""
    if text.startswith("/"):
        yield field.invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        yield field.invalid(path, text, "must not contain '..'")


def _own_path(text: str, path: str) -> Errors:
    """The same, and not one of those that the kubelet keeps for itself."""
    yield from local_path(text, path)
    if text.startswith("..") and not text.startswith("../"):
        yield field.invalid(path, text, "must not start with '..'")


def _downward(item: Object, path: str) -> Errors:
    if not item.get("path"):
        yield field.required(f"{path}.path")
    yield from _own_path(item.get("path") or "", f"{path}.path")
    by_field, by_resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if by_field is not None:
        yield from _references.field_ref(by_field, f"{path}.fieldRef", _references.VOLUME_FIELDS)
        if by_resource is not None:
            yield field.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif by_resource is not None:
        yield from _references.resource_ref(by_resource, f"{path}.resourceFieldRef", volume=True)
    else:
        yield field.required(path, "one of fieldRef and resourceFieldRef is required")
    yield from _mode(item.get("mode"), f"{path}.mode")


def _projected(found: Object, path: str) -> Errors:
    yield from _mode(found.get("defaultMode"), f"{path}.defaultMode")
    taken: set[str] = set()
    for index, each in enumerate(found.get("sources") or ()):
        place = f"{path}.sources[{index}]"
        kinds = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")
        given = [name for name in kinds if each.get(name) is not None]
        for kind in given:
            yield from _projection(kind, each[kind], f"{place}.{kind}", path, taken)
        if len(given) > 1:
            yield field.forbidden(place, _ONE_PER_SOURCE)


def _projection(kind: str, found: Object, path: str, volume: str, taken: set[str]) -> Errors:
    """One source of a projected volume; no two files of the volume are at one path."""
    if kind in ("secret", "configMap"):
        name = found.get("name") or ""
        if not name:
            yield field.required(f"{path}.name")
        for number, item in enumerate(found.get("items") or ()):
            yield from _item(item, f"{path}.items[{number}]")
            yield from _taken(item.get("path"), name, volume, taken)
    elif kind == "downwardAPI":
        for item in found.get("items") or ():
            yield from _downward(item, path)
            yield from _taken(item.get("path"), item.get("path"), volume, taken)
    elif kind == "serviceAccountToken":
        yield from _token(found, path, volume)
    elif kind == "clusterTrustBundle":
        yield from _trust_bundle(found, path)


def _taken(target: str | None, shown: Any, volume: str, taken: set[str]) -> Errors:
    if target and target in taken:
        yield field.invalid(volume, shown, "conflicting duplicate paths")
    taken.add(target or "")


def _trust_bundle(found: Object, path: str) -> Errors:
    if not found.get("name") and not found.get("signerName"):
        yield field.required(path, "either name or signerName must be specified")
    if not found.get("path"):
        yield field.required(f"{path}.path")
    yield from _own_path(found.get("path") or "", f"{path}.path")


def _token(found: Object, path: str, volume: str) -> Errors:
    seconds = found.get("expirationSeconds") or 0
    if seconds < _SHORTEST_TOKEN:
        detail = "may not specify a duration less than 10 minutes"
        yield field.invalid(f"{path}.expirationSeconds", seconds, detail)
    if seconds > _LONGEST_TOKEN:
        detail = "may not specify a duration larger than 2^32 seconds"
        yield field.invalid(f"{path}.expirationSeconds", seconds, detail)
    # Upstream's own path: the volume's, not the source's.
    if not found.get("path"):
        yield field.required(f"{volume}.path")
    else:
        yield from _own_path(found["path"], f"{volume}.path")


def _iscsi(found: Object, path: str) -> Errors:
    if not found.get("iqn"):
        yield field.required(f"{path}.iqn")
    else:
        yield from _port_name(found["iqn"], f"{path}.iqn")
    yield from _between(found.get("lun") or 0, f"{path}.lun", 0, 255, "0 and 255")
    if (found.get("chapAuthDiscovery") or found.get("chapAuthSession")) and found.get("secretRef") is None:
        yield field.required(f"{path}.secretRef")
    if (initiator := found.get("initiatorName")) is not None:
        yield from _port_name(initiator, f"{path}.initiatorname")


def _port_name(text: str, path: str) -> Errors:
    form = _PORT_FORMATS.get(text[:3])
    if form is None:
        yield field.invalid(path, text, "must be valid format starting with iqn, eui, or naa")
    elif not form.search(text):
        yield field.invalid(path, text, "must be valid format")


def _fibre_channel(found: Object, path: str) -> Errors:
    targets, ids = found.get("targetWWNs"), found.get("wwids")
    if not targets and not ids:
        yield field.required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if targets and ids:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        yield field.invalid(f"{path}.targetWWNs", targets, detail)
    if targets and found.get("lun") is None:
        yield field.required(f"{path}.lun", "lun is required if targetWWNs is specified")
    elif targets:
        yield from _between(found["lun"], f"{path}.lun", 0, 255, "0 and 255")


_ADDRESSES = "must be a host:port pair or multiple pairs separated by commas"
_LONGEST_TENANT = 64
_HOST_PORT = re.compile(r"([^:\[\]]*|\[[^\[\]]*\]):[^:\[\]]*").fullmatch


def _quobyte(found: Object, path: str) -> Errors:
    registry = found.get("registry") or ""
    if not registry:
        yield field.required(f"{path}.registry", _ADDRESSES)
    elif len(found.get("tenant") or "") > _LONGEST_TENANT:
        yield field.required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters")
    else:
        wrong = [pair for pair in registry.split(",") if not _HOST_PORT(pair)]
        yield from (field.invalid(f"{path}.registry", registry, _ADDRESSES) for _ in wrong)
    if not found.get("volume"):
        yield field.required(f"{path}.volume")


def _flocker(found: Object, path: str) -> Errors:
    name, uid = found.get("datasetName") or "", found.get("datasetUUID")
    if not name and not uid:
        yield field.required(path, "one of datasetName and datasetUUID is required")
    if name and uid:
        yield field.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in name:
        yield field.invalid(f"{path}.datasetName", name, "must not contain '/'")


def _flex(found: Object, path: str) -> Errors:
    for key in found.get("options") or ():
        if f".{key.partition('/')[0].lower()}".endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            yield field.invalid(f"{path}.options[{key}]", key, detail)


_MANAGED = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def _azure_disk(found: Object, path: str) -> Errors:
    kinds = {"cachingMode": ("None", "ReadOnly", "ReadWrite"), "kind": ("Dedicated", "Managed", "Shared")}
    for member, allowed in kinds.items():
        if found.get(member) is not None and found[member] not in allowed:
            yield field.not_supported(f"{path}.{member}", found[member], allowed)
    place, kind = found.get("diskURI") or "", found.get("kind")
    if kind == "Managed" and not place.startswith("/subscriptions/"):
        yield field.not_supported(f"{path}.diskURI", place, (_MANAGED,))
    elif kind not in (None, "Managed") and not place.startswith("https://"):
        yield field.not_supported(f"{path}.diskURI", place, (_BLOB,))


def _secret(found: Object, path: str, members: tuple[str, ...]) -> Errors:
    if (secret := found.get("secretRef")) is not None:
        for member in members:
            if not secret.get(member):
                yield field.required(f"{path}.secretRef.{member}")


def _cinder(found: Object, path: str) -> Errors:
    yield from _secret(found, path, ("name",))


def _persistent_cinder(found: Object, path: str) -> Errors:
    yield from _secret(found, path, ("name", "namespace"))


def _storage_os(found: Object, path: str) -> Errors:
    if not found.get("volumeName"):
        yield field.required(f"{path}.volumeName")
    for member in ("volumeName", "volumeNamespace"):
        if found.get(member):
            yield from validation.checked(found[member], f"{path}.{member}", names.dns_label)
    yield from _secret(found, path, ("name",))


def _persistent_storage_os(found: Object, path: str) -> Errors:
    yield from _storage_os(found, path)
    if (secret := found.get("secretRef")) is not None and not secret.get("namespace"):
        yield field.required(f"{path}.secretRef.namespace")


def _persistent_gluster(found: Object, path: str) -> Errors:
    space = found.get("endpointsNamespace")
    if space == "":
        detail = "if the endpointnamespace is set, it must be a valid namespace name"
        yield field.invalid(f"{path}.endpointsNamespace", space, detail)
    elif space is not None:
        yield from validation.checked(space, f"{path}.endpointsNamespace", names.dns_label)


def _persistent_azure_file(found: Object, path: str) -> Errors:
    if found.get("secretNamespace") == "":
        yield field.required(f"{path}.secretNamespace")


def _persistent_iscsi(found: Object, path: str) -> Errors:
    for error in _iscsi(found, path):
        if error.path.endswith(".initiatorname") and error.message.endswith("naa"):
            yield field.invalid(error.path, found["initiatorName"], "must be valid format")
        else:
            yield error
    if found.get("secretRef") is not None and not found["secretRef"].get("name"):
        yield field.required(f"{path}.secretRef.name")


def long_portal(found: Object, name: str, path: str) -> Errors:
    """An initiator's name leaves less room for the portal."""
    portal = found.get("targetPortal") or ""
    if found.get("initiatorName") is not None and len(f"{name}:{portal}") > _NAME_LIMIT:
        yield field.invalid(f"{path}.targetportal", portal, _ISCSI_NAME)


def _local(found: Object, path: str) -> Errors:
    if not found.get("path"):
        yield field.required(f"{path}.path")
    elif ".." in found["path"].split("/"):
        yield field.invalid(f"{path}.path", found["path"], "must not contain '..'")


def _persistent_csi(found: Object, path: str) -> Errors:
    yield from validation.csi_driver_name(found.get("driver") or "", f"{path}.driver")
    if not found.get("volumeHandle"):
        yield field.required(f"{path}.volumeHandle")
    for name in ("controllerPublish", "controllerExpand", "nodePublish", "nodeExpand"):
        if (secret := found.get(f"{name}SecretRef")) is None:
            continue
        for member, rule in (("name", names.dns_subdomain), ("namespace", names.dns_label)):
            place = f"{path}.{name}SecretRef.{member}"
            if not secret.get(member):
                yield field.required(place)
            else:
                yield from validation.checked(secret[member], place, rule)


#: Where a PersistentVolume's source has rules of its own.
_PERSISTENT: dict[str, Callable[[Object, str], Errors]] = {
    "azureFile": _persistent_azure_file,
    "cinder": _persistent_cinder,
    "csi": _persistent_csi,
    "glusterfs": _persistent_gluster,
    "iscsi": _persistent_iscsi,
    "local": _local,
    "storageos": _persistent_storage_os,
}
_RULES: dict[str, Callable[[Object, str], Errors]] = {
    "awsElasticBlockStore": _disk,
    "azureDisk": _azure_disk,
    "cinder": _cinder,
    "configMap": _files,
    "csi": _csi,
    "downwardAPI": _downward_api,
    "emptyDir": _empty_dir,
    "ephemeral": _ephemeral,
    "fc": _fibre_channel,
    "flexVolume": _flex,
    "flocker": _flocker,
    "gcePersistentDisk": _disk,
    "gitRepo": _git,
    "hostPath": _host_path,
    "image": _image,
    "iscsi": _iscsi,
    "nfs": _nfs,
    "projected": _projected,
    "quobyte": _quobyte,
    "secret": _files,
    "storageos": _storage_os,
}
