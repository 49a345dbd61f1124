"""gzip of large answers, as client-go asks for it.

What a list shows is compressed in blocks of neighbouring objects, which are kept: a second list costs hardly more than
copying, and one after a change compresses only the blocks in which something has changed. Where a block ends is read
from its keys, so that an object more moves no other block's ends. All blocks together are one gzip stream of one member
(curl reads no others), whose checksum is computed from those of the blocks.
"""

import asyncio
import gzip
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from pynetes.apiserver.http import Pieces, Request, Response
from pynetes.storage.entry import Entry
from pynetes.storage.resource_cache import Entries

#: Smaller answers are not worth it: upstream's limit.
SMALLEST = 128 << 10
#: Compressed bytes that are kept.
KEPT = 16 << 20
#: Every so many objects, on average, a block ends.
BLOCK = 64
#: Of zlib: higher ones take several times as long for a tenth less.
LEVEL = 1

_POLYNOMIAL = 0xEDB88320
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LAST = b"\x03\0"


class Part(NamedTuple):
    """A piece of a deflate stream, and what the stream's checksum needs of it."""

    deflated: bytes
    crc: int
    length: int
    #: What appending so many bytes does to a checksum.
    shift: int


class Listing(Pieces):
    """The body of a list: `head`, the entries with commas between them, `]}`."""

    #: Objects joined at once: few enough for the allocator to use the same memory again and again.
    JOINED = 32

    def __init__(self, head: bytes, entries: Sequence[Entry], *, whole: bool) -> None:
        self.head, self.tail = head, b"]}"
        #: Each with its kind and apiVersion.
        self.whole = whole
        self.entries = entries
        memo = memo_of(entries)
        size = memo.get(("size", whole))
        if size is None:
            size = memo["size", whole] = sum(map(len, self.items(entries))) + max(len(entries) - 1, 0)
        super().__init__(len(head) + size + len(self.tail), self._joined())

    def items(self, entries: Sequence[Entry]) -> list[bytes]:
        """The bytes of each."""
        if self.whole:
            return [entry.body for entry in entries]
        memo = memo_of(entries)
        items: list[bytes] | None = memo.get("items")
        if items is None:
            items = memo["items"] = [entry.item for entry in entries]
        return items

    def _joined(self) -> Iterable[bytes]:
        yield self.head
        items = self.items(self.entries)
        for start in range(0, len(items), self.JOINED):
            # An empty one in front makes the comma between two blocks.
            yield b",".join([b"", *items[start : start + self.JOINED]] if start else items[: self.JOINED])
        yield self.tail


def memo_of(entries: Sequence[Entry]) -> dict[Any, Any]:
    """What has been computed from these very entries; nothing is remembered of a selection."""
    return entries.memo if isinstance(entries, Entries) else {}


class Compressor:
    """Compresses answers, and remembers blocks by the key of their first object."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[str, bool], tuple[tuple[int, ...], Part]] = OrderedDict()
        self._kept = 0

    async def apply(self, request: Request, response: Response) -> Response:
        """The response, compressed if the client takes that and it is large enough."""
        body = response.body
        if not isinstance(body, bytes | Pieces) or not accepted(request.headers.get("accept-encoding", "")):
            return response
        if (len(body) if isinstance(body, bytes) else body.length) <= SMALLEST:
            return response
        if isinstance(body, Listing):
            memo = memo_of(body.entries)
            items = memo.get(("gzip", body.whole))
            if items is None:
                items = memo["gzip", body.whole] = _sum(await self._parts(body))
            parts = [_part(body.head), items, _part(body.tail)]
            pieces = [_HEADER, *(part.deflated for part in parts), _LAST + _trailer(parts)]
            response.body = Pieces(sum(map(len, pieces)), pieces)
        else:
            whole = body if isinstance(body, bytes) else b"".join(body.pieces)
            response.body = await asyncio.to_thread(gzip.compress, whole, LEVEL, mtime=0)
        return response.with_headers(("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))

    async def _parts(self, listing: Listing) -> list[Part]:
        parts: list[Part | None] = []
        missing: list[tuple[int, Sequence[Entry]]] = []
        for block in blocks(listing.entries):
            if parts:
                parts.append(_COMMA)
            found = self._blocks.get((block[0].storage_key, listing.whole))
            if found is not None and found[0] == _stamp(block):
                self._blocks.move_to_end((block[0].storage_key, listing.whole))
                parts.append(found[1])
            else:
                missing.append((len(parts), block))
                parts.append(None)
        # zlib lets other threads run: requests of others are answered meanwhile.
        made = await asyncio.to_thread(lambda: [_part(b",".join(listing.items(block))) for _, block in missing])
        for (place, block), part in zip(missing, made, strict=True):
            parts[place] = part
            self._keep((block[0].storage_key, listing.whole), _stamp(block), part)
        return [part for part in parts if part is not None]

    def _keep(self, key: tuple[str, bool], stamp: tuple[int, ...], part: Part) -> None:
        before = self._blocks.pop(key, None)
        self._kept += len(part.deflated) - (len(before[1].deflated) if before else 0)
        self._blocks[key] = stamp, part
        while self._kept > KEPT:
            _, (_, gone) = self._blocks.popitem(last=False)
            self._kept -= len(gone.deflated)


def accepted(header: str) -> bool:
    """Whether an Accept-Encoding header has gzip."""
    for clause in header.split(","):
        name, _, quality = clause.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def blocks(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Runs of neighbours that end where a key says so, whatever else is listed."""
    ends = [place for place, entry in enumerate(entries, 1) if not hash(entry.storage_key) % BLOCK]
    bounds = [0, *ends, len(entries)]
    return [entries[start:end] for start, end in pairwise(bounds) if start < end]


def _stamp(block: Sequence[Entry]) -> tuple[int, ...]:
    """Changes when a block does: no two objects are of the same revision, because the API server writes one by one."""
    return tuple([entry.revision for entry in block])


def _part(data: bytes) -> Part:
    deflater = zlib.compressobj(LEVEL, wbits=-15)
    # The flush ends at a whole byte, so that another part can follow.
    deflated = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return Part(deflated, zlib.crc32(data), len(data), _shift(len(data)))


def _sum(parts: Sequence[Part]) -> Part:
    """All parts as one."""
    crc, length = _checksum(parts)
    return Part(b"".join([part.deflated for part in parts]), crc, length, _shift(length))


def _checksum(parts: Sequence[Part]) -> tuple[int, int]:
    """CRC and length of all parts together."""
    crc, length = 0, 0
    for part in parts:
        crc = _times(part.shift, crc) ^ part.crc
        length += part.length
    return crc, length


def _trailer(parts: Sequence[Part]) -> bytes:
    """The end of a gzip member."""
    crc, length = _checksum(parts)
    return crc.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")


def _times(one: int, other: int) -> int:
    """Product of two polynomials over GF(2), lowest power in the highest bit, modulo that of the CRC."""
    product, bit = 0, 1 << 31
    while one and bit:
        if one & bit:
            product ^= other
            one ^= bit
        bit >>= 1
        other = (other >> 1) ^ _POLYNOMIAL if other & 1 else other >> 1
    return product


def _squares() -> list[int]:
    """x to the power of 1, 2, 4, 8, … modulo the CRC's polynomial."""
    found = [1 << 30]
    while len(found) < 64:
        found.append(_times(found[-1], found[-1]))
    return found


_SQUARES = _squares()


def _shift(length: int) -> int:
    """x to the power of the bits in so many bytes."""
    result, bits, power = 1 << 31, length * 8, 0
    while bits:
        if bits & 1:
            result = _times(_SQUARES[power], result)
        bits, power = bits >> 1, power + 1
    return result


_COMMA = _part(b",")
