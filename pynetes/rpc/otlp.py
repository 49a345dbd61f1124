"""Exports spans over OTLP: gRPC to HOST:PORT as upstream's components do, or HTTP to http://HOST:PORT.

The protocol's messages and gRPC are loaded only when an endpoint is configured.
"""

import asyncio
import logging
import os
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

import pynetes
from pynetes.component import logs, spans, tasks
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.metrics import REGISTRY
from pynetes.component.spans import Config, Context, Span
from pynetes.component.tracing import RECORDER, Interaction, Recorder

_LOG = logging.getLogger(__name__)
#: Seconds between exports, seconds that one may take, spans in one.
EVERY, PATIENCE, AT_ONCE = 1.0, 10.0, 512
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_EXPORTED = REGISTRY.counter("pynetes_spans_exported_total", "Spans that the collector accepted.")
_DROPPED = REGISTRY.counter("pynetes_spans_dropped_total", "Spans dropped, as the collector did not answer.")
#: The spans of these revisions.
Resolve = Callable[[Sequence[int]], Awaitable[Mapping[int, Context]]]
Send = Callable[[bytes], Awaitable[None]]


class NotSent(Exception):
    """The collector is not there or refused."""


@asynccontextmanager
async def exporting(
    config: Config, component: str, *, paths_socket: str = "", recorder: Recorder = RECORDER, clock: Clock | None = None
) -> AsyncIterator[None]:
    """Export while the block runs: the API server what it served, the others what revisions made them do."""
    if not config.endpoint:
        yield
        return
    clock = clock or SystemClock()
    acted: deque[Interaction] = deque(maxlen=spans.WAITING)
    resolve = _local if component == "kube-apiserver" else _through(Path(paths_socket).with_name("apiserver.sock"))
    spans.TRACER.config = config

    def seen(interaction: Interaction) -> None:
        # What is asked of the API server it has seen itself.
        if interaction.cause and interaction.target != "kube-apiserver":
            acted.append(interaction)

    async with AsyncExitStack() as stack:
        send = await stack.enter_async_context(_sender(config.endpoint))
        group = await stack.enter_async_context(tasks.Group())
        stack.enter_context(recorder.listening(seen))
        exporter = _Exporter(component, send, resolve, acted)
        task = group.start(exporter.run(clock), name="spans")
        try:
            yield
        finally:
            task.cancel()
            await exporter.flush()
            spans.TRACER.config = Config()


class _Exporter:
    def __init__(self, component: str, send: Send, resolve: Resolve, acted: "deque[Interaction]") -> None:
        self._component, self._send, self._resolve, self._acted = component, send, resolve, acted
        self._failing = False

    async def run(self, clock: Clock) -> None:
        while True:
            await clock.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Send what there is; what a collector that does not answer misses is gone."""
        ready = [spans.TRACER.finished.popleft() for _ in range(len(spans.TRACER.finished))]
        acted = [self._acted.popleft() for _ in range(len(self._acted))]
        if acted:
            known = await self._resolve(sorted({each.cause for each in acted}))
            ready += [_span(each, known[each.cause]) for each in acted if each.cause in known]
        for at in range(0, len(ready), AT_ONCE):
            await self._export(ready[at : at + AT_ONCE])

    async def _export(self, batch: Sequence[Span]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._send(encode(self._component, batch))
        except (NotSent, TimeoutError) as error:
            _DROPPED.inc(by=len(batch))
            if not self._failing:
                _LOG.warning(logs.fact("the collector of traces does not answer", error=error or "timed out"))
            self._failing = True
            return
        self._failing = False
        _EXPORTED.inc(by=len(batch))


def _span(done: Interaction, parent: Context) -> Span:
    """What a component did because of a revision, below the span of the write that made the revision."""
    attributes: dict[str, str | int] = {"pynetes.cause": done.cause, "pynetes.target": done.target}
    if done.object:
        attributes["pynetes.object"] = done.object
    if done.path:
        attributes["pynetes.path"] = done.path
    kind = spans.INTERNAL if done.source == done.target else spans.CLIENT
    context = Context(parent.trace, secrets.token_hex(8))
    return Span(context, parent.span, done.action, kind, done.at - done.seconds, done.at, attributes, done.error)


async def _local(revisions: Sequence[int]) -> Mapping[int, Context]:
    return spans.TRACER.contexts(revisions)


def _through(socket: Path) -> Resolve:
    async def ask(revisions: Sequence[int]) -> Mapping[int, Context]:
        url = f"http://paths/contexts?revisions={','.join(map(str, revisions))}"
        try:
            async with (
                asyncio.timeout(PATIENCE),
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
                session.get(url) as answer,
            ):
                found = await answer.json()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return {}
        return {int(revision): Context(*context) for revision, context in found.items()}

    return ask


def encode(component: str, batch: Iterable[Span]) -> bytes:
    """An ExportTraceServiceRequest with one resource, the component."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    request = trace_service_pb2.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    named = {"service.name": component, "service.version": pynetes.__version__, "process.pid": os.getpid()}
    _set(resource.resource.attributes, named)
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "pynetes", pynetes.__version__
    for span in batch:
        added = scope.spans.add(
            trace_id=bytes.fromhex(span.context.trace),
            span_id=bytes.fromhex(span.context.span),
            parent_span_id=bytes.fromhex(span.parent),
            name=span.name,
            kind=span.kind,
            start_time_unix_nano=round(span.began * 1e9),
            end_time_unix_nano=round(span.ended * 1e9),
        )
        _set(added.attributes, span.attributes)
        if span.error:
            added.status.code, added.status.message = 2, span.error
    encoded: bytes = request.SerializeToString()
    return encoded


def _set(attributes: Any, values: Mapping[str, str | int]) -> None:
    for name, value in values.items():
        added = attributes.add(key=name)
        if isinstance(value, int):
            added.value.int_value = value
        else:
            added.value.string_value = value


@asynccontextmanager
async def _sender(endpoint: str) -> AsyncIterator[Send]:
    if endpoint.startswith(("http://", "https://")):
        url = endpoint if endpoint.count("/") > 2 else f"{endpoint}/v1/traces"
        async with aiohttp.ClientSession(headers={"Content-Type": "application/x-protobuf"}) as session:

            async def post(body: bytes) -> None:
                try:
                    async with session.post(url, data=body) as answer:
                        if answer.status >= 400:
                            raise NotSent(f"{url} answered {answer.status}")
                except aiohttp.ClientError as error:
                    raise NotSent(str(error)) from None

            yield post
        return
    import grpc.aio

    async with grpc.aio.insecure_channel(endpoint) as channel:
        call = channel.unary_unary(METHOD)

        async def export(body: bytes) -> None:
            try:
                await call(body, timeout=PATIENCE)
            except grpc.aio.AioRpcError as error:
                raise NotSent(f"{endpoint}: {error.details()}") from None

        yield export
