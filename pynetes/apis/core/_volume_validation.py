"""What volumes may not be: those of pods, and the sources that PersistentVolumes have too."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pynetes.apis.core import _references
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
    "quobyte": ("registry", "volume"),
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


def validate_volumes(volumes: Any, path: str, fine: set[str]) -> Errors:
    """Mistakes of all volumes; the names of those without any are added to `fine`."""
    for index, volume in enumerate(volumes or ()):
        place = f"{path}[{index}]"
        mistakes = list(_source(volume, place))
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


def _source(volume: Object, path: str) -> Errors:
    given = [name for name in volume if name != "name" and volume[name] is not None]
    if not given:
        yield field.required(path, "must specify a volume type")
        return
    first = "emptyDir" if "emptyDir" in given else given[0]
    for name in given:
        if name != first:
            yield field.forbidden(f"{path}.{name}", _ONE_TYPE)
    yield from source(first, volume[first], path)


def source(kind: str, found: Object, path: str) -> Errors:
    """One source at a place, whether of a pod's volume or of a PersistentVolume."""
    # Upstream calls this one so.
    place = f"{path}.{'persistentDisk' if kind == 'gcePersistentDisk' else kind}"
    for member in REQUIRED.get(kind, ()):
        if not found.get(member):
            yield field.required(f"{place}.{member}")
    if (rule := _RULES.get(kind)) is not None:
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
    if (secret := found.get("nodePublishSecretRef")) is not None and not secret.get("name"):
        yield field.required(f"{path}.nodePublishSecretRef.name")


def _ephemeral(found: Object, path: str) -> Errors:
    if found.get("volumeClaimTemplate") is None:
        yield field.required(f"{path}.volumeClaimTemplate")


def _image(found: Object, path: str) -> Errors:
    if policy := found.get("pullPolicy"):
        yield from validation.one_of(policy, f"{path}.pullPolicy", ("Always", "IfNotPresent", "Never"))


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
        place = f"{path}.items[{number}]"
        for member in ("key", "path"):
            if not item.get(member):
                yield field.required(f"{place}.{member}")
        yield from _own_path(item.get("path") or "", f"{place}.path")
        yield from _mode(item.get("mode"), f"{place}.mode")


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
    for index, each in enumerate(found.get("sources") or ()):
        place = f"{path}.sources[{index}]"
        kinds = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")
        given = [name for name in kinds if each.get(name) is not None]
        if not given:
            yield field.required(place, "must specify a volume type")
        for number, kind in enumerate(given):
            if number:
                yield field.forbidden(f"{place}.{kind}", _ONE_PER_SOURCE)
            else:
                yield from _projection(kind, each[kind], f"{place}.{kind}")


def _projection(kind: str, found: Object, path: str) -> Errors:
    if kind in ("secret", "configMap"):
        if not found.get("name"):
            yield field.required(f"{path}.name")
        yield from _items(found, path)
    elif kind == "downwardAPI":
        for item in found.get("items") or ():
            yield from _downward(item, path)
    elif kind == "serviceAccountToken":
        yield from _token(found, path)
    elif kind == "clusterTrustBundle":
        if not found.get("name") and not found.get("signerName"):
            yield field.required(path, "either name or signerName must be specified")
        if not found.get("path"):
            yield field.required(f"{path}.path")
        yield from _own_path(found.get("path") or "", f"{path}.path")


def _token(found: Object, path: str) -> Errors:
    if not found.get("path"):
        yield field.required(f"{path}.path")
    else:
        yield from _own_path(found["path"], f"{path}.path")
    seconds = found.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST_TOKEN:
        detail = "may not specify a duration less than 10 minutes"
        yield field.invalid(f"{path}.expirationSeconds", seconds, detail)
    if seconds is not None and seconds > _LONGEST_TOKEN:
        detail = "may not specify a duration larger than 2^32 seconds"
        yield field.invalid(f"{path}.expirationSeconds", seconds, detail)


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


_RULES: dict[str, Callable[[Object, str], Errors]] = {
    "awsElasticBlockStore": _disk,
    "configMap": _files,
    "csi": _csi,
    "downwardAPI": _downward_api,
    "emptyDir": _empty_dir,
    "ephemeral": _ephemeral,
    "fc": _fibre_channel,
    "gcePersistentDisk": _disk,
    "gitRepo": _git,
    "hostPath": _host_path,
    "image": _image,
    "iscsi": _iscsi,
    "nfs": _nfs,
    "projected": _projected,
    "secret": _files,
}
