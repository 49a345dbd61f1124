"""SPDY/3 header blocks: pairs of name and value, in one zlib stream per direction with the protocol's dictionary."""

import struct
import zlib
from collections.abc import Mapping

_WORD = struct.Struct(">I")
#: A block from a peer may not grow beyond this when it is decompressed.
LARGEST_BLOCK = 1 << 20


def _words(text: str) -> bytes:
    return b"".join(_WORD.pack(len(word)) + word.encode() for word in text.split("|"))


#: The dictionary of the SPDY/3 protocol (section 2.6.10.1): words with their lengths, then plain text.
DICTIONARY = (
    _words(
        "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|accept-ranges|age|allow"
        "|authorization|cache-control|connection|content-base|content-encoding|content-language|content-length"
        "|content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match"
        "|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|max-forwards|pragma"
        "|proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade"
        "|user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie"
        "|keep-alive|origin"
    )
    + b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    b"404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    b"Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    b"chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    b"publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


class Compressor:
    """The blocks of one direction, which must be sent in the order in which they were packed."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, zlib.MAX_WBITS, zdict=DICTIONARY)

    def pack(self, headers: Mapping[str, str]) -> bytes:
        """A block."""
        pairs = ((name.lower().encode(), value.encode()) for name, value in headers.items())
        plain = _WORD.pack(len(headers)) + b"".join(_text(name) + _text(value) for name, value in pairs)
        return self._zlib.compress(plain) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class Decompressor:
    """The blocks of the other direction."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS, zdict=DICTIONARY)

    def unpack(self, block: bytes) -> dict[str, str]:
        """The headers of a block; the first of several values. Raises zlib.error, struct.error, ValueError."""
        plain = self._zlib.decompress(block, LARGEST_BLOCK)
        if self._zlib.unconsumed_tail:
            raise ValueError("the header block is too large")
        count, at = _WORD.unpack_from(plain)[0], 4
        headers: dict[str, str] = {}
        for _ in range(count):
            name, at = _read(plain, at)
            value, at = _read(plain, at)
            headers[name.lower()] = value.split("\0")[0]
        return headers


def _text(text: bytes) -> bytes:
    return _WORD.pack(len(text)) + text


def _read(plain: bytes, at: int) -> tuple[str, int]:
    length = _WORD.unpack_from(plain, at)[0]
    end = at + 4 + length
    if end > len(plain):
        raise ValueError("the header block is cut short")
    return plain[at + 4 : end].decode("latin-1"), end
