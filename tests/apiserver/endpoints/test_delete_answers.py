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
