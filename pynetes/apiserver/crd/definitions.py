"""Serves what CustomResourceDefinitions define: follows them, registers records, sets conditions, cleans up.

A definition that is being deleted is served until its objects are gone; then its finalizer goes and it with it.
"""

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


class Definitions:
    """Keeps Api.served in step with the definitions."""

    def __init__(self, api: Api, stored: Stored) -> None:
        self._api = api
        self._stored = stored
        #: Names of definitions → what was registered for them.
        self._served: dict[str, Resource] = {}
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
        now = time.rfc3339(self._api.clock.now())

        def taken(what: str, wanted: str) -> str:
            return self._taken(definition, what, wanted)

        found, names = compiled.conditions(definition, taken, now), compiled.accepted_names(definition, taken)
        resource: Resource | None = None
        if found[0]["status"] == "True":
            resource = compiled.record(definition, *converter(definition, self._api.conversions))
            await self._api.cacher.add(resource)
            for version in resource.versions:
                local = api_service(resource.group, version, now, automanaged="true")
                await ensure(self._stored, apiservices.RESOURCE, local)
        told = [*compiled.approval(definition, now), *found]
        await self._stored.update(CRDS, Key("", name), lambda obj: compiled.with_conditions(obj, told, names))
        if resource is not None:
            # At once after it, and not before: who can use the resource finds its definition established.
            self._api.served.add(resource)
            self._served[name] = resource

    def _taken(self, definition: Object, what: str, wanted: str) -> str:
        """Who else in the group has this name."""
        group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
        for other in self._api.served:
            if other.group != group or other.plural == plural:
                continue
            names = {other.plural, other.singular or other.kind.lower(), *other.short_names}
            kinds = {other.kind, other.list_kind or f"{other.kind}List"}
            if wanted in (kinds if what in ("kind", "listKind") else names):
                return other.plural
        return ""

    async def _clean_up(self, definition: Object) -> None:
        """Delete the objects; when none is left, let the definition go."""
        name = definition["metadata"]["name"]
        resource = self._served.get(name)
        if resource is not None:
            await self._api.cacher.fresh()
            for obj in list(self._stored.list(resource)):
                await self._delete(resource, key_of(obj))
            await self._api.cacher.fresh()
            if list(self._stored.list(resource)):
                return

        def mutate(obj: Object) -> Object:
            kept = [each for each in obj["metadata"].get("finalizers") or () if each != CLEANUP]
            obj["metadata"]["finalizers"] = kept
            if not kept:
                del obj["metadata"]["finalizers"]
                obj["metadata"].pop("deletionGracePeriodSeconds", None)
            return obj

        await self._stored.update(CRDS, Key("", name), mutate)

    async def _delete(self, resource: Resource, key: Key) -> None:
        try:
            await self._stored.delete(resource, key)
        except StatusError as error:
            if error.code != 404:
                raise

    async def _remove(self, name: str) -> None:
        resource = self._served.pop(name, None)
        if resource is None:
            return
        self._api.served.remove(resource.group, resource.plural)
        self._api.cacher.remove(resource)
        remaining = self._api.served.group_versions().get(resource.group, [])
        for version in resource.versions:
            if version not in remaining:
                await self._delete(apiservices.RESOURCE, Key("", f"{version}.{resource.group}"))
