"""OpenAPI documents as protobuf."""

import pytest

from pynetes.apiserver.openapi import wire
from tests.apiserver.harness import api


def fields(message: bytes) -> list[tuple[int, bytes]]:
    """Number and value of every field that is delimited."""
    found, at = [], 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        match tag & 7:
            case 0:
                varint()
            case 1:
                at += 8
            case 2:
                size = varint()
                found.append((tag >> 3, message[at : at + size]))
                at += size
    return found


def test_a_document_is_written_by_its_numbers() -> None:
    schema = {"type": "object", "description": "d", "properties": {"a": {"type": "string", "default": "x"}}}
    path = {"get": {"operationId": "o", "responses": {"200": {"description": "OK"}}, "x-kubernetes-action": "get"}}
    document = {"swagger": "2.0", "paths": {"/a/": path}, "definitions": {"A": schema}}
    written = dict(fields(wire.v2(document)))
    assert written[1] == b"2.0"
    ((_, item),) = fields(written[8])
    assert fields(item)[0] == (1, b"/a/")
    operation = dict(fields(dict(fields(dict(fields(item))[2]))[2]))
    assert operation[5] == b"o" and fields(operation[13])[0] == (1, b"x-kubernetes-action")
    ((_, definition),) = fields(written[9])
    assert fields(definition)[0] == (1, b"A")
    assert [number for number, _ in fields(dict(fields(definition))[2])] == [3 + 1, 22, 25]


@pytest.mark.parametrize(("path", "release"), [("/openapi/v2", "v2"), ("/openapi/v3/api/v1", "v3")])
async def test_the_media_type_is_chosen_by_the_client(path: str, release: str) -> None:
    kind = f"application/com.github.proto-openapi.spec.{release}"
    async with api() as server:
        answer = await server.get(path, accept=f"{kind}@v1.0+protobuf")
        assert (answer.status, answer.type) == (200, f"{kind}.v1.0+protobuf")
        assert fields(answer.raw)
        assert (await server.get(path, accept=f"{kind}@v1.0+protobuf, */*")).type == answer.type
        assert (await server.get(path, accept="*/*")).type == "application/json"
        assert (await server.get(path, accept="text/html")).status == 406


def test_shared_parameters_and_security_in_version_2() -> None:
    """A reference stands in the place of a parameter; the parameters and the ways to authenticate stand at the end."""
    document = {
        "paths": {"/a": {"get": {"parameters": [{"$ref": "#/parameters/p-1"}], "schemes": ["https"]}}},
        "parameters": {"p-1": {"name": "p", "in": "query", "type": "string", "uniqueItems": True}},
        "security": [{"BearerToken": []}],
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
    }
    found = dict(fields(wire.v2(document)))
    assert set(found) == {8, 10, 12, 13}
    path = dict(fields(dict(fields(found[8]))[2]))
    operation = dict(fields(dict(fields(path[2]))[2]))
    assert dict(fields(operation[8])) == {2: b"\x0a\x10#/parameters/p-1"}
    assert operation[10] == b"https"
    entry = dict(fields(dict(fields(found[10]))[1]))
    assert entry[1] == b"p-1"
    query = dict(fields(dict(fields(dict(fields(entry[2]))[2]))[3]))
    assert (query[4], query[6]) == (b"p", b"string")
    way = dict(fields(dict(fields(found[13]))[1]))
    assert dict(fields(dict(fields(way[2]))[2]))[1] == b"apiKey"
    assert dict(fields(dict(fields(found[12]))[1]))[1] == b"BearerToken"


def test_ways_to_authenticate_in_version_3() -> None:
    """Beside the schemas."""
    schemes = {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}}
    components = dict(fields(dict(fields(wire.v3({"components": {"securitySchemes": schemes}})))[5]))
    entry = dict(fields(dict(fields(components[7]))[1]))
    assert dict(fields(dict(fields(entry[2]))[1]))[4] == b"header"
