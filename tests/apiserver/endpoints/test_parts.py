"""Writes to a part of an object that has a subresource of its own are writes like any other."""

import orjson

from tests.apiserver.harness import api

POD = {
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "1"}}}]},
}
PATCH = "application/strategic-merge-patch+json"
PODS = "/api/v1/namespaces/default/pods"


async def test_who_resized() -> None:
    """A resize moves the generation, and is its writer's in managedFields; the rest of the body counts for nothing."""
    patch = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "other", "resources": {"requests": {"cpu": "2"}}}]},
    }
    async with api() as cluster:
        await cluster.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        assert (await cluster.post(PODS, POD)).status == 201
        asked = await cluster.ask("PATCH", f"{PODS}/web/resize", orjson.dumps(patch), content_type=PATCH)
    assert asked.status == 200, asked.raw
    found = asked.body["spec"]["containers"][0]
    assert (found["image"], found["resources"]) == ("nginx", {"requests": {"cpu": "2"}})
    metadata = asked.body["metadata"]
    assert metadata["generation"] == 2
    assert "labels" not in metadata
    assert [entry.get("subresource") for entry in metadata["managedFields"]] == [None, "resize"]


async def test_finalize_is_replaced_only() -> None:
    """A namespace's finalizers are written by PUT and by nothing else."""
    async with api() as cluster:
        asked = await cluster.ask("PATCH", "/api/v1/namespaces/default/finalize", b"{}", content_type=PATCH)
    assert asked.status == 405
