"""How full volumes are, as their drivers say: asked once a minute, for whoever scrapes the kubelet meanwhile."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.kubelet.csi.drivers import STATS
from pynetes.kubelet.csi.layout import Published
from pynetes.kubelet.csi.volumes import CsiVolumes
from pynetes.kubelet.volumes.spec import VolumeFailure
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import DriverFailure

log = logging.getLogger(__name__)

INTERVAL, TIMEOUT = 60.0, 10.0


class Room(NamedTuple):
    """What is in a volume, under the names of statvfs so that both can stand for each other; abnormal is its health,
    None where the driver says nothing about it, and message what ails it."""

    f_blocks: int = 0
    f_bfree: int = 0
    f_bavail: int = 0
    f_files: int = 0
    f_ffree: int = 0
    f_frsize: int = 1
    abnormal: bool | None = None
    message: str = ""


#: (UID of the pod, name of the volume's folder, what ails it).
Ill = Callable[[str, str, str], None]


class VolumeStats:
    """Of one node; `run` it. ill is told once of each trouble of a volume that a driver reports."""

    def __init__(self, volumes: CsiVolumes, clock: Clock, ill: Ill) -> None:
        self._volumes, self._clock, self._ill = volumes, clock, ill
        #: By pod UID and name of the volume's folder.
        self.known: dict[tuple[str, str], Room] = {}

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        while True:
            await self.once()
            await self._clock.sleep(INTERVAL)

    async def once(self) -> None:
        """Ask for all volumes at the same time: a driver that hangs delays the others by its time limit only."""
        wanted = [one for uid in self._volumes.owners() for one in self._volumes.of_pod(uid)]
        found = await asyncio.gather(*(self._one(one) for one in wanted))
        pairs = zip(wanted, found, strict=True)
        fresh = {(one.uid, one.device.spec_name): room for one, room in pairs if room is not None}
        for (uid, name), room in fresh.items():
            before = self.known.get((uid, name))
            if room.abnormal and (before is None or (before.abnormal, before.message) != (True, room.message)):
                self._ill(uid, name, room.message)
        self.known = fresh

    async def _one(self, one: Published) -> Room | None:
        if not self._volumes.mounted(one.uid, one.device.spec_name):
            return None
        try:
            registered = self._volumes.drivers.get(one.device.driver)
            if STATS not in registered.capabilities:
                return None
            request = self._volumes.stats_request(registered, one)
            return room(await registered.driver.node("NodeGetVolumeStats", request, timeout=TIMEOUT))
        except (DriverFailure, VolumeFailure) as failure:
            log.info(logs.fact("no figures of a volume", volume=one.device.spec_name, error=failure))
            return None


def room(answer: pb.NodeGetVolumeStatsResponse) -> Room:
    """What a driver's answer says; figures that cannot be are not told of. Pure."""
    made = Room()
    if answer.HasField("volume_condition"):
        condition = answer.volume_condition
        made = made._replace(abnormal=condition.abnormal, message=condition.message)
    for usage in answer.usage:
        if not (0 <= usage.used <= usage.total and 0 <= usage.available <= usage.total):
            log.warning(logs.fact("a driver's figures of a volume cannot be", figures=str(usage).replace("\n", " ")))
        elif usage.unit == pb.VolumeUsage.BYTES:
            made = made._replace(f_blocks=usage.total, f_bfree=usage.total - usage.used, f_bavail=usage.available)
        elif usage.unit == pb.VolumeUsage.INODES:
            made = made._replace(f_files=usage.total, f_ffree=usage.available)
    return made
