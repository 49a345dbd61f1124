"""gzip of large answers: one member, kept by blocks."""

import gzip
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynetes.apiserver import compression
from tests.apiserver.harness import CONFIGMAPS, api, configmap


@given(st.lists(st.binary(max_size=200)))
def test_the_checksum_of_parts_is_that_of_the_whole(pieces: list[bytes]) -> None:
    """Otherwise a client would refuse the stream."""
    parts = [compression._part(piece) for piece in pieces]
    whole = b"".join(pieces)
    assert compression._trailer(parts) == zlib.crc32(whole).to_bytes(4, "little") + len(whole).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("header", "takes"),
    [("gzip", True), ("deflate, gzip;q=0.5", True), ("", False), ("identity", False), ("gzip;q=0", False)],
)
def test_who_takes_gzip(header: str, takes: bool) -> None:
    """As the header says, and not when it gives it no weight."""
    assert compression.accepted(header) is takes


async def test_a_large_list_is_one_gzip_member_that_follows_changes() -> None:
    """curl reads only the first member; and kept blocks must never show what has been changed since."""
    async with api() as cluster:
        for number in range(200):
            assert (await cluster.post(CONFIGMAPS, configmap(f"c-{number}", x=str(number) * 500))).status == 201
        for value in ("first", "second"):
            assert (await cluster.merge(f"{CONFIGMAPS}/c-7", {"data": {"x": value}})).status == 200
            plain = await cluster.ask("GET", CONFIGMAPS)
            zipped = await cluster.ask("GET", CONFIGMAPS, accept_encoding="gzip")
            assert ("Content-Encoding", "gzip") in zipped.headers
            member = zlib.decompressobj(wbits=31)
            assert member.decompress(zipped.raw) == plain.raw
            assert member.eof
            assert not member.unused_data
            assert {"x": value} in [item.get("data") for item in orjson.loads(plain.raw)["items"]]


async def test_small_and_other_answers_are_left_as_they_are_or_wholly_compressed() -> None:
    """Under 128 KiB nothing is gained; a table or a large object is compressed in one piece."""
    async with api() as cluster:
        body = configmap("large", x="y" * 200_000)
        assert (await cluster.post(CONFIGMAPS, body)).status == 201
        zipped = await cluster.ask("GET", f"{CONFIGMAPS}/large", accept_encoding="gzip")
        assert orjson.loads(gzip.decompress(zipped.raw))["data"] == body["data"]
        small = await cluster.ask("GET", "/api/v1/namespaces/default", accept_encoding="gzip")
        assert not any(name == "Content-Encoding" for name, _ in small.headers)
        assert small.body["kind"] in ("Namespace", "Status")
