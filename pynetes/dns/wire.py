"""DNS messages as bytes (RFC 1035, EDNS0 of RFC 6891): only what a server needs, and quickly.

A question is kept as the client sent it, since some clients vary the case of names and compare (draft-vixie-dns-0x20).
Whatever follows it refers to its name by the pointer C0 0C, so an encoded answer fits every spelling of a question.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
TYPE_NAMES = {
    A: "A",
    NS: "NS",
    CNAME: "CNAME",
    SOA: "SOA",
    PTR: "PTR",
    TXT: "TXT",
    AAAA: "AAAA",
    SRV: "SRV",
    ANY: "ANY",
}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
RCODE_NAMES = {
    NOERROR: "NOERROR", FORMERR: "FORMERR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN",
    NOTIMP: "NOTIMP", REFUSED: "REFUSED", BADVERS: "BADVERS",
}  # fmt: skip
IN = 1
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
OPCODE = 0x7800
#: The name in the question, by reference.
QUESTION_NAME = b"\xc0\x0c"
#: What we take over UDP: fits every path without fragments.
UDP_SIZE = 1232
HEADER = struct.Struct("!HHHHHH")
_OPT = b"\0" + struct.pack("!HHIH", OPT, UDP_SIZE, 0, 0)
_RECORD = struct.Struct("!HHIH")


class Malformed(ValueError):
    """The bytes are no DNS message."""


class Query(NamedTuple):
    """A question as it arrived."""

    id: int
    flags: int
    #: Name, type and class, spelled as in the message.
    question: bytes
    type: int
    #: 0 without EDNS, else the size the client takes over UDP.
    size: int
    #: Response code to give without looking further, NOERROR if there is none.
    refusal: int
    dnssec_ok: bool = False

    @property
    def name(self) -> str:
        """Lower case, without the last dot."""
        return decode_name(self.question[:-4].lower())


class Body(NamedTuple):
    """What follows the question, and the counts and flags that go with it."""

    flags: int
    answers: int
    authority: int
    additional: int
    data: bytes


def parse(message: bytes) -> Query:
    """Read a query. Raises Malformed when there is not even a header; what is wrong otherwise is in `refusal`."""
    if len(message) < HEADER.size:
        raise Malformed("shorter than a header")
    number, flags, questions, answers, authority, additional = HEADER.unpack_from(message)
    if flags & QR:
        raise Malformed("an answer")
    refused = Query(number, flags, b"", 0, 0, FORMERR)
    if flags & OPCODE:
        return refused._replace(refusal=NOTIMP)
    if questions != 1 or answers or authority:
        return refused
    try:
        end = _question_end(message)
        kind, family = struct.unpack_from("!HH", message, end)
        question = message[12 : end + 4]
        size, version, dnssec_ok = _edns(message, end + 4, additional)
    except (Malformed, struct.error, IndexError):
        return refused
    refusal = BADVERS if version else (NOERROR if family == IN else REFUSED)
    return Query(number, flags, question, kind, size, refusal, dnssec_ok)


def _question_end(message: bytes) -> int:
    position = 12
    while length := message[position]:
        if length > 63:  # a pointer has nothing to point at yet
            raise Malformed("a pointer in the question")
        position += length + 1
    if position > 12 + 254:
        raise Malformed("a name longer than 255 bytes")
    return position + 1


def _edns(message: bytes, position: int, additional: int) -> tuple[int, int, bool]:
    for _ in range(additional):
        position = skip_name(message, position)
        kind, size, ttl, length = _RECORD.unpack_from(message, position)
        if kind == OPT:
            return max(size, 512), (ttl >> 16) & 0xFF, bool(ttl & 0x8000)
        position += _RECORD.size + length
    return 0, 0, False


def skip_name(message: bytes, position: int) -> int:
    """The position behind a name."""
    while True:
        length = message[position]
        if length == 0:
            return position + 1
        if length >= 0xC0:
            return position + 2
        if length > 63:
            raise Malformed("a label of a kind nobody uses")
        position += length + 1


def encode_name(name: str) -> bytes:
    """Dotted text as labels; names in the zone are ASCII."""
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def decode_name(wire: bytes) -> str:
    """Labels without pointers as dotted text."""
    labels, position = [], 0
    while wire[position]:
        end = position + 1 + wire[position]
        labels.append(wire[position + 1 : end].decode("ascii", "backslashreplace"))
        position = end
    return ".".join(labels)


def record(name: bytes, kind: int, ttl: int, data: bytes) -> bytes:
    """One encoded resource record; name is encoded already."""
    return name + _RECORD.pack(kind, IN, ttl, len(data)) + data


def respond(query: Query, body: Body, *, udp: bool) -> bytes:
    """The whole answer, cut down to "ask again over TCP" where it does not fit."""
    edns = _OPT if query.size else b""
    limit = (min(query.size, UDP_SIZE) or 512) if udp else 65535
    flags = QR | (query.flags & (RD | OPCODE)) | RA | body.flags
    questions = 1 if query.question else 0
    if HEADER.size + len(query.question) + len(body.data) + len(edns) > limit:
        head = HEADER.pack(query.id, flags | TC, questions, 0, 0, 1 if edns else 0)
        return head + query.question + edns
    head = HEADER.pack(query.id, flags, questions, body.answers, body.authority, body.additional + (1 if edns else 0))
    return head + query.question + body.data + edns


def refuse(query: Query, code: int) -> bytes:
    """An answer that has a response code only."""
    if code == BADVERS:
        head = HEADER.pack(query.id, QR | (query.flags & RD), 1, 0, 0, 1)
        return head + query.question + b"\0" + struct.pack("!HHIH", OPT, UDP_SIZE, 1 << 24, 0)
    return respond(query, Body(code, 0, 0, 0, b""), udp=True)


def ask(number: int, question: bytes, *, edns: bool, dnssec_ok: bool = False) -> bytes:
    """A query of our own, recursion desired."""
    head = HEADER.pack(number, RD, 1, 0, 0, 1 if edns else 0)
    opt = b"\0" + struct.pack("!HHIH", OPT, UDP_SIZE, 0x8000 if dnssec_ok else 0, 0) if edns else b""
    return head + question + opt


class RecordAt(NamedTuple):
    """A record in a message: its section (1 answer, 2 authority, 3 additional) and where its time to live stands."""

    section: int
    type: int
    ttl_at: int
    ttl: int
    data: bytes


def records(message: bytes) -> Iterator[RecordAt]:
    """All records of a message. Raises Malformed."""
    try:
        _, _, questions, *counts = HEADER.unpack_from(message)
        position = 12
        for _ in range(questions):
            position = skip_name(message, position) + 4
        for section, count in enumerate(counts, 1):
            for _ in range(count):
                position = skip_name(message, position)
                kind, _, ttl, length = _RECORD.unpack_from(message, position)
                start = position + _RECORD.size
                yield RecordAt(section, kind, position + 4, ttl, message[start : start + length])
                position = start + length
        if position > len(message):
            raise Malformed("records beyond the end")
    except (struct.error, IndexError) as error:
        raise Malformed(str(error)) from None
