"""A gRPC service without a .proto file, and a client of it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
from aiohttp import web

SERVICE = "shop.Stock"


class Stock(grpc.GenericRpcHandler):
    """Count (one answer), Watch (a stream each way), Missing (a status with trailers)."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def service(self, handler_call_details: Any) -> Any:
        """The method that is called, whatever the service."""
        method = handler_call_details.method.rpartition("/")[2]
        if method == "Watch":
            return grpc.stream_stream_rpc_method_handler(self._watch)
        return grpc.unary_unary_rpc_method_handler(self._missing if method == "Missing" else self._count)

    async def _count(self, request: bytes, context: Any) -> bytes:
        return self._name + b" " + request

    async def _watch(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield self._name + b" " + request

    async def _missing(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing", trailing_metadata=(("x-why", "sold"),))
        raise AssertionError


async def serve(stack: AsyncExitStack, name: str, address: str, pair: tuple[str, str] | None = None) -> int:
    """Start one until the stack ends, with TLS where it has a certificate and key; its port."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Stock(name),))
    if pair:
        chain, key = (text.encode() for text in pair)
        port = server.add_secure_port(f"{address}:0", grpc.ssl_server_credentials([(key, chain)]))
    else:
        port = server.add_insecure_port(f"{address}:0")
    await server.start()
    stack.push_async_callback(server.stop, None)
    return port


def channel(port: int, host: str, chain: str = "", *, address: str = "127.0.0.1") -> grpc.aio.Channel:
    """To nginx, as a client that dials the host; with TLS where the host's certificate is given."""
    if not chain:
        return grpc.aio.insecure_channel(f"{address}:{port}", [("grpc.default_authority", host)])
    options = [("grpc.ssl_target_name_override", host), ("grpc.default_authority", host)]
    return grpc.aio.secure_channel(f"{address}:{port}", grpc.ssl_channel_credentials(chain.encode()), options)


async def ask(made: grpc.aio.Channel, method: str = f"/{SERVICE}/Count", **headers: str) -> str:
    """The answer to one request, or the name of the status."""
    metadata = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    try:
        answer: bytes = await made.unary_unary(method)(b"x", timeout=10, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name} {error.details()} {dict(error.trailing_metadata()).get('x-why', '')}".strip()
    return answer.decode()


async def talk(made: grpc.aio.Channel) -> list[str]:
    """What a stream says to two words, each of which waits for the answer to the one before."""
    call = made.stream_stream(f"/{SERVICE}/Watch")(timeout=10)
    said = []
    for word in (b"one", b"two"):
        await call.write(word)
        said.append((await call.read()).decode())
    await call.done_writing()
    return said


async def secure_web(stack: AsyncExitStack, pair: tuple[str, str], folder: Any) -> tuple[int, list[str | None]]:
    """An HTTPS server; its port, and the names that clients asked for."""
    names: list[str | None] = []
    file = folder / "pair.pem"
    file.write_text("".join(pair))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"server": "secure"})

    made = web.Application()
    made.router.add_get("/", answer)
    runner = web.AppRunner(made, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return int(runner.addresses[0][1]), names
