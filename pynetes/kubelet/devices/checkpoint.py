"""Remembers over a restart of the kubelet who has which devices, in upstream's file.

The plugin's answers are kept too: a container that is restarted later gets the same devices, environment and mounts
although its plugin may not be back yet.
"""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

from pynetes.kubelet.devices.pool import Allocation

NAME = "kubelet_internal_checkpoint"


class Spoilt(Exception):
    """The file is not what was written."""


def save(folder: Path, allocations: list[Allocation], resources: dict[str, list[str]]) -> None:
    """Write the file as a whole or not at all."""
    entries = [
        {
            "PodUID": one.uid,
            "ContainerName": one.container,
            "ResourceName": one.resource,
            "DeviceIDs": {"-1": list(one.ids)},
            "AllocResp": base64.b64encode(one.response).decode(),
        }
        for one in allocations
    ]
    data = {"PodDeviceEntries": entries, "RegisteredDevices": resources}
    fresh = folder / f"{NAME}.tmp"
    fresh.write_text(json.dumps({"Data": data, "Checksum": _sum(data)}))
    fresh.replace(folder / NAME)


def load(folder: Path) -> tuple[list[Allocation], dict[str, list[str]]]:
    """What was saved; nothing where there is no file. Raises Spoilt."""
    try:
        document = json.loads((folder / NAME).read_text())
        data: dict[str, Any] = document["Data"]
        if document["Checksum"] != _sum(data):
            raise Spoilt(f"{folder / NAME}: the checksum is wrong")
        return [_allocation(one) for one in data["PodDeviceEntries"] or ()], dict(data["RegisteredDevices"] or {})
    except FileNotFoundError:
        return [], {}
    except (ValueError, KeyError, TypeError) as error:
        raise Spoilt(f"{folder / NAME}: {error}") from error


def _allocation(entry: dict[str, Any]) -> Allocation:
    return Allocation(
        uid=entry["PodUID"],
        container=entry["ContainerName"],
        resource=entry["ResourceName"],
        ids=tuple(one for ids in entry["DeviceIDs"].values() for one in ids),
        response=base64.b64decode(entry["AllocResp"] or ""),
    )


def _sum(data: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(data, sort_keys=True).encode())
