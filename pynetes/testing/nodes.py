"""Nodes without machines: each registers as a kubelet does, and its pods run through declared stages.

By default a pod runs and is ready at once, and the pods of Jobs succeed; a test that wants something else scripts it
(testing/scripts.py).
"""

from pynetes.apis.coordination import leases
from pynetes.apis.core import nodes, pods
from pynetes.client.informer import Informer
from pynetes.client.rest import Client
from pynetes.component.clock import Clock
from pynetes.component.tasks import Group, forever
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import UID, Key, Object, is_deleting, key_of, uid_of
from pynetes.testing.clock import VirtualClock
from pynetes.testing.scripts import Scripts, Stage

#: Seconds between heartbeats, as a kubelet's; a node is given up 50 s after its last one.
HEARTBEAT = 10.0
#: On a virtual clock, where none is ever late, and heartbeats are most of what an hour costs.
VIRTUAL_HEARTBEAT = 40.0
ALLOCATABLE = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}


class ScriptedNode:
    """One node; `run` is its kubelet."""

    def __init__(
        self, client: Client, name: str, number: int, *, clock: Clock, scripts: Scripts, kubelet_port: int = 0
    ) -> None:
        """kubelet_port is where the node's logs and exec are served on this machine; 0 for nowhere."""
        self.name, self._client, self._number, self._clock, self._scripts = name, client, number, clock, scripts
        self._kubelet_port = kubelet_port
        self._seen: set[UID] = set()
        #: Address and start of each pod.
        self._placed: dict[UID, tuple[str, str]] = {}
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
                "addresses": [
                    {"type": "InternalIP", "address": address},
                    {"type": "Hostname", "address": self.name},
                    # Where the scripted kubelet listens.
                    {"type": "InternalDNS", "address": "localhost"},
                ],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self._kubelet_port}},
                "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
            },
        }
        try:
            await self._client.create(nodes.RESOURCE, node)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            # It was lost, or the cluster is a copy of another.
            status = {"status": node["status"]}
            await self._client.patch(nodes.RESOURCE, Key("", self.name), status, kind="strategic", subresource="status")

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
            try:
                await self._client.patch(leases.RESOURCE, key, {"spec": renewed})
            except StatusError as error:
                if error.reason != "NotFound":
                    raise
                await self._client.create(leases.RESOURCE, {**lease, "spec": renewed})
            await self._clock.sleep(VIRTUAL_HEARTBEAT if isinstance(self._clock, VirtualClock) else HEARTBEAT)

    def _changed(self, pod: Object, group: Group) -> None:
        uid = uid_of(pod)
        if is_deleting(pod):
            group.start(self._remove(key_of(pod), uid), name="remove pod")
        elif uid not in self._seen:
            self._seen.add(uid)
            group.start(self._play(pod), name="run pod")

    async def _play(self, pod: Object) -> None:
        status = pod.get("status") or {}
        if status.get("podIP"):
            return  # it runs since before this kubelet
        for stage in self._scripts.of(pod).stages_of(pod):
            await self._clock.sleep(stage.after)
            try:
                await self.become(pod, stage)
            except StatusError as error:
                if error.reason in ("NotFound", "Conflict"):
                    return
                raise

    async def become(self, pod: Object, stage: Stage) -> None:
        """Take a pod to a stage. Raises StatusError when it is gone, or another one of its name is there."""
        uid = uid_of(pod)
        if uid not in self._placed:
            self._addresses += 1
            address = f"10.244.{self._number}.{self._addresses}"
            self._placed[uid] = address, times.rfc3339(self._clock.now())
        address, started = self._placed[uid]
        status = _status(pod, stage, address=address, host=f"192.0.2.{self._number}", started=started)
        patch = {"metadata": {"uid": uid}, "status": status}
        await self._client.patch(pods.RESOURCE, key_of(pod), patch, kind="strategic", subresource="status")

    async def _remove(self, key: Key, uid: UID) -> None:
        try:
            await self._client.delete(pods.RESOURCE, key, uid=uid, grace=0)
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise


def _status(pod: Object, stage: Stage, *, address: str, host: str, started: str) -> Object:
    containers = [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": "",
            "ready": stage.ready,
            "started": stage.phase == "Running",
            "restartCount": stage.restarts,
            "state": _state(stage, started),
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


def _state(stage: Stage, started: str) -> Object:
    said = {"message": stage.message} if stage.message else {}
    if stage.phase in ("Succeeded", "Failed"):
        reason = stage.reason or ("Completed" if not stage.exit_code else "Error")
        return {"terminated": {"exitCode": stage.exit_code, "reason": reason, "finishedAt": started, **said}}
    if stage.phase == "Running" and not stage.reason:
        return {"running": {"startedAt": started}}
    return {"waiting": {"reason": stage.reason or "ContainerCreating", **said}}
