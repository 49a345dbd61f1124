"""EBS volumes and snapshots, as the EBS CSI driver tags and names them."""

import asyncio
import contextlib
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pynetes.cloud.calls import BALANCERS as STORAGE
from pynetes.cloud.provider import Absent, CloudError, Refused, Snapshot, Volume, fingerprint
from pynetes.cloud.providers.aws.sdk import Sdk, filters, tag_list, tags

#: Names by which volumes and snapshots are found again: those of the EBS CSI driver.
VOLUME_NAME, SNAPSHOT_NAME = "CSIVolumeName", "CSIVolumeSnapshotName"
GIB = 1 << 30
KIND = "gp3"
STEP, PATIENCE = 1.0, 120.0
#: Device names that EC2 recommends for EBS volumes on Linux, two letters so that none meets an instance store's.
DEVICES = tuple(f"/dev/xvd{first}{second}" for first in "abcd" for second in string.ascii_lowercase)


class Volumes:
    """Those of one cluster."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        #: Held while a device name is chosen and taken: two volumes must not be given the same.
        self._naming = asyncio.Lock()

    async def list(self) -> Sequence[Volume]:
        wanted = {"Name": f"tag:{self._sdk.cluster_tag}", "Values": ["owned"]}
        found = await self._sdk.pages("ec2", "describe_volumes", "Volumes", path=STORAGE, Filters=[wanted])
        return [_volume(each) for each in found]

    async def get(self, volume: str) -> Volume:
        return _volume(await self._described(volume))

    async def create(
        self, name: str, *, size: int, zone: str, snapshot: str = "", kind: str = "", tags: Mapping[str, str]
    ) -> Volume:
        gigabytes = -(-size // GIB)
        found = next((each for each in await self.list() if each.name == name), None)
        if found is None:
            given: dict[str, Any] = {
                "AvailabilityZone": zone,
                "Size": gigabytes,
                "VolumeType": kind or KIND,
                # A repeated request whose first answer was lost gets the same volume.
                "ClientToken": fingerprint(self._sdk.config.cluster, name, gigabytes, zone, snapshot),
                "TagSpecifications": [self._tagged("volume", VOLUME_NAME, name, tags)],
            }
            given |= {"SnapshotId": snapshot} if snapshot else {}
            made = await self._change("create_volume", **given)
            found = await self._until(made["VolumeId"], lambda volume: volume["State"] in ("available", "in-use"))
        if found.size != gigabytes * GIB:
            raise Refused(f"the volume {name!r} exists with {found.size} bytes")
        return found

    async def delete(self, volume: str) -> None:
        with contextlib.suppress(Absent):
            found = await self._own(volume)
            if found.attached:
                raise Refused(f"VolumeInUse: {volume} is attached to {', '.join(found.attached)}")
            await self._change("delete_volume", VolumeId=volume)

    async def attach(self, volume: str, instance: str) -> str:
        found = await self._own(volume)
        if instance not in found.attached:
            if found.attached:
                raise Refused(f"VolumeInUse: {volume} is attached to {', '.join(found.attached)}")
            async with self._naming:
                device = await self._free_device(instance)
                await self._change("attach_volume", VolumeId=volume, InstanceId=instance, Device=device)
            found = await self._until(volume, lambda each: _attachment(each, instance) == "attached")
        return found.attached[instance]

    async def detach(self, volume: str, instance: str) -> None:
        with contextlib.suppress(Absent):
            if instance in (await self._own(volume)).attached:
                await self._change("detach_volume", VolumeId=volume, InstanceId=instance)
                await self._until(volume, lambda each: _attachment(each, instance) == "")

    async def expand(self, volume: str, size: int) -> int:
        found, gigabytes = await self._own(volume), -(-size // GIB)
        if found.size < gigabytes * GIB:
            await self._change("modify_volume", VolumeId=volume, Size=gigabytes)
            found = await self._until(volume, lambda each: each["Size"] >= gigabytes)
        return found.size

    async def snapshots(self) -> Sequence[Snapshot]:
        wanted = {"Name": f"tag:{self._sdk.cluster_tag}", "Values": ["owned"]}
        found = await self._sdk.pages(
            "ec2", "describe_snapshots", "Snapshots", path=STORAGE, OwnerIds=["self"], Filters=[wanted]
        )
        return [_snapshot(each) for each in found]

    async def snapshot(self, name: str, volume: str) -> Snapshot:
        found = next((each for each in await self.snapshots() if each.name == name), None)
        if found is None:
            await self._own(volume)
            tagged = self._tagged("snapshot", SNAPSHOT_NAME, name, {})
            found = _snapshot(await self._change("create_snapshot", VolumeId=volume, TagSpecifications=[tagged]))
        if found.volume != volume:
            raise Refused(f"the snapshot {name!r} is of {found.volume}")
        return found

    async def delete_snapshot(self, snapshot: str) -> None:
        if any(each.id == snapshot for each in await self.snapshots()):
            with contextlib.suppress(Absent):
                await self._change("delete_snapshot", SnapshotId=snapshot)

    async def _change(self, operation: str, **given: Any) -> Any:
        return await self._sdk.call("ec2", operation, path=STORAGE, write=True, **given)

    async def _described(self, volume: str) -> dict[str, Any]:
        found = await self._sdk.call("ec2", "describe_volumes", path=STORAGE, VolumeIds=[volume])
        if not found["Volumes"]:
            raise Absent(f"EC2 has no volume {volume}")
        document: dict[str, Any] = found["Volumes"][0]
        return document

    async def _own(self, volume: str) -> Volume:
        found = _volume(await self._described(volume))
        if not self._sdk.is_ours(found.tags):
            raise Refused(f"the volume {volume} carries no tag of this cluster")
        return found

    async def _until(self, volume: str, holds: Callable[[dict[str, Any]], bool]) -> Volume:
        """The volume once it is so; just made, it may be unknown for a while. Raises CloudError when it never is."""
        waited, state = 0.0, "unknown"
        while waited <= PATIENCE:
            with contextlib.suppress(Absent):
                found = await self._described(volume)
                state = found["State"]
                if holds(found):
                    return _volume(found)
            await self._sdk.clock.sleep(STEP)
            waited += STEP
        raise CloudError(f"the volume {volume} is still {state} after {PATIENCE:.0f} s")

    async def _free_device(self, instance: str) -> str:
        wanted = filters(instance_id=instance)
        found = await self._sdk.call("ec2", "describe_instances", path=STORAGE, Filters=wanted)
        documents = [each for reservation in found["Reservations"] for each in reservation["Instances"]]
        if not documents:
            raise Absent(f"EC2 has no instance {instance}")
        used = {mapping["DeviceName"] for mapping in documents[0].get("BlockDeviceMappings") or ()}
        device = next((each for each in DEVICES if each not in used), "")
        if not device:
            raise Refused(f"{instance} has no device name left for another volume")
        return device

    def _tagged(self, kind: str, key: str, name: str, more: Mapping[str, str]) -> dict[str, Any]:
        given = {**more, key: name, self._sdk.cluster_tag: "owned", "Name": f"{self._sdk.config.cluster}-{name}"}
        return {"ResourceType": kind, "Tags": tag_list(given)}


def _attachment(found: dict[str, Any], instance: str) -> str:
    states = (each["State"] for each in found.get("Attachments") or () if each["InstanceId"] == instance)
    return next((state for state in states if state != "detached"), "")


def _volume(found: dict[str, Any]) -> Volume:
    carried = tags(found.get("Tags"))
    return Volume(
        id=found["VolumeId"],
        name=carried.get(VOLUME_NAME, ""),
        size=found["Size"] * GIB,
        zone=found["AvailabilityZone"],
        state=found["State"],
        attached={
            each["InstanceId"]: each["Device"] for each in found.get("Attachments") or () if each["State"] != "detached"
        },
        tags=carried,
        snapshot=found.get("SnapshotId") or "",
    )


def _snapshot(found: dict[str, Any]) -> Snapshot:
    return Snapshot(
        id=found["SnapshotId"],
        name=tags(found.get("Tags")).get(SNAPSHOT_NAME, ""),
        volume=found["VolumeId"],
        size=found["VolumeSize"] * GIB,
        created=found["StartTime"].timestamp(),
        ready=found["State"] == "completed",
    )
