"""HTTP/2 as a gRPC client needs it: frames, and header blocks without shared state.

The peer is told that our header table has no entries, so its blocks mean the same every time and decoding one that was
seen before is a lookup; ours are literals, made once for each method.
"""

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache

import hpack

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x01, 0x01, 0x04, 0x08, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 1, 2, 3, 4, 5
CANCEL = 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: What a connection and its streams begin with, before SETTINGS say otherwise.
WINDOW, FRAME = 65_535, 16_384
#: Ours: as large as can be. Who reads decides how far ahead the peer may get; a store's client wants everything.
OUR_WINDOW = (1 << 31) - 1

HEAD = struct.Struct(">HBBBI")
WORD = struct.Struct(">I")
_SETTING = struct.Struct(">HI")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, encoded."""
    length = len(payload)
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def parse_settings(payload: bytes) -> Mapping[int, int]:
    """The values of a SETTINGS frame."""
    return dict(_SETTING.iter_unpack(payload))


def window_update(stream: int, by: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, WORD.pack(by))


def block(headers: Iterable[tuple[str, str]]) -> bytes:
    """A header block of literals that are not to be indexed."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in headers)


def _string(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, length = bytearray(), len(data) - 127
    while length >= 128:
        rest.append(length & 127 | 128)
        length >>= 7
    return b"\x7f" + bytes((*rest, length)) + data


@lru_cache(maxsize=256)
def parse_block(data: bytes) -> Mapping[str, str]:
    """The headers of a block from a peer that keeps no table. Raises ValueError."""
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = decoder.header_table_size = 0
    try:
        return {str(name): str(value) for name, value in decoder.decode(data)}
    except hpack.HPACKError as error:
        raise ValueError(f"a header block: {error}") from error


def without_padding(flags: int, payload: bytes) -> bytes:
    """The contents of a DATA or HEADERS frame."""
    if flags & PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & PRIORITY else payload
