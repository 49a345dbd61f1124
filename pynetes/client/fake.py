"""An API server for unit tests of components: objects in memory, no validation, no admission, every write recorded.

It is a Transport, so the code under test uses the real Client, informers and manager. What it keeps of the API's
semantics is what controllers rely on: uid, resourceVersion, generation, conflicts, preconditions, finalizers,
status as a subresource, selectors, and watches that can be resumed.

    api = FakeAPI()
    api.put(deployment)
    ... await api.client().create(...)
    assert api.writes == [Write("create", "replicasets.apps", Key("default", "web-1"))]
"""

import asyncio
import bisect
import copy
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import orjson

from pynetes import apis
from pynetes.client.rest import PATCH_TYPES, Client
from pynetes.client.transport import Answer, Call, Stream
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.tracing import Identity
from pynetes.machinery import errors, fields, jsonpath, labels, patch, schema
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource


class Write(NamedTuple):
    """A write that was accepted. verb is create, update, patch or delete; resource is qualified, with /subresource."""

    verb: str
    resource: str
    key: Key


class Change(NamedTuple):
    """An entry of the log that watches read."""

    type: str
    resource: Resource
    object: Object
    old: Object | None
    revision: int


class _Target(NamedTuple):
    resource: Resource
    namespace: str
    name: str
    subresource: str


class FakeAPI:
    """The objects, and the Transport to them. Tests may read `objects` and append to `writes` as they like."""

    def __init__(self, *, clock: Clock | None = None, custom: Sequence[Resource] = ()) -> None:
        """custom: kinds that are not built in, as after the definitions of custom resources."""
        self._custom = tuple(custom)
        self.objects: dict[tuple[Resource, Key], Object] = {}
        self.writes: list[Write] = []
        self.revision = 0
        self._clock = clock or SystemClock()
        self._log: list[Change] = []
        self._oldest = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._failures: list[tuple[str, str, StatusError]] = []
        self._names = 0

    def client(self, *, component: str = "kube-controller-manager") -> Client:
        """A client of this API."""
        return Client(self, component=component, clock=self._clock)

    # What a test arranges and reads.

    def put(self, obj: Object) -> Object:
        """Store an object past the API, unrecorded, replacing one of the same key; watches see it."""
        resource = self._resource_of(obj)
        old = self.objects.get((resource, key_of(obj)))
        return self._store(resource, copy.deepcopy(obj), old)

    def get(self, resource: Resource, key: Key) -> Object | None:
        """The object as stored."""
        return self.objects.get((resource, key))

    def listed(self, resource: Resource, namespace: str = "") -> list[Object]:
        """All objects of a resource, by key."""
        found = sorted((key, obj) for (kind, key), obj in self.objects.items() if kind == resource)
        return [obj for key, obj in found if not namespace or key.namespace == namespace]

    def remove(self, obj: Object) -> None:
        """Remove an object past the API, whatever its finalizers."""
        self._drop(self._resource_of(obj), obj)

    def _resource_of(self, obj: Object) -> Resource:
        wanted = obj["apiVersion"].partition("/")[0], obj["kind"]
        return next((one for one in self._custom if (one.group, one.kind) == wanted), None) or resource_of(obj)

    def fail(self, verb: str, resource: Resource, error: StatusError) -> None:
        """Answer the next such write with error; verb is create, update, patch or delete."""
        self._failures.append((verb, resource.qualified, error))

    def expire(self) -> None:
        """Forget the log: watches that resume before now get 410."""
        self._oldest = self.revision
        self._log.clear()

    # The Transport.

    @property
    def host(self) -> str:
        return "fake"

    @property
    def identity(self) -> Identity:
        return Identity(subject="fake")

    async def close(self) -> None:
        """Nothing is held open."""

    async def request(self, call: Call) -> Answer:
        await asyncio.sleep(0)  # a real request yields as well
        try:
            return Answer(200, {}, orjson.dumps(self._answer(call)))
        except StatusError as error:
            return Answer(error.code, {}, orjson.dumps(error.status))

    @asynccontextmanager
    async def stream(self, call: Call, *, timeout: float) -> AsyncIterator[Stream]:
        target, query = _parsed(call, self._custom)
        yield Stream(200, {}, self._events(target, query))

    async def _events(self, target: _Target, query: dict[str, str]) -> AsyncIterator[bytes]:
        seen = int(query.get("resourceVersion") or self.revision)
        selects = _selector(target, query)
        if seen < self._oldest:
            yield _line("ERROR", errors.expired(f"too old resource version: {seen} ({self._oldest})").status)
            return
        while True:
            new = bisect.bisect_right(self._log, seen, key=lambda change: change.revision)
            for change in [c for c in self._log[new:] if c.resource == target.resource]:
                if kind := _seen_as(change, selects):
                    yield _line(kind, change.object)
            seen = self.revision
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            await waiter

    def _answer(self, call: Call) -> Object:
        target, query = _parsed(call, self._custom)
        body: Any = orjson.loads(call.body) if call.body else None
        if call.method == "GET":
            return self._found(target) if target.name else self._list(target, query)
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[call.method]
        self._maybe_fail(verb, target.resource)
        if call.method == "POST":
            return self._create(target, body)
        if call.method == "PUT":
            return self._update("update", target, lambda _: body, body["metadata"].get("resourceVersion"))
        if call.method == "PATCH":
            kind = call.headers.get("Content-Type", "")
            return self._update("patch", target, lambda obj: patched(target.resource, obj, body, kind), None)
        return self._delete(target, body or {}, query)

    def _maybe_fail(self, verb: str, resource: Resource) -> None:
        for entry in self._failures:
            if entry[:2] == (verb, resource.qualified):
                self._failures.remove(entry)
                raise entry[2]

    def _found(self, target: _Target) -> Object:
        obj = self.objects.get((target.resource, Key(target.namespace, target.name)))
        if obj is None:
            raise errors.not_found(target.resource.plural, target.resource.group, target.name)
        return obj

    def _list(self, target: _Target, query: dict[str, str]) -> Object:
        selects = _selector(target, query)
        items = [obj for obj in self.listed(target.resource, target.namespace) if selects(obj)]
        return {
            "apiVersion": target.resource.api_version,
            "kind": f"{target.resource.kind}List",
            "metadata": {"resourceVersion": str(self.revision)},
            "items": items,
        }

    def _create(self, target: _Target, body: Object) -> Object:
        if target.subresource:
            return self._create_below(target, body)
        metadata = body.setdefault("metadata", {})
        if target.namespace:
            metadata["namespace"] = target.namespace
        if not metadata.get("name") and metadata.get("generateName"):
            self._names += 1
            metadata["name"] = f"{metadata['generateName']}{self._names:05d}"
        key = key_of(body)
        if (target.resource, key) in self.objects:
            raise errors.already_exists(target.resource.plural, target.resource.group, key.name)
        self.writes.append(Write("create", target.resource.qualified, key))
        for name in ("uid", "resourceVersion", "creationTimestamp"):
            metadata.pop(name, None)
        return self._store(target.resource, body, None)

    def _create_below(self, target: _Target, body: Object) -> Object:
        obj = self._found(target)
        self.writes.append(Write("create", f"{target.resource.qualified}/{target.subresource}", key_of(obj)))
        if target.subresource == "binding":
            bound = copy.deepcopy(obj)
            bound["spec"]["nodeName"] = body["target"]["name"]
            self._store(target.resource, bound, obj)
        elif target.subresource == "eviction":
            self._drop(target.resource, obj)
        elif target.subresource == "token":
            expires = self._clock.now() + timedelta(seconds=body["spec"].get("expirationSeconds", 3600))
            return {**body, "status": {"token": f"token-{self.revision}", "expirationTimestamp": _stamp(expires)}}
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _update(self, verb: str, target: _Target, change: Callable[[Object], Object], expected: str | None) -> Object:
        old = self._found(target)
        if expected and expected != old["metadata"]["resourceVersion"]:
            raise errors.conflict(target.resource.plural, target.resource.group, target.name)
        wanted = change(copy.deepcopy(old))
        new = copy.deepcopy(old)
        if target.subresource == "status":
            new["status"] = wanted.get("status", {})
            if "annotations" in wanted["metadata"]:  # most kinds take them with a status
                new["metadata"]["annotations"] = wanted["metadata"]["annotations"]
        else:
            new = {**wanted, "metadata": {**wanted["metadata"]}}
            if "status" in target.resource.subresources:
                new.pop("status", None)
                new |= {"status": old["status"]} if "status" in old else {}
            for name in ("uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp"):
                new["metadata"].pop(name, None)
                new["metadata"] |= {name: old["metadata"][name]} if name in old["metadata"] else {}
        suffix = f"/{target.subresource}" if target.subresource else ""
        self.writes.append(Write(verb, target.resource.qualified + suffix, key_of(old)))
        if new == old:
            return old
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            return self._drop(target.resource, new)
        return self._store(target.resource, new, old)

    def _delete(self, target: _Target, options: Object, query: dict[str, str]) -> Object:
        if not target.name:
            for obj in self._list(target, query)["items"]:
                self._delete_one(target.resource, obj, options)
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        obj = self._found(target)
        wanted = options.get("preconditions") or {}
        if any(obj["metadata"].get(name) != value for name, value in wanted.items()):
            raise errors.conflict(target.resource.plural, target.resource.group, target.name, "precondition failed")
        return self._delete_one(target.resource, obj, options)

    def _delete_one(self, resource: Resource, obj: Object, options: Object) -> Object:
        self.writes.append(Write("delete", resource.qualified, key_of(obj)))
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.get("propagationPolicy", ""))
        metadata = obj["metadata"]
        kept = [*metadata.get("finalizers", ()), *([finalizer] if finalizer else [])]
        if not kept:
            return self._drop(resource, obj)
        if metadata.get("deletionTimestamp"):
            return obj
        marks = {"finalizers": kept, "deletionTimestamp": times.rfc3339(self._clock.now())}
        return self._store(resource, {**obj, "metadata": {**metadata, **marks}}, obj)

    # The store.

    def _store(self, resource: Resource, obj: Object, old: Object | None) -> Object:
        self.revision += 1
        metadata = obj["metadata"]
        before = old["metadata"] if old else {}
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        metadata.setdefault("uid", before.get("uid") or f"uid-{self.revision}")
        metadata.setdefault("creationTimestamp", before.get("creationTimestamp") or _stamp(self._clock.now()))
        if resource.generation:
            moved = old is not None and obj.get("spec") != old.get("spec")
            metadata["generation"] = before.get("generation", metadata.get("generation", 1)) + (1 if moved else 0)
        metadata["resourceVersion"] = str(self.revision)
        self.objects[resource, key_of(obj)] = obj
        self._tell(
            Change("MODIFIED" if old else "ADDED", resource, copy.deepcopy(obj), copy.deepcopy(old), self.revision)
        )
        return obj

    def _drop(self, resource: Resource, obj: Object) -> Object:
        self.revision += 1
        self.objects.pop((resource, key_of(obj)), None)
        last = copy.deepcopy(obj)
        last["metadata"]["resourceVersion"] = str(self.revision)
        self._tell(Change("DELETED", resource, last, last, self.revision))
        return last

    def _tell(self, change: Change) -> None:
        self._log.append(change)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()


def resource_of(obj: Object) -> Resource:
    """The record of an object's kind. Raises LookupError for a kind that is not built in."""
    resource = apis.by_kind(obj["apiVersion"], obj["kind"])
    if resource is None:
        raise LookupError(f"no kind {obj['kind']} in {obj['apiVersion']}")
    return resource


def patched(resource: Resource, obj: Object, change: Any, content_type: str) -> Object:
    """The object after a patch; an apply patch merges here as a strategic one does, for there are no field owners."""
    if content_type == PATCH_TYPES["json"]:
        return patch.json_patch(obj, change)
    if content_type == PATCH_TYPES["merge"]:
        merged: Object = patch.merge_patch(obj, change)
        return merged
    return patch.strategic_merge(obj, change, schema.of(resource).type)


def _parsed(call: Call, custom: Sequence[Resource]) -> tuple[_Target, dict[str, str]]:
    url = urlsplit(call.target)
    parts = url.path.strip("/").split("/")
    group, parts = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    resource = next((one for one in custom if (one.group, one.plural) == (group, parts[0])), None)
    resource = resource or apis.find(group, parts[0])
    if resource is None:
        raise errors.failure(404, "NotFound", "the server could not find the requested resource")
    name, subresource = [*parts, "", ""][1:3]
    return _Target(resource, namespace, name, subresource), dict(parse_qsl(url.query))


def _selector(target: _Target, query: dict[str, str]) -> Callable[[Object], bool]:
    by_label, by_field = labels.parse(query.get("labelSelector", "")), fields.parse(query.get("fieldSelector", ""))

    def selects(obj: Object) -> bool:
        if target.namespace and obj["metadata"].get("namespace") != target.namespace:
            return False
        values = {term.path: str(jsonpath.first(f".{term.path}", obj, "") or "") for term in by_field.terms}
        return by_label.matches(obj["metadata"].get("labels")) and by_field.matches(values)

    return selects


def _seen_as(change: Change, selects: Callable[[Object], bool]) -> str:
    """What a watcher sees: an object that stops matching its selector is DELETED for it. "" is nothing."""
    before = change.old is not None and selects(change.old)
    if change.type == "DELETED":
        return "DELETED" if before else ""
    if not selects(change.object):
        return "DELETED" if before else ""
    return "MODIFIED" if before else "ADDED"


def _line(kind: str, obj: Object) -> bytes:
    return orjson.dumps({"type": kind, "object": obj}, option=orjson.OPT_APPEND_NEWLINE)


def _stamp(moment: datetime) -> str:
    return times.rfc3339(moment.astimezone(UTC))
