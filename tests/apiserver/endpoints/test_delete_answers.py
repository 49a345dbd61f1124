"""What DELETE answers with: the object for a few kinds, a Status for all others."""

import asyncio

import pytest

from pynetes.machinery.meta import Object
from tests.apiserver.harness import api

CAPACITIES = "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities"
HELD: Object = {
    "apiVersion": "example.com/v1",
    "kind": "W",
    "metadata": {"name": "w", "finalizers": ["example.com/f"]},
}
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


async def test_the_oldest_way_to_cascade_is_told_that_it_goes_on() -> None:
    """202 while finalizers hold what orphanDependents=false deletes; 200 otherwise."""
    async with api() as server:
        path = "/api/v1/namespaces/default/configmaps"
        await server.post(path, {"metadata": {"name": "a", "finalizers": ["example.com/f"]}})
        assert (await server.delete(f"{path}/a", b'{"orphanDependents": false}')).status == 202
        assert (await server.delete(f"{path}/a", b'{"orphanDependents": true}')).status == 200


@pytest.mark.parametrize("name", ("uid", "resourceVersion"))
async def test_preconditions_count_before_admission(name: str) -> None:
    """A Namespace that may not be deleted at all: it is another one, first of all; and in upstream's other words."""
    async with api() as server:
        refused = await server.delete("/api/v1/namespaces/default", {"preconditions": {name: "x"}})
        assert refused.status == 409
        assert 'namespaces "default": Precondition failed: ' in refused.body["message"]


async def test_options_of_the_list_count_first() -> None:
    """Both are wrong: what is to be deleted, and how."""
    async with api() as server:
        path = "/api/v1/namespaces/default/configmaps?resourceVersionMatch=Exact"
        refused = await server.delete(path, {"propagationPolicy": "Never"})
        assert (refused.status, refused.body["details"]["kind"]) == (422, "ListOptions")


async def test_a_definition_is_told_to_be_on_its_way_out() -> None:
    """Terminating, pending as DELETE answers, and in progress while objects are held by finalizers."""
    async with api() as server:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        names = {"plural": "ws", "kind": "W"}
        spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]}
        await server.post(path, {"metadata": {"name": "ws.example.com"}, "spec": spec})
        while (await server.post("/apis/example.com/v1/ws", HELD)).status != 201:
            await asyncio.sleep(0)
        marked = (await server.delete(f"{path}/ws.example.com")).body
        assert "deletionGracePeriodSeconds" not in marked["metadata"]
        assert marked["metadata"]["generation"] == 1
        assert marked["status"]["conditions"][-1]["reason"] == "InstanceDeletionPending"
        reason = ""
        while reason != "InstanceDeletionInProgress":
            await asyncio.sleep(0)
            reason = (await server.get(f"{path}/ws.example.com")).body["status"]["conditions"][-1]["reason"]


async def test_all_that_is_wrong_with_options_is_told() -> None:
    """Two ways at once, and one that there is not; a number that only Python reads."""
    async with api() as server:
        path = "/api/v1/namespaces/default/configmaps/a"
        refused = await server.delete(f"{path}?propagationPolicy=Never&orphanDependents=true&dryRun=x")
        fields = [cause["field"] for cause in refused.body["details"]["causes"]]
        assert (refused.status, fields) == (422, ["propagationPolicy", "propagationPolicy", "dryRun"])
        assert (await server.delete(f"{path}?gracePeriodSeconds=1_0")).status == 400


@pytest.mark.parametrize(
    ("shape", "status", "kind"),
    [("Table", 200, "Table"), ("PartialObjectMetadataList", 200, "PartialObjectMetadataList"),
     ("PartialObjectMetadata", 406, "Status")],
)  # fmt: skip
async def test_what_was_deleted_comes_in_the_shape_that_was_asked_for(shape: str, status: int, kind: str) -> None:
    """The list of a collection; what cannot be shaped so is gone all the same."""
    async with api() as server:
        path = "/api/v1/namespaces/default/configmaps"
        await server.post(path, {"metadata": {"name": "a"}})
        accept = f"application/json;as={shape};v=v1;g=meta.k8s.io"
        answer = await server.ask("DELETE", path, accept=accept)
        assert (answer.status, answer.body["kind"]) == (status, kind)
        assert (await server.get(path)).body["items"] == []


async def test_a_watch_of_rows_is_refused_before_it_begins() -> None:
    """Rows with objects that there is no such form of."""
    async with api() as server:
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        path = "/api/v1/namespaces/default/configmaps?watch=1&includeObject=Bogus"
        answer = await server.get(path, accept=accept)
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


async def test_a_review_has_metadata_too() -> None:
    """PartialObjectMetadata of what is not stored."""
    async with api() as server:
        body = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
        answer = await server.ask(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body,
            accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        )
        assert answer.body == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {}}
