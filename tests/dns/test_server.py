"""The server over real sockets, with a name server outside that does as it is told."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dnslib
import pytest

from pynetes.component.clock import SystemClock
from pynetes.component.tasks import Group
from pynetes.dns import forward, server
from pynetes.dns.answers import Answers
from pynetes.dns.forward import Forwarder, Upstream
from pynetes.dns.tracker import Tracker
from tests.dns.objects import DOMAIN, endpoint_slice, namespace, question, service

Reply = Callable[[dnslib.DNSRecord], dnslib.DNSRecord | None]


class Clock(SystemClock):
    """Time that tests move."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at


class Outside(asyncio.DatagramProtocol):
    """A name server whose answers a test writes; None is silence."""

    def __init__(self, reply: Reply) -> None:
        self.reply, self.asked = reply, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.asked += 1
        if (answer := self.reply(dnslib.DNSRecord.parse(data))) is not None:
            self.transport.sendto(answer.pack(), addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def outside(reply: Reply) -> AsyncIterator[tuple[Outside, Upstream]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Outside(reply), local_addr=("127.0.0.1", 0))
    try:
        yield protocol, Upstream(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


def says(*zone: str) -> Reply:
    """Answers with these records."""

    def reply(query: dnslib.DNSRecord) -> dnslib.DNSRecord:
        answer = query.reply()
        answer.add_answer(*dnslib.RR.fromZone("\n".join(zone)))
        return answer

    return reply


@asynccontextmanager
async def dns(
    *upstreams: Upstream, clock: Clock | None = None, timeout: float = 2.0
) -> AsyncIterator[tuple[Tracker, int]]:
    answers = Answers(DOMAIN)
    tracker = Tracker(answers)
    tracker.namespace(namespace())
    forwarder = Forwarder(upstreams, clock=clock or Clock(), timeout=timeout)
    async with Group() as group, server.listen(server.Server(answers, forwarder, group), "127.0.0.1", 0) as port:
        yield tracker, port


async def udp(port: int, message: bytes) -> dnslib.DNSRecord:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            answered.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Receiver, remote_addr=("127.0.0.1", port))
    try:
        transport.sendto(message)
        record = dnslib.DNSRecord.parse(await asyncio.wait_for(answered, 5))
    finally:
        transport.close()
    assert record.header.id == int.from_bytes(message[:2], "big") and record.header.qr == 1
    return record


async def tcp(port: int, *messages: bytes) -> list[dnslib.DNSRecord]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"".join(struct.pack("!H", len(each)) + each for each in messages))
        found = []
        for _ in messages:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            found.append(dnslib.DNSRecord.parse(await reader.readexactly(length)))
        return found
    finally:
        writer.close()


async def test_udp_and_tcp_answer_alike() -> None:
    """Several questions over one TCP connection, in order."""
    async with dns() as (tracker, port):
        tracker.service(service("web"))
        names = ["web.default.svc.cluster.local", "nope.default.svc.cluster.local"]
        over_udp = [await udp(port, question(name)) for name in names]
        over_tcp = await tcp(port, *(question(name) for name in names))
        for one, other in zip(over_udp, over_tcp, strict=True):
            assert (one.header.rcode, one.rr) == (other.header.rcode, other.rr)


async def test_a_long_answer_is_cut_over_udp_and_whole_over_tcp() -> None:
    """The client is told to come again; with EDNS more fits."""
    async with dns() as (tracker, port):
        tracker.service(service("db", ips=()))
        tracker.endpoint_slice(endpoint_slice("db", *((f"10.244.0.{n}", "") for n in range(1, 61))))
        name = "db.default.svc.cluster.local"
        short = await udp(port, question(name))
        assert short.header.tc == 1 and not short.rr
        assert len((await udp(port, question(name, edns=1232))).rr) == 60
        assert len((await tcp(port, question(name)))[0].rr) == 60


async def test_names_outside_are_forwarded_once_and_counted_down() -> None:
    """The second answer comes from memory with less time to live; afterwards it is asked for again."""
    clock = Clock()
    async with outside(says("example.com 20 A 192.0.2.1")) as (other, at), dns(at, clock=clock) as (_, port):
        for age, asked in ((0.0, 1), (7.0, 1), (19.0, 1), (21.0, 2)):
            clock.at = age
            record = await udp(port, question("eXample.com"))
            assert (str(record.q.qname), record.rr[0].ttl, other.asked) == ("eXample.com.", 20 - age % 21, asked)


async def test_the_same_question_at_one_time_is_asked_once() -> None:
    """Each client gets its own number and spelling back."""
    async with outside(says("example.com 20 A 192.0.2.1")) as (other, at), dns(at) as (_, port):
        names = ["example.com", "EXAMPLE.com", "example.COM"]
        records = await asyncio.gather(*(udp(port, question(name)) for name in names))
        assert [str(record.q.qname) for record in records] == [f"{name}." for name in names]
        assert other.asked == 1


async def test_a_silent_name_server_is_passed_over() -> None:
    """The next one answers; when all are silent the client is told so."""
    async with outside(lambda _: None) as (_, silent), outside(says("a.example 5 A 192.0.2.1")) as (_, good):
        async with dns(silent, good, timeout=0.05) as (_, port):
            assert len((await udp(port, question("a.example"))).rr) == 1
        async with dns(silent, timeout=0.05) as (_, port):
            assert (await udp(port, question("a.example"))).header.rcode == dnslib.RCODE.SERVFAIL


async def test_a_forged_answer_is_ignored() -> None:
    """To another number or another question."""

    def forge(query: dnslib.DNSRecord) -> dnslib.DNSRecord:
        answer = says("evil.example 5 A 192.0.2.66")(dnslib.DNSRecord.question("evil.example"))
        assert answer is not None
        answer.header.id = query.header.id
        return answer

    async with outside(forge) as (_, at), dns(at, timeout=0.1) as (_, port):
        assert (await udp(port, question("good.example"))).header.rcode == dnslib.RCODE.SERVFAIL


async def test_absence_outside_is_passed_on() -> None:
    """NXDOMAIN stays NXDOMAIN."""

    def absent(query: dnslib.DNSRecord) -> dnslib.DNSRecord:
        answer = query.reply()
        answer.header.rcode = dnslib.RCODE.NXDOMAIN
        return answer

    async with outside(absent) as (_, at), dns(at) as (_, port):
        assert (await udp(port, question("nope.example"))).header.rcode == dnslib.RCODE.NXDOMAIN


async def test_an_external_name_comes_with_its_addresses() -> None:
    """The CNAME is ours, the addresses are the world's; without the world the CNAME remains."""
    given = service("foo", ips=(), type="ExternalName", externalName="www.example.com")
    async with outside(says("www.example.com 20 A 192.0.2.53")) as (_, at), dns(at) as (tracker, port):
        tracker.service(given)
        record = await udp(port, question("foo.default.svc.cluster.local"))
        assert [(str(each.rname), str(each.rdata)) for each in record.rr] == [
            ("foo.default.svc.cluster.local.", "www.example.com."),
            ("www.example.com.", "192.0.2.53"),
        ]
    async with dns() as (tracker, port):
        tracker.service(given)
        record = await udp(port, question("foo.default.svc.cluster.local"))
        assert [str(each.rdata) for each in record.rr] == ["www.example.com."]


async def test_nonsense_does_not_stop_the_server() -> None:
    """Short, random and refused messages, then an ordinary question."""
    async with dns() as (tracker, port):
        tracker.service(service("web"))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port))
        for junk in (b"", b"\0", b"\xff" * 40, question("a")[:-3]):
            transport.sendto(junk)
        transport.close()
        chaos = bytearray(question("version.bind", "TXT"))
        chaos[-1] = 3
        assert (await udp(port, bytes(chaos))).header.rcode == dnslib.RCODE.REFUSED
        assert len((await udp(port, question("web.default.svc.cluster.local"))).rr) == 1


def test_upstreams_are_read_from_addresses_and_files(tmp_path: object) -> None:
    """Loopback in a file means the node's, and an address of our own would be a circle."""
    path = f"{tmp_path}/resolv.conf"
    with open(path, "w") as file:  # noqa: PTH123
        file.write("search x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\n# no\nnameserver fe80::1%eth0\n")
    assert forward.upstreams([path]) == (Upstream("10.0.0.1"), Upstream("fe80::1"))
    given = ["10.0.0.2:5353", "[fd00::1]:54", "fd00::2", "10.0.0.9"]
    assert forward.upstreams(given, own=("10.0.0.9",)) == (
        Upstream("10.0.0.2", 5353),
        Upstream("fd00::1", 54),
        Upstream("fd00::2"),
    )
    assert forward.upstreams(["/nonexistent"]) == ()


@pytest.mark.parametrize("turn", [1, 2])
async def test_the_port_is_free_again(turn: int) -> None:
    """Leaving the block closes both transports."""
    async with dns() as (_, port):
        pass
    with pytest.raises(OSError):
        await tcp(port, question("a"))
