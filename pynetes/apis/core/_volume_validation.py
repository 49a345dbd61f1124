"""What volumes of a pod may not be."""

from collections.abc import Iterator
from typing import Any

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
#: Source → the member that it cannot do without.
_REQUIRED = {
    "secret": "secretName",
    "configMap": "name",
    "persistentVolumeClaim": "claimName",
    "nfs": "server",
    "csi": "driver",
}


def validate_volumes(volumes: Any, path: str) -> Errors:
    """Mistakes of all volumes."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes or ()):
        place = f"{path}[{index}]"
        mistakes = list(_source(volume, place))
        yield from mistakes
        name = volume.get("name", "")
        if not name:
            yield field.required(f"{place}.name")
        elif texts := names.dns_label(name):
            yield from (field.invalid(f"{place}.name", name, text) for text in texts)
        elif name in seen:
            yield field.duplicate(f"{place}.name", name)
        if not mistakes:
            seen.add(name)


def _source(volume: Object, path: str) -> Errors:
    given = [name for name in volume if name != "name" and volume[name] is not None]
    if not given:
        yield field.required(path, "must specify a volume type")
    first = "emptyDir" if "emptyDir" in given else given[0] if given else ""
    for name in given:
        if name != first:
            yield field.forbidden(f"{path}.{name}", "may not specify more than 1 volume type")
    if not first:
        return
    source = volume[first]
    if (member := _REQUIRED.get(first)) and not source.get(member):
        yield field.required(f"{path}.{first}.{member}")
    if first == "hostPath":
        yield from _host_path(source, f"{path}.hostPath")
    if first in ("secret", "configMap"):
        for number, item in enumerate(source.get("items") or ()):
            place = f"{path}.{first}.items[{number}]"
            for member in ("key", "path"):
                if not item.get(member):
                    yield field.required(f"{place}.{member}")
            if ".." in item.get("path", "").split("/"):
                yield field.invalid(f"{place}.path", item["path"], "must not contain '..'")


def _host_path(source: Object, path: str) -> Errors:
    if not source.get("path"):
        yield field.required(f"{path}.path")
    elif ".." in source["path"].split("/"):
        yield field.invalid(f"{path}.path", source["path"], "must not contain '..'")
    if source.get("type"):
        yield from validation.one_of(source["type"], f"{path}.type", HOST_PATH_TYPES)
