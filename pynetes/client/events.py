"""Records Events about objects, in the background, without flooding the API.

The same event again raises the count of the one that is there; many events that differ only in their message become one
"(combined from similar events)"; and a source may write about one object only so often. The numbers are upstream's
(client-go's event correlator).
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pynetes.apis.core import events
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object

#: Events of one reason about one object within WINDOW seconds, after which messages are combined.
COMBINE_AFTER = 10
WINDOW = 600.0
#: Events a source may write about one object at once, and how many it regains per second.
BURST = 25
REFILL = 1 / 300
#: Remembered events, and events waiting to be written; beyond that the oldest are forgotten or the newest dropped.
MEMORY = 4096
BACKLOG = 1000

K = TypeVar("K")
V = TypeVar("V")
_LOG = logging.getLogger(__name__)


class _Subject(NamedTuple):
    source: str
    kind: str
    namespace: str
    name: str
    uid: str


class _About(NamedTuple):
    subject: _Subject
    type: str
    reason: str


@dataclass(slots=True)
class _Series:
    started: float
    messages: set[str]


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float


@dataclass(slots=True)
class _Written:
    event: Object


class Recorder:
    """Writes events; `run` must run for them to leave the process."""

    def __init__(self, client: Client, *, clock: Clock, host: str = "") -> None:
        self._client, self._clock, self._host = client, clock, host
        self._queue: asyncio.Queue[tuple[tuple[_About, str], Object]] = asyncio.Queue(BACKLOG)
        self._written: OrderedDict[tuple[_About, str], _Written] = OrderedDict()
        self._series: OrderedDict[_About, _Series] = OrderedDict()
        self._allowances: OrderedDict[_Subject, _Allowance] = OrderedDict()

    def event(self, obj: Object, kind: str, reason: str, message: str, *, source: str, action: str = "") -> None:
        """Record an event about obj; kind is Normal or Warning. Returns at once, never fails."""
        metadata = obj["metadata"]
        subject = _Subject(
            source, obj.get("kind", ""), metadata.get("namespace") or "", metadata["name"], metadata.get("uid") or ""
        )
        about = _About(subject, kind, reason)
        message = self._combined(about, message)
        if not self._allowed(subject):
            return
        reference = _reference(obj)
        body = self._body(about, reference, message, action)
        try:
            # Containers of one pod say the same things: what it is about counts as well.
            self._queue.put_nowait(((about, f"{reference.get('fieldPath', '')} {message}"), body))
        except asyncio.QueueFull:
            _LOG.debug(logs.fact("event dropped, the backlog is full", object=obj, reason=reason))

    async def run(self) -> None:
        """Write until cancelled. An event that cannot be written is logged and left."""
        while True:
            identity, body = await self._queue.get()
            try:
                await self._write(identity, body)
            except (StatusError, Unreachable) as error:
                _LOG.info(logs.fact("cannot write event", reason=body["reason"], error=error))

    async def _write(self, identity: tuple[_About, str], body: Object) -> None:
        known = self._written.get(identity)
        if known is not None:
            change = {"count": known.event["count"] + 1, "lastTimestamp": body["lastTimestamp"]}
            metadata = known.event["metadata"]
            try:
                key = Key(metadata["namespace"], metadata["name"])
                known.event = await self._client.patch(events.RESOURCE, key, change)
                self._written.move_to_end(identity)
                return
            except StatusError as error:
                if error.reason != "NotFound":
                    raise
        created = await self._client.create(events.RESOURCE, body)
        self._written[identity] = _Written(created)
        _bound(self._written)

    def _combined(self, about: _About, message: str) -> str:
        now = self._clock.monotonic()
        series = self._series.get(about)
        if series is None or now - series.started > WINDOW:
            series = self._series[about] = _Series(now, set())
            _bound(self._series)
        series.messages.add(message)
        return f"(combined from similar events): {message}" if len(series.messages) > COMBINE_AFTER else message

    def _allowed(self, subject: _Subject) -> bool:
        now = self._clock.monotonic()
        allowance = self._allowances.setdefault(subject, _Allowance(BURST, now))
        _bound(self._allowances)
        allowance.left = min(BURST, allowance.left + (now - allowance.at) * REFILL)
        allowance.at = now
        if allowance.left < 1:
            return False
        allowance.left -= 1
        return True

    def _body(self, about: _About, reference: Object, message: str, action: str) -> Object:
        now = self._clock.now()
        subject = about.subject
        stamp = f"{int(now.timestamp() * 1e6) * 1000 + self._queue.qsize():x}"
        body: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{subject.name}.{stamp}", "namespace": subject.namespace or "default"},
            "involvedObject": reference,
            "reason": about.reason,
            "message": message[:1024],
            "type": about.type,
            "count": 1,
            "firstTimestamp": times.rfc3339(now),
            "lastTimestamp": times.rfc3339(now),
            "source": {"component": subject.source, **({"host": self._host} if self._host else {})},
            "reportingComponent": subject.source,
            "reportingInstance": self._host,
        }
        if action:
            body["action"] = action
        return body


def _reference(obj: Object) -> Object:
    metadata = obj["metadata"]
    fields = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
        "fieldPath": obj.get("fieldPath"),
    }
    return {name: value for name, value in fields.items() if value}


def _bound(entries: OrderedDict[K, V]) -> None:
    while len(entries) > MEMORY:
        entries.popitem(last=False)
