"""What a body has to say of itself, and owners that it names twice."""

import pytest

from pynetes.machinery.meta import Object
from tests.apiserver.harness import CONFIGMAPS, Asked, api

UNNAMED = "the name of the object (a based on URL) was undeterminable: name must be provided"
OWNER: Object = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}


async def test_an_update_names_its_object() -> None:
    """A PUT, and what a patch leads to."""
    async with api() as server:
        path = "/apis/apps/v1/namespaces/default/replicasets"
        labels: Object = {"matchLabels": {"a": "b"}}
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        made = await server.post(path, {"metadata": {"name": "a"}, "spec": {"selector": labels, "template": template}})
        assert made.status == 201
        answers = [
            await server.put(f"{path}/a", {"metadata": {}}),
            await server.put(f"{path}/a/status", {"metadata": {}}),
            await server.put(f"{path}/a/scale", {"spec": {"replicas": 1}}),
            await server.merge(f"{path}/a", {"metadata": {"name": None}}),
        ]
        assert [(answer.status, answer.body["message"]) for answer in answers] == [(400, UNNAMED)] * 4


def _warned(answer: Asked) -> list[str]:
    return [value for name, value in answer.headers if name == "Warning"]


@pytest.mark.parametrize("method", ("POST", "PUT", "PATCH"))
async def test_owners_are_named_once(method: str) -> None:
    """Those who are named twice go, with a warning; a patch is looked at after admission alone."""
    async with api() as server:
        body: Object = {"metadata": {"name": "a", "ownerReferences": [OWNER, OWNER, {**OWNER, "name": "q"}]}}
        if method != "POST":
            await server.post(CONFIGMAPS, {"metadata": {"name": "a"}})
        path = CONFIGMAPS if method == "POST" else f"{CONFIGMAPS}/a"
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = await server.ask(method, path, body, content_type=media)
        assert [owner["name"] for owner in answer.body["metadata"]["ownerReferences"]] == ["p", "q"]
        when = " after mutating admission happens" if method == "PATCH" else ""
        assert len(_warned(answer)) == 1
        assert f"contains duplicate entries{when}; API server" in _warned(answer)[0]
        assert 'duplicate UID(s) observed: 1"' in _warned(answer)[0]


@pytest.mark.parametrize(("version", "status"), [("5", 500), ("0", 201), ("abc", 201)])
async def test_a_new_object_has_no_version(version: str, status: int) -> None:
    """0 is none, and what is no number does not count."""
    async with api() as server:
        made = await server.post(CONFIGMAPS, {"metadata": {"name": "a", "resourceVersion": version}})
        assert made.status == status


async def test_an_update_from_a_version_that_is_no_number() -> None:
    """Upstream takes the mistake for its own."""
    async with api() as server:
        await server.post(CONFIGMAPS, {"metadata": {"name": "a"}})
        refused = await server.put(f"{CONFIGMAPS}/a", {"metadata": {"name": "a", "resourceVersion": "abc"}})
        assert (refused.status, refused.body["message"]) == (500, 'strconv.ParseUint: parsing "abc": invalid syntax')


@pytest.mark.parametrize(("given", "status"), [({"resourceVersion": "5"}, 201), ({"uid": "5"}, 409)])
async def test_a_put_that_creates(given: Object, status: int) -> None:
    """Whatever version it comes from, but not as somebody else."""
    async with api() as server:
        path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a"
        assert (await server.put(path, {"metadata": {"name": "a", **given}, "spec": {}})).status == status
