"""Questions about the world outside: asked of the node's name servers, the same question once, and remembered."""

import asyncio
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pynetes.component.clock import Clock
from pynetes.dns import metrics, wire
from pynetes.dns.wire import Query

#: Seconds that an answer is remembered at most, and an absence.
LONGEST, LONGEST_NEGATIVE = 30, 5
MEMORY = 10000


class Unanswered(Exception):
    """No name server gave an answer in time."""


class Upstream(NamedTuple):
    """A name server."""

    host: str
    port: int = 53


def upstreams(texts: Sequence[str], *, own: Sequence[str] = ()) -> tuple[Upstream, ...]:
    """Read addresses ("10.0.0.1", "10.0.0.1:5353", "[fd00::1]:53") and resolv.conf files; own ones are left out.

    From files loopback addresses are left out too: they mean the node's loopback, which is not ours."""
    found: dict[Upstream, None] = {}
    for text in texts:
        if text.startswith("/"):
            for each in _resolv_conf(Path(text)):
                if not each.host.startswith("127.") and each.host != "::1":
                    found[each] = None
        else:
            found[_address(text)] = None
    return tuple(each for each in found if each.host not in own)


def _resolv_conf(path: Path) -> list[Upstream]:
    if not path.exists():
        return []
    lines = (line.split() for line in path.read_text().splitlines())
    return [Upstream(words[1].partition("%")[0]) for words in lines if len(words) > 1 and words[0] == "nameserver"]


def _address(text: str) -> Upstream:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return Upstream(host, int(port.removeprefix(":") or 53))
    host, colon, port = text.rpartition(":")
    return Upstream(host, int(port)) if colon and ":" not in host else Upstream(text)


@dataclass(slots=True)
class _Remembered:
    message: bytes
    ttls: tuple[wire.RecordAt, ...]
    since: float
    until: float


class Forwarder:
    """Asks the upstreams in turn, two seconds each, and remembers."""

    def __init__(self, servers: Sequence[Upstream], *, clock: Clock, timeout: float = 2.0) -> None:
        self.servers, self._clock, self._timeout = tuple(servers), clock, timeout
        self._memory: dict[bytes, _Remembered] = {}
        self._pending: dict[bytes, asyncio.Future[bytes]] = {}

    def remembered(self, query: Query) -> bytes | None:
        """The answer to this query from memory, its times to live counted down."""
        entry = self._memory.get(_key(query, udp=True))
        now = self._clock.monotonic()
        if entry is None or entry.until <= now:
            return None
        metrics.cached(hit=True, denial=bool(entry.message[3] & 0x0F))
        answer, age = bytearray(entry.message), int(now - entry.since)
        for record in entry.ttls:
            struct.pack_into("!I", answer, record.ttl_at, max(0, record.ttl - age))
        return _addressed(answer, query)

    async def ask(self, query: Query, *, udp: bool) -> bytes:
        """The answer to this query. Raises Unanswered."""
        key = _key(query, udp=udp)
        if (pending := self._pending.get(key)) is not None:
            return _addressed(bytearray(await asyncio.shield(pending)), query)
        metrics.cached(hit=False)
        pending = self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            message = await self._exchange(query, udp=udp)
        except BaseException as error:
            metrics.FORWARD_FAILURES.inc()
            pending.set_exception(error if isinstance(error, Unanswered) else Unanswered("cancelled"))
            pending.exception()  # seen: there may be nobody else waiting
            raise
        finally:
            del self._pending[key]
        pending.set_result(message)
        self._remember(_key(query, udp=True), message)
        return _addressed(bytearray(message), query)

    async def _exchange(self, query: Query, *, udp: bool) -> bytes:
        why = "there is no name server to ask"
        for server in self.servers:
            number = secrets.randbits(16)
            message = wire.ask(number, query.question, edns=bool(query.size), dnssec_ok=query.dnssec_ok)
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await (_over_udp if udp else _over_tcp)(server, message)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                why = f"{server.host} did not answer: {error or type(error).__name__}"
                continue
            if answer[3] & 0x0F not in (wire.SERVFAIL, wire.REFUSED):
                return answer
            why = f"{server.host} could not answer"
        raise Unanswered(why)

    def _remember(self, key: bytes, message: bytes) -> None:
        code, truncated = message[3] & 0x0F, message[2] & (wire.TC >> 8)
        if truncated or code not in (wire.NOERROR, wire.NXDOMAIN):
            return
        try:
            found = tuple(each for each in wire.records(message) if each.type != wire.OPT)
        except wire.Malformed:
            return
        positive = any(each.section == 1 for each in found)
        longest = LONGEST if positive else LONGEST_NEGATIVE
        ttl = min((each.ttl for each in found), default=0)
        if ttl <= 0:
            return
        now = self._clock.monotonic()
        while len(self._memory) >= MEMORY:
            del self._memory[next(iter(self._memory))]
        self._memory[key] = _Remembered(message, found, now, now + min(ttl, longest))
        metrics.remembered(len(self._memory))


def _key(query: Query, *, udp: bool) -> bytes:
    return query.question.lower() + bytes((bool(query.size), query.dnssec_ok, udp))


def _addressed(answer: bytearray, query: Query) -> bytes:
    """The answer with this query's number and spelling."""
    struct.pack_into("!H", answer, 0, query.id)
    answer[12 : 12 + len(query.question)] = query.question
    return bytes(answer)


async def _over_udp(server: Upstream, message: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()
    # A socket per question: an answer has to guess the port as well as the number.
    transport, _ = await loop.create_datagram_endpoint(lambda: _Receiver(message, answered), remote_addr=server)
    try:
        transport.sendto(message)
        return await answered
    finally:
        transport.close()


async def _over_tcp(server: Upstream, message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack("!H", len(message)) + message)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = await reader.readexactly(length)
        if not _belongs(answer, message):
            raise OSError("the answer is to another question")
        return answer
    finally:
        writer.close()


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, message: bytes, answered: "asyncio.Future[bytes]") -> None:
        self._message, self._answered = message, answered

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._answered.done() and _belongs(data, self._message):
            self._answered.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc)


def _belongs(answer: bytes, message: bytes) -> bool:
    try:
        end = wire.skip_name(message, 12) + 4
    except IndexError:
        return False
    return (
        len(answer) >= end
        and answer[:2] == message[:2]
        and bool(answer[2] & 0x80)
        and answer[4:6] == b"\0\1"
        and answer[12:end].lower() == message[12:end].lower()
    )
