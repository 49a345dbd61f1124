"""The OpenAPI documents: complete, closed over their references, and kept by their hashes."""

import asyncio
import gzip
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from pynetes import apis
from pynetes.apiserver.http import Response, request
from pynetes.apiserver.openapi import OpenAPI
from pynetes.apiserver.served import Served
from pynetes.machinery.meta import Object

SERVED = Served(apis.load())
DOCUMENTS = OpenAPI(SERVED)
LOOP = asyncio.new_event_loop()


def get(path: str, **headers: str) -> Response:
    """The answer to a GET."""
    asked = request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    found = LOOP.run_until_complete(DOCUMENTS.answer(asked))
    assert found is not None
    return found


def document(path: str) -> Object:
    """The document there."""
    body = get(path).body
    assert isinstance(body, bytes)
    found: Object = orjson.loads(body)
    return found


TARGETS = sorted(document("/openapi/v3")["paths"])


def references(value: Any) -> Iterator[str]:
    """All $refs below."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, member in value.items():
            if key == "$ref" and isinstance(member, str):
                yield member
            else:
                yield from references(member)


def resolve(root: Object, reference: str) -> Any:
    """What a reference refers to."""
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def operations(root: Object) -> Iterator[tuple[str, str, Object, list[Object]]]:
    """Path, method, operation and all its parameters."""
    for path, item in root["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                given = [*item.get("parameters", ()), *operation.get("parameters", ())]
                yield path, method, operation, [resolve(root, p["$ref"]) if "$ref" in p else p for p in given]


@pytest.mark.parametrize("target", ["v2", *(f"v3/{target}" for target in TARGETS)])
def test_every_reference_leads_somewhere(target: str) -> None:
    """No document refers to what it does not have."""
    root = document(f"/openapi/{target}")
    assert all(resolve(root, reference) for reference in set(references(root)))


@pytest.mark.parametrize("target", ["v2", *(f"v3/{target}" for target in TARGETS)])
def test_every_operation_has_its_path_parameters_and_a_name_of_its_own(target: str) -> None:
    """As client generators need it."""
    seen: set[str] = set()
    for path, _, operation, parameters in operations(document(f"/openapi/{target}")):
        assert operation["operationId"] not in seen
        seen.add(operation["operationId"])
        names = [(parameter["name"], parameter["in"]) for parameter in parameters]
        assert len(set(names)) == len(names)
        assert {name for name, place in names if place == "path"} == {
            part[1:-1] for part in path.split("/") if part.startswith("{")
        }


def explained(root: Object, schema: Object, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """The fields of a schema with those below them, as kubectl explain --recursive finds them."""
    for inner in (schema, *schema.get("allOf", ())):
        if "$ref" in inner and inner["$ref"] not in seen:
            yield from explained(root, resolve(root, inner["$ref"]), (*seen, inner["$ref"]))
        for name, member in inner.get("properties", {}).items():
            yield name
            yield from explained(root, member, seen)
        for below in ("items", "additionalProperties"):
            if isinstance(inner.get(below), dict):
                yield from explained(root, inner[below], seen)


@pytest.mark.parametrize("resource", list(SERVED), ids=lambda r: r.qualified)
def test_explain_finds_every_kind(resource: Any) -> None:
    """By the group, version and kind of an operation of its path, and then of a definition."""
    for version in resource.versions:
        target = f"apis/{resource.group}/{version}" if resource.group else f"api/{version}"
        root = document(f"/openapi/v3/{target}")
        kind = {"group": resource.group, "kind": resource.kind, "version": version}
        own = [
            schema
            for schema in root["components"]["schemas"].values()
            if kind in schema.get("x-kubernetes-group-version-kind", ())
        ]
        assert len(own) == 1
        assert own[0]["description"]
        assert {"apiVersion", "kind", "metadata"} <= set(explained(root, own[0]))
        assert kind in [operation.get("x-kubernetes-group-version-kind") for _, _, operation, _ in operations(root)]


def test_a_definition_that_contains_itself_is_written_once() -> None:
    """The schema of a CustomResourceDefinition describes schemas."""
    schemas = document("/openapi/v3/apis/apiextensions.k8s.io/v1")["components"]["schemas"]
    props = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    assert f"#/components/schemas/{props}" in set(references(schemas[props]))


def test_version_3_tells_defaults_and_version_2_does_not() -> None:
    """Fields that are always there default to their empty value; few have another."""
    three = document("/openapi/v3/api/v1")["components"]["schemas"]
    port = three["io.k8s.api.core.v1.ContainerPort"]["properties"]
    assert port["containerPort"]["default"] == 0
    assert port["protocol"]["default"] == "TCP"
    assert "default" not in port["name"]
    pod = three["io.k8s.api.core.v1.Pod"]["properties"]["spec"]
    assert (pod["default"], pod["allOf"]) == ({}, [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}])
    two = document("/openapi/v2")["definitions"]
    assert not [name for name, schema in two.items() for p in schema.get("properties", {}).values() if "default" in p]
    assert "allOf" not in two["io.k8s.api.core.v1.Pod"]["properties"]["spec"]


def test_the_values_that_a_field_may_take_are_listed() -> None:
    """In both versions, and in the description for those who only read that."""
    for schemas in (document("/openapi/v3/api/v1")["components"]["schemas"], document("/openapi/v2")["definitions"]):
        policy = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["restartPolicy"]
        assert policy["enum"] == ["Always", "Never", "OnFailure"]
        assert 'Possible enum values:\n - `"Always"`' in policy["description"]
        modes = schemas["io.k8s.api.core.v1.PersistentVolumeSpec"]["properties"]["accessModes"]
        assert "ReadWriteOnce" in modes["items"]["enum"]


def test_parameters_of_many_operations_stand_once_in_version_2() -> None:
    """Except those that old kubectls look for beside the operation."""
    root = document("/openapi/v2")
    patch = root["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"]
    assert {p["name"] for p in patch["parameters"] if "name" in p} == {"dryRun", "fieldValidation"}
    assert any(p.get("$ref", "").startswith("#/parameters/body-") for p in patch["parameters"])
    assert patch["consumes"][-1] == "application/apply-patch+yaml"
    assert root["security"] == [{"BearerToken": []}]


def test_a_document_is_kept_by_its_hash() -> None:
    """The index names each document with a hash; asked so it may be kept for ever, and its ETag is the hash."""
    for target, about in document("/openapi/v3")["paths"].items():
        found = get(about["serverRelativeURL"])
        etag = dict(found.headers)["ETag"]
        assert about["serverRelativeURL"] == f"/openapi/v3/{target}?hash={etag[1:-1]}"
        assert dict(found.headers)["Cache-Control"] == "public, immutable"
        assert get(f"/openapi/v3/{target}", if_none_match=etag).status == 304


def test_an_old_hash_leads_to_the_new_one() -> None:
    """As upstream: a permanent redirection."""
    found = get("/openapi/v3/apis/apps/v1?hash=OLD")
    assert found.status == 301
    assert get(dict(found.headers)["Location"]).status == 200


def test_version_2_and_the_index_have_an_etag() -> None:
    """A client that has the document is told so."""
    for path in ("/openapi/v2", "/openapi/v3"):
        etag = dict(get(path).headers)["ETag"]
        assert get(path, if_none_match=etag).status == 304


def test_documents_are_compressed_for_those_who_read_that() -> None:
    """In JSON and in protobuf."""
    for accept in ("application/json", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"):
        plain = get("/openapi/v3/apis/apps/v1", accept=accept)
        zipped = get("/openapi/v3/apis/apps/v1", accept=accept, accept_encoding="gzip")
        assert ("Content-Encoding", "gzip") in zipped.headers
        assert isinstance(zipped.body, bytes)
        assert gzip.decompress(zipped.body) == plain.body
