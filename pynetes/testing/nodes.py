"""Nodes without machines: each registers as a kubelet does, and its pods run through declared stages.

A stage is a status that a pod takes on some time after the one before. By default a pod runs and is ready at once, and
the pods of Jobs succeed; a test that wants something else gives its own stages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pynetes.apis.coordination import leases
from pynetes.apis.core import nodes, pods
from pynetes.client.informer import Informer
from pynetes.client.rest import Client
from pynetes.component.clock import Clock
from pynetes.component.tasks import Group, forever
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import UID, Key, Object, controller_of, is_deleting, key_of, uid_of

#: Seconds between heartbeats: upstream's.
HEARTBEAT = 10.0
ALLOCATABLE = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}


@dataclass(frozen=True)
class Stage:
    """phase is the pod's, ready its Ready condition, after the seconds since the stage before."""

    phase: str
    ready: bool = False
    after: float = 0.0
    exit_code: int = 0


RUNNING = (Stage("Running", ready=True),)
FINISHING = (Stage("Running", ready=True), Stage("Succeeded"))
Stages = Callable[[Object], Sequence[Stage]]


def default_stages(pod: Object) -> Sequence[Stage]:
    """Pods of Jobs succeed, all others run until they are deleted."""
    owner = controller_of(pod)
    return FINISHING if owner and owner["kind"] == "Job" else RUNNING


class ScriptedNode:
    """One node; `run` is its kubelet."""

    def __init__(
        self, client: Client, name: str, number: int, *, clock: Clock, stages: Stages = default_stages
    ) -> None:
        self.name, self._client, self._number, self._clock, self._stages = name, client, number, clock, stages
        self._seen: set[UID] = set()
        self._addresses = 1

    async def run(self) -> None:
        """Register, beat and run pods until cancelled."""
        await self.register()
        informer = Informer(self._client, pods.RESOURCE, clock=self._clock, field_selector=f"spec.nodeName={self.name}")
        async with Group() as group:
            informer.handle(lambda pod, _old, gone: None if gone else self._changed(pod, group))
            group.start(informer.run(), name=f"{self.name} pods")
            group.start(self._beat(), name=f"{self.name} heartbeat")
            await forever()

    async def register(self) -> None:
        """Make the Node and its Lease, ready."""
        now = times.rfc3339(self._clock.now())
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "scripted node is ready"}
        address = f"192.0.2.{self._number}"
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"},
            },
            "spec": {},
            "status": {
                "capacity": dict(ALLOCATABLE),
                "allocatable": dict(ALLOCATABLE),
                "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": self.name}],
                "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
            },
        }
        try:
            await self._client.create(nodes.RESOURCE, node)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _beat(self) -> None:
        key = Key("kube-node-lease", self.name)
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40}
        lease: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": key.namespace, "name": key.name},
        }
        while True:
            renewed = {**spec, "renewTime": times.micro(self._clock.now())}
            if await self._client.find(leases.RESOURCE, key) is None:
                await self._client.create(leases.RESOURCE, {**lease, "spec": renewed})
            else:
                await self._client.patch(leases.RESOURCE, key, {"spec": renewed})
            await self._clock.sleep(HEARTBEAT)

    def _changed(self, pod: Object, group: Group) -> None:
        uid = uid_of(pod)
        if is_deleting(pod):
            group.start(self._remove(key_of(pod), uid), name="remove pod")
        elif uid not in self._seen:
            self._seen.add(uid)
            group.start(self._play(pod), name="run pod")

    async def _play(self, pod: Object) -> None:
        self._addresses += 1
        address = f"10.244.{self._number}.{self._addresses}"
        started = times.rfc3339(self._clock.now())
        for stage in self._stages(pod):
            await self._clock.sleep(stage.after)
            status = _status(pod, stage, address=address, host=f"192.0.2.{self._number}", started=started)
            try:
                patch = {"metadata": {"uid": uid_of(pod)}, "status": status}
                await self._client.patch(pods.RESOURCE, key_of(pod), patch, kind="strategic", subresource="status")
            except StatusError as error:
                if error.reason in ("NotFound", "Conflict"):
                    return
                raise

    async def _remove(self, key: Key, uid: UID) -> None:
        try:
            await self._client.delete(pods.RESOURCE, key, uid=uid, grace=0)
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise


def _status(pod: Object, stage: Stage, *, address: str, host: str, started: str) -> Object:
    over = stage.phase in ("Succeeded", "Failed")
    if over:
        state: Object = {"terminated": {"exitCode": stage.exit_code, "reason": "Completed", "finishedAt": started}}
    elif stage.phase == "Running":
        state = {"running": {"startedAt": started}}
    else:
        state = {"waiting": {"reason": "ContainerCreating"}}
    containers = [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": "",
            "ready": stage.ready,
            "started": stage.phase == "Running",
            "restartCount": 0,
            "state": state,
        }
        for container in pod["spec"]["containers"]
    ]
    verdict = "True" if stage.ready else "False"
    conditions = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": verdict, "Ready": verdict}
    return {
        "phase": stage.phase,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": started,
        "containerStatuses": containers,
        "conditions": [
            {"type": kind, "status": status, "lastTransitionTime": started} for kind, status in conditions.items()
        ],
    }
