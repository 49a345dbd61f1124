"""What DELETE answers with: the object for a few kinds, a Status for all others."""

import pytest

from pynetes.machinery.meta import Object
from tests.apiserver.harness import api

CAPACITIES = "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities"
CASES: list[tuple[str, Object, str]] = [
    (CAPACITIES, {"storageClassName": "fast"}, "Status"),
    ("/apis/storage.k8s.io/v1/storageclasses", {"provisioner": "example.com/p"}, "StorageClass"),
    ("/api/v1/namespaces/default/serviceaccounts", {}, "ServiceAccount"),
    ("/api/v1/namespaces/default/configmaps", {}, "Status"),
]


@pytest.mark.parametrize(("path", "body", "kind"), CASES)
async def test_delete_answers_with_an_object_or_a_status(path: str, body: Object, kind: str) -> None:
    """As upstream's OpenAPI says of each kind."""
    async with api() as server:
        assert (await server.post(path, {"metadata": {"name": "a"}, **body})).status == 201
        assert (await server.delete(f"{path}/a")).body["kind"] == kind


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "couldn't get version/kind; json parse error: unexpected end of JSON input"),
        (
            b'{"gracePeriodSeconds": "a"}',
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ),
        (
            b'{"preconditions": {"uid": 5}}',
            "json: cannot unmarshal number into Go struct field Preconditions.preconditions.uid of type types.UID",
        ),
    ],
)
async def test_options_that_are_none(body: bytes, message: str) -> None:
    """400 with the decoder's own words, for one object and for many."""
    async with api() as server:
        for path in ("/api/v1/namespaces/default/configmaps/a", "/api/v1/namespaces/default/configmaps"):
            refused = await server.delete(path, body)
            assert (refused.status, refused.body["message"]) == (400, message)
