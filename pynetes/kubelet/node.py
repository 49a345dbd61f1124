"""The node's object: registered once, its status written when it changes or every five minutes, its Lease renewed.

The Lease is the heartbeat. It is renewed in a task of its own that shares nothing with the rest but the client, so that
neither a slow runtime nor a full queue can make the node look dead.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pynetes import GIT_VERSION
from pynetes.apis.coordination import leases
from pynetes.apis.core import nodes
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.kubelet import cloud
from pynetes.kubelet.machine import Machine
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


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What goes into the node's object."""

    name: str
    ips: Sequence[str]
    machine: Machine
    runtime: str
    port: int
    max_pods: int
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
    """What pods may take: the capacity, less what eviction keeps free (100 MiB of memory, a tenth of the disk)."""
    machine = facts.machine
    return {
        **capacity(facts),
        "memory": f"{max(machine.memory // 1024 - 100 * 1024, 0)}Ki",
        "ephemeral-storage": str(machine.disk // 1024 * 1024 * 9 // 10),
    }


def status(
    facts: Facts,
    images: Sequence[Object],
    trouble: str,
    old: Object,
    now: str,
    *,
    in_use: Sequence[str] = (),
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
    wanted = [(kind, "False", reason, message) for kind, reason, message in PRESSURES] + [ready]
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
        "features": {"supplementalGroupsPolicy": False},
        "runtimeHandlers": [{"name": "", "features": {"recursiveReadOnlyMounts": False, "userNamespaces": False}}],
    }


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
