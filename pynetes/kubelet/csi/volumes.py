"""Mounts and unmounts CSI volumes: wait for the attachment, stage once per node, publish once per pod; and back.

Every step may be repeated: after a failure, after a restart of the kubelet, after a driver died in the middle. A call
whose outcome is uncertain counts as done when it comes to undoing. One lock per volume keeps staging and unstaging
apart; nothing else is shared, so a driver that hangs holds up the pods that use its volumes only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.component.tasks import Group, first
from pynetes.kubelet import rootdir
from pynetes.kubelet.csi import requests
from pynetes.kubelet.csi.attachments import Attachments, InUse
from pynetes.kubelet.csi.drivers import EXPAND, STAGE, Drivers, Registered
from pynetes.kubelet.csi.layout import Device, Layout, Published
from pynetes.kubelet.csi.requests import Given, Policy
from pynetes.kubelet.volumes import mounts, ownership
from pynetes.kubelet.volumes.spec import Spec, VolumeFailure, attachment_name
from pynetes.machinery.meta import Object
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import DriverFailure

log = logging.getLogger(__name__)

#: Seconds that a driver gets to register after the kubelet has started, before a pod's mount counts as failed.
REGISTRATION = 5.0
#: Seconds between publications where the driver asks for them again and again.
REPUBLISH = 60.0
RETRY_FIRST, RETRY_LAST = 0.5, 120.0
OPERATIONS = REGISTRY.histogram(
    "storage_operation_duration_seconds", "Storage operation duration", "volume_plugin", "operation_name", "status",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600),
)  # fmt: skip

#: (namespace, name) → the Secret's values. Raises VolumeFailure.
Secrets = Callable[[str, str], Awaitable[Mapping[str, str]]]
#: (pod, audience request) → {"token", "expirationTimestamp"}.
TokenOf = Callable[[Object, Object], Awaitable[Object]]


@dataclass(kw_only=True)
class Source:
    """Where the values come from that go to drivers."""

    secret: Secrets
    token: TokenOf
    policy: Callable[[str], Policy]


@dataclass(kw_only=True)
class _State:
    """A volume on this node."""

    device: Device
    unique: str = ""
    users: set[str] = field(default_factory=set)
    #: It may be staged: undone in the end. Confirmed: it certainly is.
    staged: bool = False
    confirmed: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class CsiVolumes:
    """The CSI volumes of one node."""

    def __init__(
        self,
        root: Path,
        *,
        node: str,
        drivers: Drivers,
        source: Source,
        attachments: Attachments,
        in_use: InUse,
        clock: Clock,
        group: Group,
    ) -> None:
        self._root, self._layout, self._node, self.drivers = root, Layout(root), node, drivers
        self._source, self._attachments, self.in_use = source, attachments, in_use
        self._clock, self._group = clock, group
        self._states: dict[str, _State] = {}
        #: What pods have, by UID and name of the folder; and when it was last published.
        self._published: dict[tuple[str, str], Published] = {}
        self._at: dict[tuple[str, str], float] = {}
        self._unstaging: set[str] = set()

    # What is there

    def reconstruct(self) -> int:
        """Learn from the notes on disk what an earlier kubelet has staged and published; how many volumes of pods."""
        standing, now = mounts.points(), self._clock.monotonic()
        for device in self._layout.staged():
            state = self._state(device, persistent=True)
            state.staged, state.confirmed = True, str(self._layout.staging(device)) in standing
        for published in self._layout.published():
            uid, device = published.uid, published.device
            self._published[uid, device.spec_name] = published
            self._state(device, persistent=published.persistent).users.add(uid)
            if str(self._layout.target(uid, device)) in standing:
                self._at[uid, device.spec_name] = now
        return len(self._published)

    def path(self, pod: Object, spec: Spec) -> Path:
        """Where a volume is published."""
        return self._layout.target(pod["metadata"]["uid"], self._device(pod, spec))

    def of_pod(self, uid: str) -> list[Published]:
        """What a pod has, or may have."""
        return [one for (owner, _), one in self._published.items() if owner == uid]

    def owners(self) -> set[str]:
        """UIDs of the pods that have volumes."""
        return {uid for uid, _ in self._published}

    def mounted(self, uid: str, spec_name: str) -> bool:
        """Whether the volume is certainly published."""
        return (uid, spec_name) in self._at

    # There

    async def set_up(self, pod: Object, spec: Spec) -> None:
        """Have the volume published to the pod. Raises VolumeFailure."""
        uid = pod["metadata"]["uid"]
        registered = await self.drivers.wait(spec.source["driver"], REGISTRATION)
        policy = self._source.policy(registered.name)
        if self._done(uid, spec, policy):
            return
        requests.check_mode(policy, spec)
        device = self._device(pod, spec)
        state = self._state(device, persistent=spec.persistent)
        # Said before anything happens, so that nobody takes the volume away meanwhile.
        state.users.add(uid)
        context: Mapping[str, str] = {}
        if spec.persistent and policy.attach:
            await self.in_use.tell(spec.unique)
            context = await self._attachments.wait(spec)
        if spec.persistent and STAGE in registered.capabilities:
            await self._stage(pod, spec, registered, state, context)
        await self._publish(pod, spec, registered, policy, state, context)
        if requests.owned_by_kubelet(registered, policy, spec):
            await asyncio.to_thread(ownership.apply, self._layout.target(uid, device), pod, read_only=spec.read_only)
        self._at[uid, spec.spec_name] = self._clock.monotonic()

    def _done(self, uid: str, spec: Spec, policy: Policy) -> bool:
        at = self._at.get((uid, spec.spec_name))
        return at is not None and not (policy.republish and self._clock.monotonic() - at >= REPUBLISH)

    async def _stage(
        self, pod: Object, spec: Spec, registered: Registered, state: _State, context: Mapping[str, str]
    ) -> None:
        async with state.lock:
            if state.confirmed:
                return
            path = self._layout.staging(state.device)
            self._layout.note_staged(state.device)
            # For a device the driver makes the file itself, and wants the folder around it only.
            await asyncio.to_thread(path.mkdir, parents=True, exist_ok=True)
            secrets = await self._secrets(spec.source.get("nodeStageSecretRef"), pod)
            given = Given(publish_context=context, secrets=secrets)
            request = requests.stage(registered, spec, self._seen(registered, path), given, requests.fs_group(pod))
            fresh, state.staged = not state.staged, True
            try:
                await self._call(registered, "NodeStageVolume", request, "volume_attach_device")
            except DriverFailure as failure:
                if fresh and not failure.uncertain:
                    state.staged = False
                    self._forget_staged(state.device)
                raise VolumeFailure(f"MountVolume.MountDevice failed for volume {_shown(spec, failure)}") from failure
            state.confirmed = True

    async def _publish(
        self,
        pod: Object,
        spec: Spec,
        registered: Registered,
        policy: Policy,
        state: _State,
        context: Mapping[str, str],
    ) -> None:
        uid, device = pod["metadata"]["uid"], state.device
        target = self._layout.target(uid, device)
        attachment = attachment_name(device.handle, device.driver, self._node) if spec.unique else ""
        published = Published(uid=uid, device=device, persistent=spec.persistent)
        fresh = (uid, spec.spec_name) not in self._published
        self._layout.note_published(published, node=self._node, attachment=attachment)
        self._published[uid, spec.spec_name] = published
        # The driver makes the target itself.
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        given = Given(
            publish_context=context,
            secrets=await self._secrets(spec.source.get("nodePublishSecretRef"), pod),
            tokens=await self._tokens(pod, policy),
        )
        staging = self._seen(registered, self._layout.staging(device)) if state.staged else ""
        shown = self._seen(registered, target)
        request = requests.publish(registered, policy, pod, spec, given, staging=staging, target=shown)
        try:
            await self._call(registered, "NodePublishVolume", request, "volume_mount")
        except DriverFailure as failure:
            if fresh and not failure.uncertain and not mounts.is_mount(target):
                self._forget_published(published)
            what = "MapVolume.SetUpDevice" if spec.block else "MountVolume.SetUp"
            reason = "FailedMapVolume" if spec.block else "FailedMount"
            raise VolumeFailure(f"{what} failed for volume {_shown(spec, failure)}", reason=reason) from failure

    async def expand(self, pod: Object, spec: Spec) -> int:
        """Grow the file system to the volume's new size, where the driver does that; the size it has, 0 unknown."""
        registered = self.drivers.get(spec.source["driver"])
        if EXPAND not in registered.capabilities:
            return spec.capacity
        device = self._device(pod, spec)
        state = self._state(device, persistent=True)
        secrets = await self._secrets(spec.source.get("nodeExpandSecretRef"), pod)
        async with state.lock:
            request = pb.NodeExpandVolumeRequest(
                volume_id=device.handle,
                volume_path=self._seen(registered, self._layout.target(pod["metadata"]["uid"], device)),
                capacity_range=pb.CapacityRange(required_bytes=spec.capacity),
                staging_target_path=self._seen(registered, self._layout.staging(device)) if state.staged else "",
                volume_capability=requests.of_volume(registered, spec),
                secrets=secrets,
            )
            try:
                answer = await self._call(registered, "NodeExpandVolume", request, "volume_fs_resize")
            except DriverFailure as failure:
                text = _shown(spec, failure)
                raise VolumeFailure(f"NodeExpandVolume failed for volume {text}") from failure
        return int(answer.capacity_bytes) or spec.capacity

    def stats_request(self, registered: Registered, one: Published) -> pb.NodeGetVolumeStatsRequest:
        """What a driver is asked for the figures of a volume."""
        state = self._states.get(one.device.key)
        staged = state is not None and state.staged
        return pb.NodeGetVolumeStatsRequest(
            volume_id=one.device.handle,
            volume_path=self._seen(registered, self._layout.target(one.uid, one.device)),
            staging_target_path=self._seen(registered, self._layout.staging(one.device)) if staged else "",
        )

    # And back

    async def tear_down(self, published: Published) -> None:
        """Unpublish a volume of a pod, then unstage it if no other pod has it. Raises VolumeFailure."""
        uid, device = published.uid, published.device
        registered = await self.drivers.wait(device.driver, REGISTRATION)
        target = self._layout.target(uid, device)
        request = pb.NodeUnpublishVolumeRequest(volume_id=device.handle, target_path=self._seen(registered, target))
        try:
            await self._call(registered, "NodeUnpublishVolume", request, "volume_unmount")
        except DriverFailure as failure:
            if not failure.absent or mounts.is_mount(target):
                text = f'"{device.spec_name}" : {failure}'
                raise VolumeFailure(f"UnmountVolume.TearDown failed for volume {text}") from failure
        try:
            self._forget_published(published)
        except OSError as error:
            text = f'"{device.spec_name}" : the driver left {target} in use: {error.strerror}'
            raise VolumeFailure(f"UnmountVolume.TearDown failed for volume {text}") from error
        state = self._state(device, persistent=published.persistent)
        state.users.discard(uid)
        self._release(state)

    def forget_pod(self, uid: str) -> None:
        """A pod is gone, with whatever it had only asked for."""
        for state in tuple(self._states.values()):
            if uid in state.users:
                state.users.discard(uid)
                self._release(state)

    def release_unused(self) -> None:
        """Unstage what no pod uses any more: after a start, once all pods are known."""
        for state in tuple(self._states.values()):
            self._release(state)

    def _release(self, state: _State) -> None:
        if not state.users and state.device.key not in self._unstaging:
            self._unstaging.add(state.device.key)
            self._group.start(self._unstage(state), name=f"unstage {state.device.spec_name}")

    async def _unstage(self, state: _State) -> None:
        """Unstage until it has worked, or a pod uses the volume again."""
        delay = RETRY_FIRST
        try:
            while not state.users:
                try:
                    async with state.lock:
                        if not state.users and await self._unstaged(state):
                            return
                except (DriverFailure, VolumeFailure, OSError) as failure:
                    log.warning(logs.fact("volume not unstaged", volume=state.device.key, error=failure))
                    # The driver that registers may be the one that was missing.
                    await first(self._clock.sleep(delay), self.drivers.change())
                    delay = min(delay * 2, RETRY_LAST)
        finally:
            self._unstaging.discard(state.device.key)

    async def _unstaged(self, state: _State) -> bool:
        device = state.device
        if state.staged:
            registered = await self.drivers.wait(device.driver, REGISTRATION)
            if STAGE in registered.capabilities:
                path = self._layout.staging(device)
                request = pb.NodeUnstageVolumeRequest(
                    volume_id=device.handle, staging_target_path=self._seen(registered, path)
                )
                await self._call(registered, "NodeUnstageVolume", request, "volume_unmount_device")
            self._forget_staged(device)
            state.staged = state.confirmed = False
        if not state.users:
            self._states.pop(device.key, None)
            self.in_use.drop(state.unique)
        return True

    # Parts

    def _device(self, pod: Object, spec: Spec) -> Device:
        handle = requests.handle(pod, spec)
        return Device(driver=spec.source["driver"], handle=handle, spec_name=spec.spec_name, block=spec.block)

    def _state(self, device: Device, *, persistent: bool) -> _State:
        state = self._states.get(device.key)
        if state is None:
            unique = f"kubernetes.io/csi/{device.key}" if persistent else ""
            state = self._states[device.key] = _State(device=device, unique=unique)
            if unique and self._source.policy(device.driver).attach:
                self.in_use.wanted.add(unique)
        return state

    def _seen(self, registered: Registered, path: Path) -> str:
        return rootdir.seen_by(registered.endpoint, path, self._root)

    def _forget_published(self, published: Published) -> None:
        self._layout.forget_published(published.uid, published.device)
        self._published.pop((published.uid, published.device.spec_name), None)
        self._at.pop((published.uid, published.device.spec_name), None)

    def _forget_staged(self, device: Device) -> None:
        self._layout.forget_staged(device)

    async def _call(self, registered: Registered, rpc: str, request: Message, operation: str) -> Any:
        began, status = self._clock.monotonic(), "success"
        try:
            return await registered.driver.node(rpc, request)
        except DriverFailure:
            status = "fail-unknown"
            raise
        finally:
            plugin = f"kubernetes.io/csi:{registered.name}"
            OPERATIONS.observe(self._clock.monotonic() - began, plugin, operation, status)

    async def _secrets(self, reference: Object | None, pod: Object) -> Mapping[str, str]:
        if not reference:
            return {}
        namespace = reference.get("namespace") or pod["metadata"].get("namespace", "")
        return await self._source.secret(namespace, reference["name"])

    async def _tokens(self, pod: Object, policy: Policy) -> dict[str, Object]:
        return {one.get("audience", ""): await self._source.token(pod, one) for one in policy.audiences}


def _shown(spec: Spec, failure: DriverFailure) -> str:
    return f'"{spec.spec_name}" : rpc error: code = {_camel(failure.code)} desc = {failure.message}'


def _camel(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("_"))
