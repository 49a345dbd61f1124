"""The message format: what is read, what is refused, what is written, and that no bytes can break the reader."""

import contextlib

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynetes.dns import wire
from pynetes.dns.wire import Body, Malformed
from tests.dns.objects import question


def test_a_query_is_read_as_it_was_sent() -> None:
    """Number, type, name, and the size that EDNS announces (never below 512)."""
    message = question("Web.Default.svc", "SRV", edns=4096)
    query = wire.parse(message)
    assert (query.name, query.type, query.size, query.refusal) == ("web.default.svc", wire.SRV, 4096, wire.NOERROR)
    assert query.id == int.from_bytes(message[:2], "big")
    assert wire.parse(question("a", edns=100)).size == 512


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\0\1\x28\0\0\1\0\0\0\0\0\0" + question("a")[12:], wire.NOTIMP),
        (b"\0\1\1\0\0\2\0\0\0\0\0\0" + question("a")[12:], wire.FORMERR),
        (b"\0\1\1\0\0\1\0\0\0\0\0\0\x05abc", wire.FORMERR),
        (b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", wire.FORMERR),
        (question("a")[:-1] + b"\3", wire.REFUSED),
        (question("a")[:11] + b"\1" + question("a")[12:] + b"\0\0\x29\4\xd0\0\1\0\0\0\0", wire.BADVERS),
    ],
    # A question's identifier is random; parallel workers must agree on the tests' names.
    ids=["opcode", "two questions", "cut short", "pointer loop", "class", "EDNS version"],
)
def test_what_cannot_be_answered_gets_its_code(message: bytes, code: int) -> None:
    """An unknown operation, two questions, a cut name, a pointer, another class, another EDNS version."""
    query = wire.parse(message)
    assert query.refusal == code
    answer = dnslib.DNSRecord.parse(wire.refuse(query, code))
    assert answer.header.rcode == code & 0xF and answer.header.id == query.id


def test_what_is_no_query_gets_no_answer() -> None:
    """Answering an answer could go on forever."""
    for message in (b"", b"\0" * 11, bytes(dnslib.DNSRecord.question("a").reply().pack())):
        with pytest.raises(Malformed):
            wire.parse(message)


def test_an_answer_that_does_not_fit_says_so() -> None:
    """512 bytes without EDNS, what the client announced with it, and no limit over TCP."""
    records = b"".join(wire.record(wire.QUESTION_NAME, wire.A, 30, bytes((10, 0, 0, n))) for n in range(40))
    body = Body(wire.AA, 40, 0, 0, records)
    for edns, udp, fits in ((0, True, False), (1232, True, True), (600, True, False), (0, False, True)):
        message = wire.respond(wire.parse(question("db.default", edns=edns)), body, udp=udp)
        record = dnslib.DNSRecord.parse(message)
        assert (len(record.rr), record.header.tc) == ((40, 0) if fits else (0, 1))
        assert len(message) <= (edns or 512) or not udp


def test_all_records_of_a_message_are_found() -> None:
    """Whatever is compressed, with sections told apart."""
    reply = dnslib.DNSRecord.question("www.example.com").reply()
    reply.add_answer(*dnslib.RR.fromZone("www.example.com 60 CNAME example.com\nexample.com 30 A 192.0.2.1"))
    reply.add_auth(*dnslib.RR.fromZone("example.com 9 NS ns.example.com"))
    found = list(wire.records(bytes(reply.pack())))
    assert [(each.section, each.type, each.ttl) for each in found] == [(1, 5, 60), (1, 1, 30), (2, 2, 9)]
    assert found[1].data == bytes((192, 0, 2, 1))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(message: bytes) -> None:
    """Either a query, possibly refused, or Malformed."""
    with contextlib.suppress(Malformed):
        query = wire.parse(message)
        if query.question:
            assert isinstance(query.name, str)
        wire.refuse(query, query.refusal)
    with contextlib.suppress(Malformed):
        list(wire.records(message))
