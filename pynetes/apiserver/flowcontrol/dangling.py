"""Keeps the condition Dangling of every FlowSchema: whether the priority level that it names exists.

Part of the API server, as upstream, because it is what reads these objects; people look at the condition when their
schema has no effect.
"""

import asyncio
import logging
from collections.abc import Iterable

from pynetes.apis.flowcontrol import flowschemas, prioritylevelconfigurations
from pynetes.apiserver.stored import Stored
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object, key_of

log = logging.getLogger(__name__)


def condition(schema: Object, *, exists: bool, now: str) -> Object:
    """What the condition says; it keeps its time while it stays what it is."""
    level = schema["spec"]["priorityLevelConfiguration"]["name"]
    start = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    status, reason, rest = (
        ("False", "Found", "and it exists") if exists else ("True", "NotFound", "but there is no such object")
    )
    before = _dangling(schema)
    since = before.get("lastTransitionTime", now) if before and before.get("status") == status else now
    found = {"type": "Dangling", "status": status, "lastTransitionTime": since}
    return {**found, "reason": reason, "message": f"{start} {rest}"}


def _dangling(schema: Object) -> Object | None:
    conditions = (schema.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == "Dangling"), None)


class Dangling:
    """Looks again after every change of a schema or a level."""

    def __init__(self, objects: Stored, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._woken = asyncio.Event()
        objects.keep(flowschemas.RESOURCE, self)
        objects.keep(prioritylevelconfigurations.RESOURCE, self)

    def reset(self, objs: Iterable[Object]) -> None:
        """Everything may have changed."""
        self._woken.set()

    def changed(self, new: Object | None, old: Object | None) -> None:
        """One has."""
        self._woken.set()

    async def follow(self) -> None:
        """Until cancelled; the cache must be filled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            for schema in list(self._objects.list(flowschemas.RESOURCE)):
                await self._settle(schema)

    async def _settle(self, schema: Object) -> None:
        levels = {each["metadata"]["name"] for each in self._objects.list(prioritylevelconfigurations.RESOURCE)}
        exists = schema["spec"]["priorityLevelConfiguration"]["name"] in levels
        now = time.rfc3339(self._clock.now())
        if _dangling(schema) == condition(schema, exists=exists, now=now):
            return

        def mutate(obj: Object) -> Object:
            others = [
                each for each in (obj.get("status") or {}).get("conditions") or () if each.get("type") != "Dangling"
            ]
            obj["status"] = {"conditions": [*others, condition(obj, exists=exists, now=now)]}
            return obj

        try:
            await self._objects.update(flowschemas.RESOURCE, key_of(schema), mutate, respecified=False)
        except StatusError as error:
            if error.code != 404:
                log.warning(logs.fact("cannot write whether a FlowSchema dangles", error=error))
