"""Waits until the attach-detach controller and the driver's attacher have attached a volume to this node.

The node's own watch tells (status.volumesAttached); because a VolumeAttachment may say it first, and a node may only
read one by its name, that is asked for now and then as well.
"""

import asyncio
from collections.abc import Callable, Container, Mapping

from pynetes.apis.storage import volumeattachments
from pynetes.client.rest import Client
from pynetes.component import tasks
from pynetes.component.clock import Clock
from pynetes.kubelet.volumes.spec import Spec, VolumeFailure, attachment_name
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object

#: Seconds between two looks, from the first to the last; and until the pod's other duties get their turn again.
FIRST, LAST = 0.05, 2.0
PATIENCE = 60.0


class Attachments:
    """Of one node. `seen` is called with the node's object whenever it changes."""

    def __init__(self, client: Client, clock: Clock, node: str) -> None:
        self._client, self._clock, self._node = client, clock, node
        self._attached: set[str] = set()
        self._changed = asyncio.Event()

    def seen(self, node: Object) -> None:
        """The node's object has changed."""
        now = {one["name"] for one in (node.get("status") or {}).get("volumesAttached") or ()}
        if now != self._attached:
            self._attached = now
            self._changed.set()
            self._changed = asyncio.Event()

    async def wait(self, spec: Spec) -> Mapping[str, str]:
        """The attachment's metadata, for the driver. Raises VolumeFailure when it takes too long or has failed."""
        name = attachment_name(spec.source["volumeHandle"], spec.source["driver"], self._node)
        deadline, pause = self._clock.monotonic() + PATIENCE, FIRST
        while True:
            found = await self._find(name)
            status = (found or {}).get("status") or {}
            if status.get("attached") and not (found or {})["metadata"].get("deletionTimestamp"):
                return dict(status.get("attachmentMetadata") or {})
            if self._clock.monotonic() >= deadline:
                error = (status.get("attachError") or {}).get("message", "")
                why = error or ("the driver has not attached it yet" if found else "no VolumeAttachment yet")
                text = f'AttachVolume.Attach failed for volume "{spec.spec_name}" : {why} (node {self._node})'
                raise VolumeFailure(text, reason="FailedAttachVolume")
            await tasks.first(self._changed.wait(), self._clock.sleep(pause))
            pause = min(pause * 2, LAST)

    async def _find(self, name: str) -> Object | None:
        try:
            return await self._client.find(volumeattachments.RESOURCE, Key("", name))
        except StatusError as error:
            # The node may read it only once its pod and volume are known to the authorizer.
            if error.reason == "Forbidden":
                return None
            raise VolumeFailure(f"VolumeAttachment {name} cannot be read: {error}") from error


class InUse:
    """What the node says it uses (status.volumesInUse): said before a volume is touched, unsaid after it is let go.

    The controller detaches nothing that stands there."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.wanted: set[str] = set()
        self._told: Container[str] = ()
        self._changed = asyncio.Event()

    def told(self, names: Container[str]) -> None:
        """The node's status has been written with these."""
        self._told = names
        self._changed.set()
        self._changed = asyncio.Event()

    def drop(self, name: str) -> None:
        """A volume is no longer used."""
        if name in self.wanted:
            self.wanted.discard(name)
            self._wake()

    async def tell(self, name: str, *, patience: float = 30.0) -> None:
        """Have the API server know that the volume is in use. Raises VolumeFailure."""
        self.wanted.add(name)
        try:
            async with asyncio.timeout(patience):
                while name not in self._told:
                    self._wake()
                    await self._changed.wait()
        except TimeoutError:
            raise VolumeFailure(f"the node's status could not be written to say that {name} is in use") from None
