"""Runs controllers over the fake API until they rest, with a kubelet that does what the test says at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from pynetes import controllers
from pynetes.apis.core import events, pods
from pynetes.client.controller import Controller
from pynetes.client.fake import FakeAPI
from pynetes.client.manager import Manager
from pynetes.component.tasks import Group
from pynetes.controllers import Config
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Time stands still until the test moves it; sleepers then wake in order."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds
        due = [each for each in self._sleepers if each[0] <= self._elapsed]
        self._sleepers = [each for each in self._sleepers if each[0] > self._elapsed]
        for _, future in sorted(due, key=lambda each: each[0]):
            if not future.done():
                future.set_result(None)


class World:
    """The fake API, the controllers, and the time."""

    def __init__(self, wanted: Sequence[Controller], *, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.api = FakeAPI(clock=self.clock)
        self.manager = Manager(self.api.client(), wanted, clock=self.clock)
        #: Called with each pod after every round; its return value, if any, becomes the pod's status.
        self.kubelet: Callable[[Object], Object | None] = lambda pod: None

    async def settle(self) -> None:
        """Until no controller and no kubelet has anything to do."""
        quiet = 0
        for _ in range(20000):
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.manager.idle else 0
            if quiet > 20:
                if not self._play():
                    return
                quiet = 0
        raise AssertionError("the controllers never rest")

    def _play(self) -> bool:
        """One round of the kubelet; whether it changed anything."""
        changed = False
        for pod in self.api.listed(pods.RESOURCE):
            status = self.kubelet(pod)
            if status is not None and status != pod.get("status"):
                self.api.put(pod | {"status": status})
                changed = True
        return changed

    async def advance(self, seconds: float) -> None:
        """Let time pass, then settle."""
        self.clock.advance(seconds)
        await self.settle()

    def get(self, resource: Resource, name: str, namespace: str = "default") -> Object:
        """An object that must be there."""
        found = self.api.get(resource, Key(namespace if resource.namespaced else "", name))
        assert found is not None, f"no {resource.qualified} {name}"
        return found

    def pods(self, **labels: str) -> list[Object]:
        """The pods with these labels, by name."""
        return [
            pod
            for pod in self.api.listed(pods.RESOURCE)
            if labels.items() <= (pod["metadata"].get("labels") or {}).items()
        ]

    def edit(self, resource: Resource, name: str, change: Callable[[Any], None], namespace: str = "default") -> None:
        """Change an object's spec or metadata as a user would."""
        obj = deepcopy(self.get(resource, name, namespace))
        change(obj)
        self.api.put(obj)

    def writes(self) -> list[str]:
        """What was written since the last call, events apart, as "verb resource key"."""
        made = [f"{w.verb} {w.resource} {w.key}" for w in self.api.writes if not w.resource.startswith("events")]
        self.api.writes.clear()
        return made

    async def events(self, about: Object) -> list[str]:
        """Reason and message of the Events about an object."""
        for _ in range(200):
            await asyncio.sleep(0)
        found = [event for event in self.api.listed(events.RESOURCE) if _regards(event, about)]
        return [f"{event['reason']} {event.get('message') or event.get('note')}" for event in found]


def _regards(event: Object, about: Object) -> bool:
    return (event.get("involvedObject") or event.get("regarding") or {}).get("uid") == about["metadata"]["uid"]


@asynccontextmanager
async def running(*names: str, config: Config | None = None, world: World | None = None) -> AsyncIterator[World]:
    """A world in which these controllers (all if none is named) run."""
    chosen = [each for each in controllers.load(config) if not names or each.name.removesuffix("-controller") in names]
    made = world or World(chosen)
    async with Group() as group:
        group.start(made.manager.run())
        await made.settle()
        yield made
        group.cancel()


def ready(clock: Clock) -> Callable[[Object], Object | None]:
    """A kubelet on which every pod runs and is ready at once."""

    def play(pod: Object) -> Object | None:
        if "deletionTimestamp" in pod["metadata"] or (pod.get("status") or {}).get("phase"):
            return None
        now = time.rfc3339(clock.now())
        return {
            "phase": "Running",
            "startTime": now,
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        }

    return play


def template(**labels: str) -> Object:
    """A pod template."""
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}}
