"""Asks every aggregated API server regularly whether it answers, and writes the Available condition.

The question is its resource list, which discovery shows afterwards; one that stops answering keeps its last list,
marked stale. One slow server does not delay the others.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import orjson

from pynetes.apis.apiregistration import apiservices
from pynetes.apiserver.aggregator.remotes import Absent, GroupVersion, Remotes
from pynetes.apiserver.objects import Objects
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.component.streaming.http1 import DialError, Target, exchange
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object

log = logging.getLogger(__name__)
_UNAVAILABLE = REGISTRY.gauge(
    "aggregator_unavailable_apiservice", "Gauge of APIServices which are marked as unavailable by name.", "name"
)
_REFUSED = REGISTRY.counter(
    "aggregator_unavailable_apiservice_total",
    "Counter of APIServices which are marked as unavailable by name and reason.",
    "name",
    "reason",
)
#: Seconds between rounds: while all answer, and while one does not.
CALM, ANXIOUS = 30.0, 5.0
#: Seconds an answer may take.
ANSWER = 5.0
LARGEST = 16 << 20
#: How we name ourselves, since the question is nobody's request.
OURSELVES = (("X-Remote-User", "system:kube-aggregator"), ("X-Remote-Group", "system:masters"))


class Availability:
    """The state of each remote group version."""

    def __init__(self, remotes: Remotes, objects: Objects, clock: Clock, woken: asyncio.Event) -> None:
        self._remotes, self._objects, self._clock, self._woken = remotes, objects, clock, woken
        self.available: dict[GroupVersion, bool] = {}
        #: What discovery shows: APIResource rows.
        self.resources: dict[GroupVersion, list[Object]] = {}
        #: Moves whenever discovery would show something else.
        self.revision = 0

    async def follow(self) -> None:
        """Check until cancelled: at once after a change, and regularly."""
        self._remotes.follow()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            while True:
                await self._woken.wait()
                self._woken.clear()
                try:
                    await self.check()
                except Exception:
                    # Aggregation is a convenience: its trouble must not take the API server down.
                    log.exception("aggregated API servers could not be checked")

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(CALM if all(self.available.values()) else ANXIOUS)
            if self._remotes.services:
                self._woken.set()

    async def check(self) -> None:
        """One round."""
        services = dict(self._remotes.services)
        for gone in set(self.available) - set(services):
            del self.available[gone]
            self.resources.pop(gone, None)
            _UNAVAILABLE.remove(f"{gone.version}.{gone.group}")
            self.revision += 1
        async with asyncio.TaskGroup() as group:
            for about, service in services.items():
                group.create_task(self._check(about, service))

    async def _check(self, about: GroupVersion, service: Object) -> None:
        try:
            rows = await self._ask(about, self._remotes.target(service))
            verdict = "True", "Passed", "all checks passed"
        except Absent as absent:
            rows, verdict = None, ("False", absent.reason, str(absent))
        except (DialError, TimeoutError, ValueError) as error:
            text = f"failing or missing response from /apis/{about.group}/{about.version}: "
            rows, verdict = None, ("False", "FailedDiscoveryCheck", text + (str(error) or "timed out"))
        available = rows is not None
        name = service["metadata"]["name"]
        _UNAVAILABLE.set(float(not available), name)
        if not available and self.available.get(about) is not False:
            _REFUSED.inc(name, verdict[1])
        if self.available.get(about) is not available or (rows is not None and self.resources.get(about) != rows):
            self.revision += 1
        self.available[about] = available
        if rows is not None:
            self.resources[about] = rows
        await self._write(service, *verdict)

    async def _ask(self, about: GroupVersion, target: Target) -> list[Object]:
        """Its resource list. Raises DialError, TimeoutError, ValueError."""
        path = f"/apis/{about.group}/{about.version}"
        async with asyncio.timeout(ANSWER):
            with await exchange(target, "GET", path, [("Accept", "application/json"), *OURSELVES]) as answer:
                if not 200 <= answer.status < 300:
                    raise ValueError(f"bad status {answer.status}")
                return _rows(orjson.loads(await _whole(answer.body())))

    async def _write(self, service: Object, status: str, reason: str, message: str) -> None:
        name = service["metadata"]["name"]
        wanted = {"type": "Available", "status": status, "reason": reason, "message": message}
        now = time.rfc3339(self._clock.now())

        def mutate(obj: Object) -> Object:
            conditions = (obj.get("status") or {}).get("conditions") or []
            before = next((each for each in conditions if each.get("type") == "Available"), None)
            since = before.get("lastTransitionTime", now) if before and before.get("status") == status else now
            others = [each for each in conditions if each.get("type") != "Available"]
            obj["status"] = {"conditions": [*others, {**wanted, "lastTransitionTime": since}]}
            return obj

        conditions = (service.get("status") or {}).get("conditions") or []
        if any(wanted.items() <= each.items() for each in conditions):
            return
        try:
            await self._objects.update(apiservices.RESOURCE, Key("", name), mutate, respecified=False)
        except StatusError as error:
            if error.code != 404:
                log.warning(logs.fact("cannot write whether an API is available", apiservice=name, error=error))


def _rows(document: Any) -> list[Object]:
    """The rows of an APIResourceList. Raises ValueError for anything else."""
    rows = document.get("resources") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ValueError("the answer is no APIResourceList")
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]


async def _whole(chunks: Any) -> bytes:
    found = bytearray()
    async for chunk in chunks:
        found += chunk
        if len(found) > LARGEST:
            raise ValueError("the answer is too large")
    return bytes(found)


def sorted_versions(about: Iterable[GroupVersion], services: dict[GroupVersion, Object]) -> list[GroupVersion]:
    """As discovery lists them: by what the APIServices say, highest first."""
    return sorted(about, key=lambda each: (-services[each]["spec"].get("versionPriority", 0), each.version))
