"""The node's object: registered once, its status written when it changes or every five minutes, its Lease renewed.

The Lease is the heartbeat. It is renewed in a task of its own that shares nothing with the rest but the client, so that
neither a slow runtime nor a full queue can make the node look dead.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pynetes import GIT_VERSION
from pynetes.apis.coordination import leases
from pynetes.apis.core import nodes
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.kubelet import cloud
from pynetes.kubelet.cri.runtime import Features
from pynetes.kubelet.machine import Machine, process_slots
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object

log = logging.getLogger(__name__)

LEASE_SECONDS = 40
RENEW = 10.0
RETRY = 1.0
NAMESPACE = "kube-node-lease"
#: Conditions of a healthy node: type, reason and message.
PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
#: Reason and message of one that is short of something.
PRESSED = {
    "MemoryPressure": ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    "PIDPressure": ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}
#: Condition → status → the reason of the event by which a change to it is told.
TOLD = {
    "MemoryPressure": {"True": "NodeHasInsufficientMemory", "False": "NodeHasSufficientMemory"},
    "DiskPressure": {"True": "NodeHasDiskPressure", "False": "NodeHasNoDiskPressure"},
    "PIDPressure": {"True": "NodeHasInsufficientPID", "False": "NodeHasSufficientPID"},
    "Ready": {"True": "NodeReady", "False": "NodeNotReady"},
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What goes into the node's object."""

    name: str
    ips: Sequence[str]
    machine: Machine
    runtime: str
    port: int
    max_pods: int
    #: What is not for pods, in thousandths by resource; and what eviction keeps free, in bytes.
    reserved: Mapping[str, int] = field(default_factory=dict)
    kept_free: Mapping[str, int] = field(default_factory=dict)
    features: Features = field(default_factory=Features)
    labels: dict[str, str]
    taints: Sequence[Object]
    provider_id: str = ""
    #: Whether a cloud controller manager says which addresses and labels the node has.
    external: bool = False


class Extended(NamedTuple):
    """Amounts of the resources of device plugins, as quantities; those whose plugin is long gone are taken back."""

    capacity: dict[str, str]
    allocatable: dict[str, str]
    gone: frozenset[str] = frozenset()

    def over(self, old: Object, field: str) -> Object:
        """A status field's extended resources: those of others as they are, ours as they are now."""
        kept = {name: amount for name, amount in (old.get(field) or {}).items() if "/" in name}
        taken_back = dict.fromkeys(self.gone & kept.keys())
        return {**kept, **taken_back, **(self.capacity if field == "capacity" else self.allocatable)}


NO_DEVICES = Extended({}, {})


def initial(facts: Facts) -> Object:
    """The object to register with."""
    system = {
        "kubernetes.io/hostname": facts.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": facts.machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": facts.machine.architecture,
    }
    taints = [*facts.taints, *([cloud.UNINITIALIZED] if facts.external else [])]
    spec: Object = {"taints": taints} if taints else {}
    if facts.provider_id:
        spec["providerID"] = facts.provider_id
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": facts.name,
            "labels": {**system, **facts.labels},
            "annotations": {
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
                **({cloud.PROVIDED_NODE_IP: ",".join(facts.ips)} if facts.external else {}),
            },
        },
        "spec": spec,
    }


def capacity(facts: Facts) -> Object:
    """Amounts of resources, as quantities."""
    machine = facts.machine
    return {
        "cpu": str(machine.cpus),
        "memory": f"{machine.memory // 1024}Ki",
        "ephemeral-storage": f"{machine.disk // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "pods": str(facts.max_pods),
    }


def allocatable(facts: Facts) -> Object:
    """What pods may take: the capacity, less what is reserved and what eviction keeps free."""
    machine = facts.machine
    reserved = {name: amount // 1000 for name, amount in facts.reserved.items()}
    memory = machine.memory - reserved.get("memory", 0) - facts.kept_free.get("memory", 0)
    disk = machine.disk // 1024 * 1024
    disk -= reserved.get("ephemeral-storage", 0) + facts.kept_free.get("ephemeral-storage", 0)
    cpu = machine.cpus * 1000 - facts.reserved.get("cpu", 0)
    return {
        **capacity(facts),
        "cpu": str(cpu // 1000) if cpu % 1000 == 0 else f"{max(cpu, 0)}m",
        "memory": f"{max(memory // 1024, 0)}Ki",
        "ephemeral-storage": str(max(disk, 0)),
    }


def for_pods(facts: Facts) -> dict[str, int]:
    """What all pods together may take, for their cgroup: thousandths of CPUs, bytes of memory, processes."""
    memory = facts.machine.memory - facts.reserved.get("memory", 0) // 1000
    made = {"cpu": facts.machine.cpus * 1000 - facts.reserved.get("cpu", 0), "memory": memory}
    if facts.reserved.get("pid"):
        made["pids"] = process_slots()[1] - facts.reserved["pid"] // 1000
    return made


def status(
    facts: Facts,
    images: Sequence[Object],
    trouble: str,
    old: Object,
    now: str,
    *,
    in_use: Sequence[str] = (),
    pressures: Collection[str] = (),
    extended: Extended = NO_DEVICES,
) -> Object:
    """The status; trouble says why the node is not ready, "" when it is. Extended resources of others are kept."""
    machine = facts.machine
    own = [{"type": "InternalIP", "address": ip} for ip in facts.ips] + [{"type": "Hostname", "address": facts.name}]
    ready = (
        ("Ready", "False", "KubeletNotReady", trouble)
        if trouble
        else ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
    )
    wanted = [_pressure(kind, reason, message, pressures) for kind, reason, message in PRESSURES] + [ready]
    return {
        "capacity": {**extended.over(old, "capacity"), **capacity(facts)},
        "allocatable": {**extended.over(old, "allocatable"), **allocatable(facts)},
        "addresses": (facts.external and old.get("addresses")) or own,
        "conditions": conditions(wanted, old.get("conditions") or [], now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.port}},
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.system_uuid,
            "bootID": machine.boot_id,
            "kernelVersion": machine.kernel,
            "osImage": machine.os_image,
            "containerRuntimeVersion": facts.runtime,
            "kubeletVersion": GIT_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": machine.architecture,
            "swap": {"capacity": machine.swap},
        },
        "images": list(images),
        "volumesInUse": list(in_use),
        "features": {"supplementalGroupsPolicy": facts.features.supplemental_groups},
        "runtimeHandlers": [
            {"name": name, "features": {"recursiveReadOnlyMounts": recursive, "userNamespaces": users}}
            for name, (recursive, users) in (facts.features.handlers or {"": (False, False)}).items()
        ],
    }


def _pressure(kind: str, reason: str, message: str, pressures: Collection[str]) -> tuple[str, str, str, str]:
    return (kind, "True", *PRESSED[kind]) if kind in pressures else (kind, "False", reason, message)


def conditions(wanted: Sequence[tuple[str, str, str, str]], old: Sequence[Object], now: str) -> list[Object]:
    """Conditions with their times; those of others are kept."""
    before = {one["type"]: one for one in old}
    made = []
    for kind, value, reason, message in wanted:
        known = before.pop(kind, None)
        moved = now if known is None or known["status"] != value else known.get("lastTransitionTime", now)
        made.append(
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": moved,
            }
        )
    return [*before.values(), *made]


def news(name: str, old: Object, new: Object) -> list[tuple[str, str, str]]:
    """What a status tells that the one before did not: types, reasons and messages of events, as upstream's kubelet."""
    made = []
    boot, before = new["nodeInfo"]["bootID"], (old.get("nodeInfo") or {}).get("bootID")
    if before and before != boot:
        made.append(("Warning", "Rebooted", f"Node {name} has been rebooted, boot id: {boot}"))
    was = {one["type"]: one["status"] for one in old.get("conditions") or ()}
    for one in new["conditions"]:
        reason = TOLD.get(one["type"], {}).get(one["status"])
        if reason and was.get(one["type"]) != one["status"]:
            made.append(("Normal", reason, f"Node {name} status is now: {reason}"))
    return made


def differs(old: Object, new: Object) -> bool:
    """Whether a status says anything new beside the time of day."""
    return bool(_timeless(old) != _timeless(new))


def _timeless(one: Object) -> Any:
    shown = [{name: v for name, v in c.items() if name != "lastHeartbeatTime"} for c in one.get("conditions") or ()]
    return {**{name: one.get(name) for name in STATUS_FIELDS}, "conditions": sorted(shown, key=lambda c: c["type"])}


STATUS_FIELDS = ("capacity", "allocatable", "addresses", "nodeInfo", "daemonEndpoints", "images", "volumesInUse")


async def register(client: Client, facts: Facts, clock: Clock) -> Object:
    """Make the node's object, or take over the one that exists, its labels brought up to date."""
    wanted = initial(facts)
    while True:
        try:
            found = await client.find(nodes.RESOURCE, Key("", facts.name))
            if found is None:
                return await client.create(nodes.RESOURCE, wanted)
            labels = wanted["metadata"]["labels"]
            if any((found["metadata"].get("labels") or {}).get(name) != value for name, value in labels.items()):
                patch = {"metadata": {"labels": labels}}
                found = await client.patch(nodes.RESOURCE, Key("", facts.name), patch, kind="strategic")
            return found
        except (StatusError, Unreachable) as error:
            log.warning(logs.fact("node not registered", node=facts.name, error=error))
            await clock.sleep(RETRY)


async def heartbeat(client: Client, name: str, uid: str, clock: Clock) -> None:
    """Renew the node's Lease every ten seconds until cancelled."""
    lease: Object | None = None
    while True:
        started = clock.monotonic()
        pause = RENEW
        try:
            lease = await _renew(client, name, uid, lease, clock)
        except (StatusError, Unreachable) as error:
            log.warning(logs.fact("lease not renewed", node=name, error=error))
            lease, pause = None, RETRY
        await clock.sleep(max(pause - (clock.monotonic() - started), 0.0))


async def _renew(client: Client, name: str, uid: str, lease: Object | None, clock: Clock) -> Object:
    key = Key(NAMESPACE, name)
    lease = lease or await client.find(leases.RESOURCE, key)
    spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": time.micro(clock.now())}
    if lease is not None:
        return await client.update(leases.RESOURCE, {**lease, "spec": {**lease["spec"], **spec}})
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    fresh = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner]},
        "spec": spec,
    }
    return await client.create(leases.RESOURCE, fresh)
