"""A receiver of traces: OTLP over HTTP, at the address that the cluster's tracing configuration names."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

#: Only what a client asks to be traced is: nothing else in the cluster pays for it.
PORT = 14318
CONFIG = f"""
apiVersion: apiserver.config.k8s.io/v1
kind: TracingConfiguration
endpoint: http://127.0.0.1:{PORT}
samplingRatePerMillion: 0
"""


class Received(NamedTuple):
    """One span, with the component that made it. IDs in hexadecimal digits."""

    service: str
    name: str
    trace: str
    id: str
    parent: str


class Receiver:
    """All spans so far."""

    def __init__(self) -> None:
        self.spans: list[Received] = []

    def take(self, body: bytes) -> None:
        """One export."""
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                self.spans.append(Received(names["service.name"], span.name, *ids))

    def chain(self, trace: str, last: str) -> list[tuple[str, str]]:
        """From the span of this name up to the first: component and name of each; empty while a link is missing."""
        found = {span.id: span for span in self.spans if span.trace == trace}
        span = next((span for span in found.values() if span.name == last), None)
        up = []
        while span is not None:
            up.append((span.service, span.name))
            span = found.get(span.parent)
        return up


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Listen while the block runs."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
