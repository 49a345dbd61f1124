"""Traces reach a real receiver, over gRPC and over HTTP, and hang together from the client's write on."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from concurrent import futures
from typing import Any

import grpc
import orjson
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from pynetes.apis.apps import deployments
from pynetes.client.transport import Call
from pynetes.component import spans
from pynetes.component.serving import serve
from pynetes.component.spans import Config
from pynetes.machinery.meta import Key
from pynetes.rpc import otlp
from pynetes.testing.cluster import Cluster

DEPLOYMENT = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "web:1"}]},
        },
    },
}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class _Receiver(trace_service_pb2_grpc.TraceServiceServicer):  # type: ignore[misc]
    """Keeps what it was sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()

    def take(self, request: Any) -> None:
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(names["service.name"])
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 (the protocol's name)
        self.take(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def trace(self, trace: str) -> list[Any]:
        return [span for span in self.spans if span.trace_id.hex() == trace]


@contextlib.asynccontextmanager
async def _over_grpc(receiver: _Receiver) -> AsyncIterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@contextlib.asynccontextmanager
async def _over_http(receiver: _Receiver) -> AsyncIterator[str]:
    async def post(request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        receiver.take(trace_service_pb2.ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", post)
    async with serve(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("over", [_over_grpc, _over_http])
async def test_one_trace_from_a_clients_write_to_the_binding(cluster: Cluster, over: Any) -> None:
    """A client's traceparent is honoured; what its write set in motion, over three controllers and the scheduler, is in
    the same trace, each span below the write that caused it."""
    receiver = _Receiver()
    async with over(receiver) as endpoint, otlp.exporting(Config(endpoint, 0), "kube-apiserver"):
        headers = {"Traceparent": f"00-{TRACE}-{PARENT}-01", "Content-Type": "application/json"}
        target, body = "/apis/apps/v1/namespaces/default/deployments", orjson.dumps(DEPLOYMENT)
        answer = await cluster.client.transport.request(Call(method="POST", target=target, headers=headers, body=body))
        assert answer.status == 201
        await cluster.until(
            deployments.RESOURCE, Key("default", "web"), lambda found: found["status"].get("readyReplicas") == 1
        )
    found = receiver.trace(TRACE)
    by_id = {span.span_id.hex(): span for span in found}
    names = {span.name: span for span in found}
    assert receiver.services == {"kube-apiserver"}
    assert {"POST deployments", "POST replicasets", "POST pods", "POST pods/binding"} <= names.keys()
    assert names["POST deployments"].parent_span_id.hex() == PARENT
    chain, span = [], names["POST pods/binding"]
    while span is not None:
        chain.append(span.name)
        span = by_id.get(span.parent_span_id.hex())
    assert chain == ["POST pods/binding", "POST pods", "POST replicasets", "POST deployments"]
    assert any(span.name.startswith("reconcile") for span in found)
    assert not receiver.trace("0" * 32) and all(span.trace_id.hex() == TRACE for span in receiver.spans)


async def test_an_absent_collector_costs_nobody_anything(cluster: Cluster) -> None:
    """Requests are answered as ever; what could not be sent is dropped and counted."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with asyncio.timeout(30), otlp.exporting(Config(endpoint, spans.MILLION), "kube-apiserver"):
            await cluster.client.create(deployments.RESOURCE, DEPLOYMENT)
    assert not spans.TRACER.finished
