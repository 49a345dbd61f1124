"""Custom resources whose versions a webhook converts: every verb speaks the version that it is asked in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from tests.apiserver.harness import API
from tests.apiserver.harness import api as served
from tests.apiserver.hooks import hooked

GROUP = "conv.example.com"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def path(version: str, name: str = "") -> str:
    """Of a widget or of all."""
    return f"/apis/{GROUP}/{version}/namespaces/default/widgets" + (f"/{name}" if name else "")


class Webhook:
    """Calls size what v1 calls length. `spoils` changes an answer before it is sent."""

    def __init__(self) -> None:
        self.reviews = 0
        self.spoils: Any = None

    async def answer(self, request: web.Request) -> web.Response:
        """One review."""
        self.reviews += 1
        review = await request.json()
        asked = review["request"]
        converted = [self._convert(obj, asked["desiredAPIVersion"]) for obj in asked["objects"]]
        response = {"uid": asked["uid"], "result": {"status": "Success"}, "convertedObjects": converted}
        if self.spoils:
            self.spoils(response)
        return web.json_response({**review, "request": None, "response": response})

    @staticmethod
    def _convert(obj: dict[str, Any], to: str) -> dict[str, Any]:
        spec = obj["spec"]
        value = spec.get("length", spec.get("size"))
        return {**obj, "apiVersion": to, "spec": {"length" if to.endswith("/v1") else "size": value}}


@asynccontextmanager
async def converting(folder: Path, storage: str = "v1") -> AsyncIterator[tuple[API, Webhook]]:
    """A server with the definition, and its webhook."""
    hook = Webhook()
    async with served() as api, hooked(folder, hook.answer) as config:
        assert (await api.post(CRDS, definition(config, storage))).status == 201
        async with asyncio.timeout(10):
            while (await api.get(path("v1"))).status != 200:
                await asyncio.sleep(0)
        yield api, hook


def definition(config: dict[str, Any], storage: str) -> dict[str, Any]:
    """Two versions that name one field differently."""
    versions = [
        {
            "name": version,
            "served": True,
            "storage": version == storage,
            "schema": {
                "openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "properties": {field: {"type": "integer"}}}},
                }
            },
        }
        for version, field in (("v1", "length"), ("v2", "size"))
    ]
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": config, "conversionReviewVersions": ["v1"]}}
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": versions, "conversion": conversion}
    return {"metadata": {"name": f"widgets.{GROUP}"}, "spec": spec}


def widget(version: str, name: str, **spec: int) -> dict[str, Any]:
    """A widget in a version."""
    return {"apiVersion": f"{GROUP}/{version}", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


async def test_every_verb_speaks_the_version_it_is_asked_in(tmp_path: Path) -> None:
    """Create, get, list, update, patch, watch and delete; what is stored is the storage version."""
    async with converting(tmp_path) as (api, hook):
        created = await api.post(path("v2"), widget("v2", "a", size=3))
        assert (created.status, created.body["spec"]) == (201, {"size": 3})
        assert (await api.get(path("v1", "a"))).body["spec"] == {"length": 3}
        asked = hook.reviews
        assert (await api.get(path("v1", "a"))).status == 200
        assert hook.reviews == asked, "the storage version needs nobody"
        await api.post(path("v1"), widget("v1", "b", length=5))
        listed = (await api.get(path("v2"))).body
        assert [(each["apiVersion"], each["spec"]) for each in listed["items"]] == [
            (f"{GROUP}/v2", {"size": 3}),
            (f"{GROUP}/v2", {"size": 5}),
        ]
        patched = await api.merge(path("v2", "a"), {"spec": {"size": 4}})
        assert (patched.status, patched.body["spec"]) == (200, {"size": 4})
        whole = patched.body | {"spec": {"size": 6}}
        assert (await api.put(path("v2", "a"), whole)).body["spec"] == {"size": 6}
        assert (await api.get(path("v1", "a"))).body["spec"] == {"length": 6}
        watch = await api.get(f"{path('v2')}?watch=1&timeoutSeconds=1")
        first = orjson.loads((await anext(watch.stream)).splitlines()[0])
        assert first["object"]["spec"] == {"size": 6}
        await watch.stream.aclose()
        assert (await api.delete(path("v2", "a"))).status == 200


async def test_a_webhook_that_fails_fails_the_request(tmp_path: Path) -> None:
    """In upstream's words; metadata but labels and annotations cannot be changed."""
    async with converting(tmp_path) as (api, hook):
        await api.post(path("v1"), widget("v1", "a", length=1))
        about = f"conversion webhook for {GROUP}/v1, Kind=Widget"

        def renamed(response: dict[str, Any]) -> None:
            response["convertedObjects"][0]["metadata"]["name"] = "b"

        for spoils, expected in (
            (lambda response: response.update(result={"status": "Failed", "message": "no"}), f"{about} failed: no"),
            (lambda response: response.update(convertedObjects=[]), f"{about} returned 0 objects, expected 1"),
            (lambda response: response.update(uid="x"), f'{about} failed: expected response.uid="'),
            (renamed, f"{about} returned invalid object: must have the same name: a != b"),
        ):
            hook.spoils = spoils
            answer = await api.get(path("v2", "a"))
            assert answer.status == 500
            assert answer.body["message"].startswith(expected)
        hook.spoils = lambda response: response["convertedObjects"][0]["metadata"].update(
            labels={"new": "1"}, resourceVersion="9"
        )
        metadata = (await api.get(path("v2", "a"))).body["metadata"]
        assert metadata["labels"] == {"new": "1"}
        assert metadata["resourceVersion"] != "9"


async def test_objects_of_a_former_storage_version_are_converted(tmp_path: Path) -> None:
    """Also for those who ask in the new one."""
    async with converting(tmp_path) as (api, _):
        await api.post(path("v1"), widget("v1", "a", length=1))
        crd = (await api.get(f"{CRDS}/widgets.{GROUP}")).body
        for version in crd["spec"]["versions"]:
            version["storage"] = version["name"] == "v2"
        assert (await api.put(f"{CRDS}/widgets.{GROUP}", crd)).status == 200
        async with asyncio.timeout(10):
            while (await api.get(path("v2", "a"))).body["apiVersion"] != f"{GROUP}/v2":
                await asyncio.sleep(0)
        assert (await api.get(path("v2", "a"))).body["spec"] == {"size": 1}
        assert (await api.get(path("v2"))).body["items"][0]["spec"] == {"size": 1}
