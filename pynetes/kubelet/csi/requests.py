"""What drivers are asked: the messages for staging, publishing and growing a volume. Pure.

The fields of CSIDriver decide what a driver hears: podInfoOnMount, tokenRequests, fsGroupPolicy.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pynetes.kubelet.csi.drivers import FINE_MODES, MOUNT_GROUP, Registered
from pynetes.kubelet.volumes.spec import Spec, VolumeFailure
from pynetes.machinery.meta import Object
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import capability

PREFIX = "csi.storage.k8s.io/"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a CSIDriver object says; the defaults are those of a driver that has none."""

    attach: bool = True
    pod_info: bool = False
    fs_group: str = "ReadWriteOnceWithFSType"
    republish: bool = False
    audiences: tuple[Object, ...] = ()
    modes: tuple[str, ...] = ("Persistent",)
    tokens_in_secrets: bool = False


def policy(driver: Object | None) -> Policy:
    """The policy of a CSIDriver."""
    if driver is None:
        return Policy()
    spec = driver.get("spec") or {}
    return Policy(
        attach=spec.get("attachRequired", True),
        pod_info=bool(spec.get("podInfoOnMount")),
        fs_group=spec.get("fsGroupPolicy") or "ReadWriteOnceWithFSType",
        republish=bool(spec.get("requiresRepublish")),
        audiences=tuple(spec.get("tokenRequests") or ()),
        modes=tuple(spec.get("volumeLifecycleModes") or ("Persistent",)),
        tokens_in_secrets=bool(spec.get("serviceAccountTokenInSecrets")),
    )


@dataclass(frozen=True, kw_only=True)
class Given:
    """What was gathered for a volume before the driver is called."""

    publish_context: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, Object] = field(default_factory=dict)


def handle(pod: Object, spec: Spec) -> str:
    """The volume_id; an inline volume's is made from pod and name, as upstream's."""
    if spec.persistent:
        return str(spec.source["volumeHandle"])
    text = f"{spec.name}{pod['metadata'].get('namespace', '')}{pod['metadata']['uid']}"
    return "csi-" + hashlib.sha256(text.encode()).hexdigest()


def of_volume(registered: Registered, spec: Spec, group: int | None = None) -> pb.VolumeCapability:
    """The capability; the fsGroup goes along for drivers that apply it themselves."""
    own = group is not None and MOUNT_GROUP in registered.capabilities
    return capability(
        spec.access_modes or ("ReadWriteOnce",),
        block=spec.block,
        fs_type=spec.source.get("fsType") or "",
        mount_flags=spec.mount_options,
        fine=FINE_MODES in registered.capabilities and spec.persistent,
        mount_group=str(group) if own else "",
    )


def stage(registered: Registered, spec: Spec, path: str, given: Given, group: int | None) -> pb.NodeStageVolumeRequest:
    """NodeStageVolume."""
    return pb.NodeStageVolumeRequest(
        volume_id=spec.source["volumeHandle"],
        publish_context=given.publish_context,
        staging_target_path=path,
        volume_capability=of_volume(registered, spec, group),
        secrets=given.secrets,
        volume_context=spec.source.get("volumeAttributes") or {},
    )


def publish(
    registered: Registered, policy: Policy, pod: Object, spec: Spec, given: Given, *, staging: str, target: str
) -> pb.NodePublishVolumeRequest:
    """NodePublishVolume."""
    context = dict(spec.source.get("volumeAttributes") or {})
    secrets = dict(given.secrets)
    if policy.pod_info:
        context.update(pod_info(pod, spec))
    if given.tokens:
        tokens = json.dumps(given.tokens, separators=(",", ":"), sort_keys=True)
        (secrets if policy.tokens_in_secrets else context)[f"{PREFIX}serviceAccount.tokens"] = tokens
    return pb.NodePublishVolumeRequest(
        volume_id=handle(pod, spec),
        publish_context=given.publish_context,
        staging_target_path=staging,
        target_path=target,
        volume_capability=of_volume(registered, spec, fs_group(pod)),
        readonly=spec.read_only,
        secrets=secrets,
        volume_context=context,
    )


def pod_info(pod: Object, spec: Spec) -> dict[str, str]:
    """What podInfoOnMount adds to the volume's context."""
    metadata = pod["metadata"]
    return {
        f"{PREFIX}pod.name": metadata["name"],
        f"{PREFIX}pod.namespace": metadata.get("namespace", ""),
        f"{PREFIX}pod.uid": metadata["uid"],
        f"{PREFIX}serviceAccount.name": pod["spec"].get("serviceAccountName", ""),
        f"{PREFIX}ephemeral": "false" if spec.persistent else "true",
    }


def fs_group(pod: Object) -> int | None:
    """The pod's fsGroup."""
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if group is None else int(group)


def owned_by_kubelet(registered: Registered, policy: Policy, spec: Spec) -> bool:
    """Whether the kubelet is to give the volume's files to the fsGroup."""
    if spec.block or MOUNT_GROUP in registered.capabilities:
        return False
    if policy.fs_group == "File":
        return True
    if policy.fs_group != "ReadWriteOnceWithFSType" or not spec.source.get("fsType"):
        return False
    return not spec.read_only and ("ReadWriteOnce" in spec.access_modes or "ReadWriteOncePod" in spec.access_modes)


def check_mode(policy: Policy, spec: Spec) -> None:
    """Raises VolumeFailure where the driver does not do this kind of volume."""
    mode = "Persistent" if spec.persistent else "Ephemeral"
    if mode not in policy.modes:
        name = spec.source["driver"]
        only = ", ".join(policy.modes)
        raise VolumeFailure(f'volume mode "{mode}" not supported by driver {name} (only supports: {only})')
