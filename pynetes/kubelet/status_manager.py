"""Writes pod statuses to the API: only what changed, in order per pod, never in the way of the pod's worker.

A strategic merge patch carries the changed fields, so that conditions set by others stay. The newest status is sent
once the one before it has been answered; those between are skipped.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pynetes.apis.core import pods
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.tasks import Group
from pynetes.kubelet import metrics
from pynetes.kubelet.resize import IN_PROGRESS, PENDING
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object, key_of

log = logging.getLogger(__name__)

#: Conditions that go again when what they tell of is over.
PASSING = (PENDING, IN_PROGRESS)
#: Conditions that are the kubelet's to set.
OWNED = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "DisruptionTarget",
    *PASSING,
)
RETRY = 1.0


class _Entry:
    """The newest status of a pod and what the API server has."""

    __slots__ = ("changed", "idle", "pod", "sending", "sent", "status")

    def __init__(self, pod: Object) -> None:
        self.pod = pod
        self.sent: Object = pod.get("status") or {}
        self.status: Object = self.sent
        self.sending = False
        #: When the oldest change came that the API server does not have yet.
        self.changed: float | None = None
        self.idle = asyncio.Event()
        self.idle.set()


class StatusManager:
    """Statuses by pod UID."""

    def __init__(self, client: Client, clock: Clock, group: Group, on_gone: Callable[[str], None]) -> None:
        self._client, self._clock, self._group, self._on_gone = client, clock, group, on_gone
        self._entries: dict[str, _Entry] = {}

    def current(self, pod: Object) -> Object:
        """The status to go on from: our newest one, with the conditions that others have set since."""
        entry = self._entries.get(pod["metadata"]["uid"])
        seen = pod.get("status") or {}
        if entry is None:
            return seen
        others = [one for one in seen.get("conditions") or () if one["type"] not in OWNED]
        ours = [one for one in entry.status.get("conditions") or () if one["type"] in OWNED]
        return {**seen, **entry.status, "conditions": others + ours}

    def set(self, pod: Object, status: Object) -> None:
        """Have this status written, if it says anything new."""
        uid = pod["metadata"]["uid"]
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod)
        entry.pod, entry.status = pod, status
        if entry.changed is None and difference(entry.sent, status):
            entry.changed = self._clock.monotonic()
        if not entry.sending and difference(entry.sent, status):
            entry.sending = True
            entry.idle.clear()
            self._group.start(self._send(uid, entry))

    async def flushed(self, uid: str) -> None:
        """Wait until the API server has the newest status of a pod."""
        entry = self._entries.get(uid)
        if entry:
            await entry.idle.wait()

    def forget(self, uid: str) -> None:
        """Drop a pod that is gone."""
        self._entries.pop(uid, None)

    async def _send(self, uid: str, entry: _Entry) -> None:
        try:
            while self._entries.get(uid) is entry:
                status, change, began = entry.status, difference(entry.sent, entry.status), entry.changed
                entry.changed = None
                if not change:
                    break
                if not await self._patch(uid, entry.pod, change):
                    break
                entry.sent = status
                if began is not None:
                    metrics.SYNC_SECONDS.observe(self._clock.monotonic() - began)
        finally:
            entry.sending = False
            entry.idle.set()

    async def _patch(self, uid: str, pod: Object, change: Object) -> bool:
        """Whether sending on makes sense; False when the pod is gone."""
        patch = {"metadata": {"uid": uid}, "status": change}
        while uid in self._entries:
            try:
                await self._client.patch(pods.RESOURCE, key_of(pod), patch, kind="strategic", subresource="status")
                return True
            except StatusError as error:
                # Another UID under the name is a conflict: the pod is as gone as when nothing is there.
                if error.reason in ("NotFound", "Conflict"):
                    self._on_gone(uid)
                    return False
                log.warning(logs.fact("pod status not written", object=pod, error=error))
                if error.reason in ("Invalid", "BadRequest"):
                    return False
            except Unreachable as error:
                log.warning(logs.fact("pod status not written", object=pod, error=error))
            await self._clock.sleep(RETRY)
        return False


def difference(old: Object, new: Object) -> Object:
    """The strategic merge patch from one status to another; empty when they say the same."""
    change: dict[str, Any] = {}
    for name, value in new.items():
        if name == "conditions":
            before = {one["type"]: one for one in old.get("conditions") or ()}
            changed = [
                {**dict.fromkeys(before.get(one["type"], {})), **one}
                for one in value
                if one["type"] in OWNED and not _same(one, before.get(one["type"]))
            ]
            now = {one["type"] for one in value}
            changed += [{"$patch": "delete", "type": kind} for kind in PASSING if kind in before and kind not in now]
            if changed:
                change[name] = changed
        elif name in ("podIPs", "hostIPs") and old.get(name) and old[name] != value:
            change[name] = [{"$patch": "replace"}, *value]
        elif not _same(old.get(name), value):
            change[name] = value
    for name in ("reason", "message"):
        if name in old and name not in new:
            change[name] = None
    return change


def _same(one: Any, other: Any) -> bool:
    """Equal, where null and absent are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one.get(name), other.get(name)) for name in {**one, **other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other or (one in (None, {}) and other in (None, {}))
