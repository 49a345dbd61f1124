"""Serves what CustomResourceDefinitions define: follows them, registers records, sets conditions, cleans up.

A definition that is being deleted is served until its objects are gone; then its finalizer goes and it with it.
"""

import asyncio
import copy
import logging

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.apiregistration import apiservices
from pynetes.apiserver.api import Api
from pynetes.apiserver.bootstrap.objects import api_service
from pynetes.apiserver.crd import compiled
from pynetes.apiserver.crd.conversion import converter
from pynetes.apiserver.endpoints.delete import CLEANUP
from pynetes.apiserver.stored import Stored, ensure
from pynetes.component import logs
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource

log = logging.getLogger(__name__)
CRDS = customresourcedefinitions.RESOURCE
#: Seconds after which is looked again whether the last object of a definition that goes has gone.
EMPTIED = 1.0


class Definitions:
    """Keeps Api.served in step with the definitions."""

    def __init__(self, api: Api, stored: Stored) -> None:
        self._api = api
        self._stored = stored
        #: Names of definitions → what was registered for them.
        self._served: dict[str, Resource] = {}
        #: Set while a definition waits for the last of its objects.
        self._waiting = asyncio.Event()
        #: Names of definitions → the names they were given last, which the cache may not have seen yet.
        self._names: dict[str, Object] = {}
        #: Whether all that was there at the start is served.
        self.loaded = False

    async def load(self) -> None:
        """Serve what is there; returns when all of it can be read."""
        cache = self._api.cache(CRDS)
        self._watch = cache.watch(cache.revision)
        for entry in cache.entries():
            await self._handle(entry.copy(), gone=False)
        self.loaded = True

    async def follow(self) -> None:
        """Handle changes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._changes())
            group.create_task(self._recheck())

    async def _recheck(self) -> None:
        """Definitions that go wait for objects that others let go, of which no change of the definition tells."""
        while True:
            await self._waiting.wait()
            await self._api.clock.sleep(EMPTIED)
            self._waiting.clear()
            for definition in [each for each in self._stored.list(CRDS) if each["metadata"].get("deletionTimestamp")]:
                await self._handle(copy.deepcopy(definition), gone=False)

    async def _changes(self) -> None:
        while True:
            with self._watch:
                async for event in self._watch:
                    await self._handle(event.entry.copy(), gone=event.type == "DELETED")
            # The cache lost its place and lists again: so do we.
            await self._api.cacher.ready()
            await self.load()

    async def _handle(self, definition: Object, *, gone: bool) -> None:
        name = definition["metadata"]["name"]
        try:
            if gone:
                await self._remove(name)
                await self._reconsider(definition["spec"]["group"])
            elif definition["metadata"].get("deletionTimestamp"):
                await self._clean_up(definition)
            else:
                await self._serve(definition)
        except StatusError as error:
            # A definition that has gone meanwhile says so in an event of its own.
            if error.code != 404:
                log.warning(logs.fact("a definition could not be handled", definition=name, error=error))
        except Exception:
            # One definition that nobody can serve must not take the API server down with it.
            log.exception(logs.fact("a definition could not be handled", definition=name))

    async def _serve(self, definition: Object) -> None:
        name = definition["metadata"]["name"]
        group = definition["spec"]["group"]
        now = time.rfc3339(self._api.clock.now())
        before = self._names.get(name, (definition.get("status") or {}).get("acceptedNames"))
        definition.setdefault("status", {})["acceptedNames"] = before
        others = [names for of, names in self._accepted(group).items() if of != name]
        names, found = compiled.accept(definition, [*others, before or {}], now)
        self._names[name] = names
        definition["status"]["acceptedNames"] = names
        resource: Resource | None = None
        if any(each["status"] == "True" for each in found):
            resource = compiled.record(definition, *converter(definition, self._api.conversions))
            await self._cached(name, resource)
            for version in resource.versions:
                local = api_service(resource.group, version, now, automanaged="true")
                await ensure(self._stored, apiservices.RESOURCE, local)
        told = [*compiled.approval(definition, now), *found]
        await self._stored.update(CRDS, Key("", name), lambda obj: compiled.with_conditions(obj, told, names))
        if resource is not None:
            # At once after it, and not before: who can use the resource finds its definition established.
            self._api.served.add(resource)
            self._served[name] = resource
        if names != before:
            await self._reconsider(group)

    async def _cached(self, name: str, resource: Resource) -> None:
        """Have the cache of its objects, with the fields that can be selected by now."""
        known = self._served.get(name)
        if known is not None and known.fields != resource.fields:
            self._api.served.remove(known.group, known.plural)
            self._api.cacher.remove(known)
        await self._api.cacher.add(resource)

    def _accepted(self, group: str) -> dict[str, Object]:
        """Names of the group's definitions → the names that they have."""
        found = {}
        for definition in self._stored.list(CRDS):
            if definition["spec"]["group"] == group:
                name = definition["metadata"]["name"]
                status = definition.get("status") or {}
                found[name] = self._names.get(name, status.get("acceptedNames")) or {}
        return found

    async def _reconsider(self, group: str) -> None:
        """Names have come free or were taken: those who did not get what they wanted may get it now."""
        for name, names in self._accepted(group).items():
            definition = self._stored.get(CRDS, Key("", name))
            waits = definition is not None and not definition["metadata"].get("deletionTimestamp")
            if waits and definition is not None and definition["spec"]["names"] != names and name in self._names:
                await self._handle(copy.deepcopy(definition), gone=False)

    async def _clean_up(self, definition: Object) -> None:
        """Delete the objects; when none is left, let the definition go."""
        name = definition["metadata"]["name"]
        resource = self._served.get(name)
        reason = "InstanceDeletionCompleted" if resource is not None else "NeverEstablished"
        if resource is not None:
            await self._empty(definition, resource)
            if list(self._stored.list(resource)):
                self._waiting.set()
                return
        now = time.rfc3339(self._api.clock.now())

        def mutate(obj: Object) -> Object:
            compiled.with_conditions(obj, [compiled.terminating(reason, now)])
            kept = [each for each in obj["metadata"].get("finalizers") or () if each != CLEANUP]
            obj["metadata"]["finalizers"] = kept
            if not kept:
                del obj["metadata"]["finalizers"]
                obj["metadata"].pop("deletionGracePeriodSeconds", None)
            return obj

        await self._stored.update(CRDS, Key("", name), mutate)

    async def _empty(self, definition: Object, resource: Resource) -> None:
        """Say that the definition is going, let nobody create any more, and delete what is there."""
        name = definition["metadata"]["name"]
        if not resource.terminating:
            going = compiled.terminating("InstanceDeletionInProgress", time.rfc3339(self._api.clock.now()))
            await self._stored.update(CRDS, Key("", name), lambda obj: compiled.with_conditions(obj, [going]))
            definition = compiled.with_conditions(definition, [going], self._names.get(name))
            resource = compiled.record(definition, *converter(definition, self._api.conversions))
            self._api.served.add(resource)
            self._served[name] = resource
        await self._api.cacher.fresh()
        for obj in list(self._stored.list(resource)):
            await self._delete(resource, key_of(obj))
        await self._api.cacher.fresh()

    async def _delete(self, resource: Resource, key: Key) -> None:
        try:
            await self._stored.delete(resource, key)
        except StatusError as error:
            if error.code != 404:
                raise

    async def _remove(self, name: str) -> None:
        resource = self._served.pop(name, None)
        self._names.pop(name, None)
        if resource is None:
            return
        self._api.served.remove(resource.group, resource.plural)
        self._api.cacher.remove(resource)
        remaining = self._api.served.group_versions().get(resource.group, [])
        for version in resource.versions:
            if version not in remaining:
                await self._delete(apiservices.RESOURCE, Key("", f"{version}.{resource.group}"))
