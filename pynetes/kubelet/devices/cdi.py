"""Container Device Interface: what a device's CDI name stands for, read from the specifications on the node.

A runtime that knows CDI gets the names as they are. For one that does not (containerd before 1.7) the kubelet takes
the device nodes, mounts and variables out of the specification; hooks only a runtime can run.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pynetes.rpc.cri import runtime_v1_pb2 as cri

FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))


class Unresolved(Exception):
    """A name that no specification on the node has, or one that needs the runtime's own support."""


@dataclass(kw_only=True)
class Edits:
    """What is added to a container."""

    environment: dict[str, str] = field(default_factory=dict)
    mounts: list[cri.Mount] = field(default_factory=list)
    devices: list[cri.Device] = field(default_factory=list)


def resolve(names: Iterable[str], folders: Iterable[Path] | None = None) -> Edits:
    """What the names VENDOR/CLASS=DEVICE stand for. Raises Unresolved."""
    known = dict(_devices(FOLDERS if folders is None else folders))
    made, seen = Edits(), set[int]()
    for name in names:
        if name not in known:
            raise Unresolved(
                f"unresolvable CDI device {name}: no specification in {', '.join(map(str, FOLDERS))} has it"
            )
        whole, own = known[name]
        for edits in (whole, own):
            if id(edits) not in seen:
                seen.add(id(edits))
                _apply(made, edits, name)
    return made


def _devices(folders: Iterable[Path]) -> Iterator[tuple[str, tuple[dict[str, Any], dict[str, Any]]]]:
    """Every device with the edits of its specification and its own; later folders come before earlier ones."""
    for folder in folders:
        for path in sorted((*folder.glob("*.json"), *folder.glob("*.yaml"))):
            try:
                document = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
                kind, whole = document["kind"], document.get("containerEdits") or {}
                for device in document.get("devices") or ():
                    yield f"{kind}={device['name']}", (whole, device.get("containerEdits") or {})
            except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
                # One broken file must not take everybody else's devices away.
                continue


def _apply(made: Edits, edits: dict[str, Any], name: str) -> None:
    if edits.get("hooks"):
        raise Unresolved(f"CDI device {name} has hooks, which need a runtime with CDI: containerd 1.7 or later")
    for pair in edits.get("env") or ():
        key, _, value = pair.partition("=")
        made.environment[key] = value
    for node in edits.get("deviceNodes") or ():
        inside, outside = node["path"], node.get("hostPath") or node["path"]
        permissions = node.get("permissions") or "rw"
        made.devices.append(cri.Device(container_path=inside, host_path=outside, permissions=permissions))
    for mount in edits.get("mounts") or ():
        made.mounts.append(
            cri.Mount(
                container_path=mount["containerPath"],
                host_path=mount["hostPath"],
                readonly="ro" in (mount.get("options") or ()),
            )
        )
