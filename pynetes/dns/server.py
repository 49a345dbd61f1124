"""Queries in, answers out, over UDP and TCP. Known answers go out at once; the rest waits for name servers outside."""

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pynetes.component.tasks import Group
from pynetes.component.tracing import RECORDER, Interaction, now
from pynetes.dns import metrics, wire
from pynetes.dns.answers import Answer, Answers
from pynetes.dns.forward import Forwarder, Unanswered
from pynetes.dns.wire import Body, Query

#: The interaction path pod → DNS.
PATH = 21
#: Questions that may wait for the outside at one time; beyond that the answer is a failure, at once.
WAITING = 1000
#: Whole answers that are kept; with more the memory begins anew.
PACKED = 20000
#: Bytes before the question.
HEADER = 12
#: Seconds that a TCP connection may say nothing.
IDLE = 10.0


class Server:
    """Answers queries; the transports below feed it."""

    def __init__(self, answers: Answers, forwarder: Forwarder, group: Group) -> None:
        self.answers, self.forwarder, self.group = answers, forwarder, group
        self.waiting = 0
        self._packed: dict[bytes, _Packed] = {}

    def again(self, message: bytes) -> "_Packed | None":
        """The answer to a message that has come before, letter by letter except for its number."""
        packed = self._packed.get(message[2:])
        return packed if packed is not None and packed.answer.alive else None

    def quick(self, query: Query, *, udp: bool) -> bytes | None:
        """The answer, if nobody has to be asked for it."""
        if query.refusal:
            return wire.refuse(query, query.refusal)
        key = query.question.lower()
        answer = self.answers.find(key) or self.answers.make(key, query.name, query.type)
        if answer is not None:
            return None if answer.outside else wire.respond(query, answer.next(), udp=udp)
        known = self.forwarder.remembered(query)
        return _fitting(query, known, udp=udp) if known is not None else None

    def pack(self, message: bytes, query: Query) -> None:
        """Keep the whole answer to a message over UDP, if it is one that only a change of the zone can change."""
        answer = self.answers.find(query.question.lower()) if not query.refusal else None
        if answer is None or answer.outside:
            return
        if len(self._packed) >= PACKED:
            self._packed.clear()
        tails = [wire.respond(query, body, udp=True)[2:] for body in answer.bodies]
        self._packed[message[2:]] = _Packed(answer, tails, wire.TYPE_NAMES.get(query.type, "other"))

    async def slow(self, query: Query, *, udp: bool) -> bytes:
        """The answer after asking outside."""
        answer = self.answers.find(query.question.lower())
        if self.waiting >= WAITING:
            return wire.refuse(query, wire.SERVFAIL)
        self.waiting += 1
        metrics.FORWARDED.inc()
        try:
            if answer is not None:
                return wire.respond(query, await self._with_outside(query, answer), udp=udp)
            return _fitting(query, await self.forwarder.ask(query, udp=udp), udp=udp)
        except Unanswered:
            return wire.refuse(query, wire.SERVFAIL)
        finally:
            self.waiting -= 1

    async def _with_outside(self, query: Query, answer: Answer) -> Body:
        """The CNAME of an ExternalName, and the addresses that its target has."""
        body, name = answer.next(), wire.encode_name(answer.outside)
        question = name + struct.pack("!HH", query.type, wire.IN)
        outside = Query(0, wire.RD, question, query.type, wire.UDP_SIZE, wire.NOERROR)
        with contextlib.suppress(Unanswered, wire.Malformed):
            message = self.forwarder.remembered(outside) or await self.forwarder.ask(outside, udp=True)
            for each in wire.records(message):
                if each.section == 1 and each.type == query.type:
                    data = body.data + wire.record(name, each.type, each.ttl, each.data)
                    body = body._replace(answers=body.answers + 1, data=data)
        return body

    def note(self, query: Query, answer: bytes, *, proto: str, peer: str, started: float) -> None:
        """Count and record one exchange."""
        kind = wire.TYPE_NAMES.get(query.type, "other")
        text = f"{kind} {query.name if query.question else ''}"
        sizes = HEADER + len(query.question), len(answer)
        note(kind, text, answer[3] & 0x0F, proto, peer, started, sizes)


def note(kind: str, text: str, code: int, proto: str, peer: str, started: float, sizes: tuple[int, int]) -> None:
    """Count and record one exchange; sizes are those of question and answer."""
    seconds, rcode = time.perf_counter() - started, wire.RCODE_NAMES.get(code, str(code))
    metrics.count(kind, rcode, proto, peer, seconds, asked=sizes[0], answered=sizes[1])
    error = "" if code in (wire.NOERROR, wire.NXDOMAIN) else rcode
    RECORDER.record(Interaction(PATH, now(), f"pod {peer}", "dns", text, "", seconds, error))


@dataclass(slots=True)
class _Packed:
    """Whole answers but for the number, in the rotations of what they were made from."""

    answer: Answer
    tails: list[bytes]
    kind: str
    turn: int = 0

    def next(self) -> bytes:
        self.turn = (self.turn + 1) % len(self.tails)
        return self.tails[self.turn]


def _fitting(query: Query, answer: bytes, *, udp: bool) -> bytes:
    """An answer from outside, or the hint to ask again over TCP if it is too large for this client."""
    limit = (min(query.size, wire.UDP_SIZE) or 512) if udp else 65535
    return answer if len(answer) <= limit else wire.refuse(query, wire.TC)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        started = time.perf_counter()
        if (packed := self._server.again(data)) is not None and self._transport is not None:
            tail = packed.next()
            self._transport.sendto(data[:2] + tail, addr)
            sizes = len(data), len(tail) + 2
            note(packed.kind, packed.answer.text, packed.answer.code, "udp", addr[0], started, sizes)
            return
        try:
            query = wire.parse(data)
        except wire.Malformed:
            return
        answer = self._server.quick(query, udp=True)
        if answer is None:
            self._server.group.start(self._slow(query, addr, started))
        else:
            self._server.pack(data, query)
            self._send(query, answer, addr, started)

    async def _slow(self, query: Query, addr: tuple[str, int], started: float) -> None:
        self._send(query, await self._server.slow(query, udp=True), addr, started)

    def _send(self, query: Query, answer: bytes, addr: tuple[str, int], started: float) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.sendto(answer, addr)
        self._server.note(query, answer, proto="udp", peer=addr[0], started=started)


async def _tcp(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer = (writer.get_extra_info("peername") or ("", 0))[0]
    try:
        with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError, wire.Malformed):
            while True:
                async with asyncio.timeout(IDLE):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    message = await reader.readexactly(length)
                started = time.perf_counter()
                query = wire.parse(message)
                answer = server.quick(query, udp=False)
                if answer is None:
                    answer = await server.slow(query, udp=False)
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
                server.note(query, answer, proto="tcp", peer=peer, started=started)
    finally:
        writer.close()


@asynccontextmanager
async def listen(server: Server, host: str, port: int) -> AsyncIterator[int]:
    """Serve UDP and TCP on one port while the block runs; gives the port, for which 0 picks a free one."""
    loop = asyncio.get_running_loop()
    listener = await asyncio.start_server(lambda reader, writer: _tcp(server, reader, writer), host, port)
    port = listener.sockets[0].getsockname()[1]
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(server), local_addr=(host, port))
        try:
            yield port
        finally:
            transport.close()
    finally:
        listener.close()
