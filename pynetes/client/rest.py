"""The typed-by-record client: verbs on a Resource, plain dicts in and out, every failure a StatusError.

    client = Client.from_kubeconfig("/etc/kubernetes/scheduler.conf", component="kube-scheduler")
    pod = await client.get(pods.RESOURCE, Key("default", "web"))
    async with client.watch(pods.RESOURCE, resource_version="12") as events:
        async for event in events: ...

It retries what the server asks to retry (429 and 503 with Retry-After), nothing else: what else to do about a failure
is the caller's to know.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from pynetes import GIT_VERSION
from pynetes.client import kubeconfig
from pynetes.client.interactions import paths_of
from pynetes.client.transport import Answer, Call, NetworkTransport, Stream, Transport, Unreachable
from pynetes.component import spans, tracing
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.errors import REASONS, StatusError, failure
from pynetes.machinery.meta import UID, Key, Object, key_of
from pynetes.machinery.resource import Resource

PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
#: How often a request is sent again because the server said Retry-After.
RETRIES = 10
_REQUESTS = REGISTRY.counter(
    "rest_client_requests_total",
    "Number of HTTP requests, partitioned by status code, method, and host.",
    "code",
    "method",
    "host",
)
_SECONDS = REGISTRY.histogram(
    "rest_client_request_duration_seconds", "Request latency in seconds. Broken down by verb, and host.", "verb", "host"
)
_SENT, _RECEIVED = (
    REGISTRY.histogram(
        f"rest_client_{which}_size_bytes",
        f"{which.capitalize()} size in bytes. Broken down by verb and host.",
        "verb", "host",
        buckets=(64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216),
    )
    for which in ("request", "response")
)  # fmt: skip
#: Answers that are part of the protocol's normal course, and no error of the path they came by.
_ORDINARY = frozenset({"NotFound", "AlreadyExists", "Conflict"})
Query = Mapping[str, str]


class Event(NamedTuple):
    """A watch event: ADDED, MODIFIED, DELETED or BOOKMARK (whose object has metadata.resourceVersion only)."""

    type: str
    object: Object


class Listed(NamedTuple):
    """A list. Items carry apiVersion and kind; continue_token is "" on the last page."""

    items: list[Object]
    resource_version: str
    continue_token: str


class Client:
    """One identity's view of the API."""

    def __init__(self, transport: Transport, *, component: str = "kubectl", clock: Clock | None = None) -> None:
        self.transport = transport
        self.component = component
        self._paths = paths_of(component)
        self._clock = clock or SystemClock()
        self._agent = f"{component}/{GIT_VERSION} (linux) pynetes"

    @classmethod
    def from_kubeconfig(cls, path: str, *, component: str = "kubectl") -> "Client":
        """With the identity in the file at path, or the pod's own when path is "". Raises KubeconfigError."""
        return cls(NetworkTransport(kubeconfig.find(path)), component=component)

    async def close(self) -> None:
        """Drop all connections."""
        await self.transport.close()

    async def get(self, resource: Resource, key: Key, *, subresource: str = "", version: str = "") -> Object:
        """Read one object."""
        return await self._send("GET", resource, key, subresource=subresource, version=version)

    async def find(self, resource: Resource, key: Key) -> Object | None:
        """Read one object, None when it is not there."""
        try:
            return await self.get(resource, key)
        except StatusError as error:
            if error.reason == "NotFound":
                return None
            raise

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> Listed:
        """Read a collection, or a page of it when limit is given."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit or ""),
            "continue": continue_token,
            "resourceVersion": resource_version,
        }
        body = await self._send("GET", resource, None, namespace=namespace, query=query)
        metadata, kind = body.get("metadata") or {}, body.get("kind", "").removesuffix("List")
        items = [{"apiVersion": body.get("apiVersion"), "kind": kind, **item} for item in body.get("items") or ()]
        return Listed(items, metadata.get("resourceVersion", ""), metadata.get("continue") or "")

    async def create(
        self,
        resource: Resource,
        obj: Object,
        *,
        subresource: str = "",
        key: Key | None = None,
        namespace: str = "",
        field_manager: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Create obj in its own (or the given) namespace, or POST it to a subresource of key."""
        namespace = namespace or obj.get("metadata", {}).get("namespace") or ""
        return await self._send(
            "POST", resource, key, subresource=subresource, namespace=namespace, body=obj,
            query={"fieldManager": field_manager, "dryRun": "All" if dry_run else ""},
        )  # fmt: skip

    async def update(
        self, resource: Resource, obj: Object, *, subresource: str = "", field_manager: str = ""
    ) -> Object:
        """Replace an object; its resourceVersion, when there, must be the current one."""
        query = {"fieldManager": field_manager}
        return await self._send("PUT", resource, key_of(obj), subresource=subresource, body=obj, query=query)

    async def patch(
        self,
        resource: Resource,
        key: Key,
        patch: Any,
        *,
        kind: str = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        """kind is merge, json, strategic or apply (which needs field_manager)."""
        return await self._send(
            "PATCH", resource, key, subresource=subresource, body=patch, content_type=PATCH_TYPES[kind],
            query={"fieldManager": field_manager, "force": "true" if force else ""},
        )  # fmt: skip

    async def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: UID | None = None,
        resource_version: str = "",
        propagation: str = "",
        grace: int | None = None,
    ) -> Object:
        """Delete one object if uid and resource_version are its; propagation is Foreground, Background or Orphan."""
        options = _delete_options(uid=uid, resource_version=resource_version, propagation=propagation, grace=grace)
        return await self._send("DELETE", resource, key, body=options)

    async def delete_collection(
        self, resource: Resource, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> None:
        """Delete all that the selectors match."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        await self._send("DELETE", resource, None, namespace=namespace, query=query)

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        name: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int = 0,
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Events after resource_version, with bookmarks. Raises StatusError (410 Expired) and Unreachable.

        Ends when the server ends it; go on from the last resourceVersion then."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": label_selector,
            "fieldSelector": f"metadata.name={name}" if name else field_selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds or ""),
        }
        call = Call(
            method="GET",
            target=resource.path(namespace=namespace) + _encoded(query),
            headers={"Accept": "application/json", "User-Agent": self._agent},
        )
        # The server ends a watch after timeoutSeconds; a connection that died without a word ends a little later.
        async with self.transport.stream(call, timeout=timeout_seconds + 30 if timeout_seconds else 0) as stream:
            if stream.status != 200:
                raise _failed(stream.status, b"".join([chunk async for chunk in stream.chunks]))
            yield self._events(resource, stream)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """Any request, for what is no resource. Raises StatusError for a status of 400 and more."""
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Accept": accept, "User-Agent": self._agent}
        if data is not None:
            headers["Content-Type"] = content_type
        if spans.TRACER.on and (cause := tracing.CAUSE.get()):
            headers["Baggage"] = f"{spans.BAGGAGE}={cause}"
        call = Call(method=method, target=path + _encoded(query or {}), headers=headers, body=data)
        for attempt in range(RETRIES + 1):
            answer = await self._timed(call)
            wait = answer.headers.get("retry-after", "") if answer.status in (429, 503) else ""
            if not wait.isdecimal() or attempt == RETRIES:
                break
            await self._clock.sleep(float(wait))
        if answer.status >= 400:
            raise _failed(answer.status, answer.body)
        return answer

    async def _timed(self, call: Call) -> Answer:
        started = self._clock.monotonic()
        try:
            answer = await self.transport.request(call)
        except Unreachable:
            _REQUESTS.inc("<error>", call.method, self.transport.host)
            raise
        _REQUESTS.inc(str(answer.status), call.method, self.transport.host)
        _SECONDS.observe(self._clock.monotonic() - started, call.method, self.transport.host)
        _SENT.observe(len(call.body or b""), call.method, self.transport.host)
        _RECEIVED.observe(len(answer.body), call.method, self.transport.host)
        return answer

    async def _send(
        self,
        method: str,
        resource: Resource,
        key: Key | None,
        *,
        subresource: str = "",
        namespace: str = "",
        version: str = "",
        query: Query | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        path = resource.path(key, namespace=namespace, subresource=subresource, version=version)
        started, error = self._clock.monotonic(), ""
        result: Object = {}
        try:
            answer = await self.request(method, path, query=query, body=body, content_type=content_type)
            result = orjson.loads(answer.body) if answer.body else {}
            return result
        except (StatusError, Unreachable) as failed:
            reason = getattr(failed, "reason", "") or type(failed).__name__
            error = "" if reason in _ORDINARY else reason
            raise
        finally:
            if self._paths.request:
                self._record(_action(method, key, subresource), resource, key, result or body, started, error)

    def _record(self, action: str, resource: Resource, key: Key | None, obj: Any, started: float, error: str) -> None:
        metadata = obj.get("metadata") or {} if isinstance(obj, dict) else {}
        shown = str(key or "") or (str(key_of(obj)) if metadata.get("name") else "")
        tracing.RECORDER.record(
            tracing.Interaction(
                path=self._paths.request,
                at=tracing.now(),
                source=self.component,
                target="kube-apiserver",
                action=action,
                object=f"{resource.qualified} {shown}".rstrip(),
                seconds=self._clock.monotonic() - started,
                error=error,
                revision=tracing.revision(metadata),
                cause=tracing.CAUSE.get(),
            ),
            self.transport.identity,
        )

    async def _events(self, resource: Resource, stream: Stream) -> AsyncIterator[Event]:
        rest = b""
        async for chunk in stream.chunks:
            *lines, rest = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
            for line in lines:
                if line:
                    yield self._event(resource, orjson.loads(line))

    def _event(self, resource: Resource, event: Object) -> Event:
        kind, obj = event["type"], event["object"]
        if kind == "ERROR":
            raise StatusError(obj)
        if kind != "BOOKMARK" and self._paths.watch:
            tracing.RECORDER.record(
                tracing.Interaction(
                    path=self._paths.watch,
                    at=tracing.now(),
                    source="kube-apiserver",
                    target=self.component,
                    action=f"watch {kind}",
                    object=f"{resource.qualified} {key_of(obj)}",
                    revision=tracing.revision(obj["metadata"]),
                ),
                self.transport.identity,
            )
        return Event(kind, obj)


def _action(method: str, key: Key | None, subresource: str) -> str:
    verb = {"GET": "get" if key else "list", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    return f"{verb[method]} {subresource}".rstrip()


def _encoded(query: Query) -> str:
    kept = {name: value for name, value in query.items() if value}
    return f"?{urlencode(kept)}" if kept else ""


def _delete_options(*, uid: UID | None, resource_version: str, propagation: str, grace: int | None) -> Object:
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
    conditions = {name: value for name, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
    if conditions:
        options["preconditions"] = conditions
    if propagation:
        options["propagationPolicy"] = propagation
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    return options


def _failed(status: int, body: bytes) -> StatusError:
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict) and answer.get("kind") == "Status":
        return StatusError({"code": status, **answer})
    return failure(status, REASONS.get(status, ""), body.decode(errors="replace").strip() or f"HTTP status {status}")
