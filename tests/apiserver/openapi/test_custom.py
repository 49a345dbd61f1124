"""Custom kinds in the OpenAPI documents: there at once, gone at once, and in version 2 as far as that can say them."""

import asyncio
from typing import Any

from pynetes.apiserver.crd import compiled
from pynetes.apiserver.openapi import custom
from pynetes.machinery.meta import Object
from tests.apiserver.harness import API, api

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP, TARGET = "shop.example.com", "/openapi/v3/apis/shop.example.com/v1"
KIND = "com.example.shop.v1.Widget"
PRESERVE = "x-kubernetes-preserve-unknown-fields"


def crd(properties: Object, *, schema: Object | None = None, **version: Any) -> Object:
    """A definition of widgets whose spec has these properties."""
    spec = {"type": "object", "properties": properties}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "listKind": "WidgetList", "singular": "widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema or {"type": "object", "properties": {"spec": spec}}},
                    **version,
                }
            ],
        },
    }


def both(definition: Object) -> tuple[Object, Object]:
    """The kind's definitions in versions 2 and 3."""
    resource = compiled.record(definition)
    two, three = (custom.definitions_of(resource, "v1", release=release)[KIND] for release in (2, 3))
    return two, three


def spec_of(properties: Object) -> tuple[Object, Object]:
    """What becomes of a spec's properties."""
    two, three = both(crd(properties))
    return two["properties"]["spec"]["properties"], three["properties"]["spec"]["properties"]


async def until(server: API, status: int) -> None:
    """The kind is served, or not any more: the server takes definitions up a moment later."""
    async with asyncio.timeout(300):
        while (await server.get(f"/apis/{GROUP}/v1/widgets")).status != status:
            await asyncio.sleep(0)


async def test_a_custom_kind_is_there_at_once_and_gone_at_once() -> None:
    """In the index, in both versions, with its list, scale and status; its hash is that of its schema."""
    scale = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
    definition = crd({"size": {"type": "integer"}}, subresources={"status": {}, "scale": scale})
    async with api() as server:
        assert (await server.get(TARGET)).status == 404
        before = (await server.get("/openapi/v2")).headers
        assert (await server.post(CRDS, definition)).status == 201
        await until(server, 200)
        root = (await server.get(TARGET)).body
        one = f"/apis/{GROUP}/v1/namespaces/{{namespace}}/widgets/{{name}}"
        assert set(root["paths"]) == {one, f"{one}/status", f"{one}/scale", one[:-7], f"/apis/{GROUP}/v1/widgets"}
        assert {KIND, f"{KIND}List", "io.k8s.api.autoscaling.v1.Scale"} <= set(root["components"]["schemas"])
        assert root["info"]["title"] == "Kubernetes CRD Swagger"
        patch = root["paths"][one]["patch"]
        assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
        assert patch["operationId"] == "patchShopExampleComV1NamespacedWidget"
        two = (await server.get("/openapi/v2")).body
        assert {KIND, f"{KIND}List"} <= set(two["definitions"])
        assert two["paths"][f"{one}/scale"]["put"]["operationId"] == "replaceShopExampleComV1NamespacedWidgetScale"
        hashes = [(await server.get("/openapi/v3")).body["paths"]]

        definition = (await server.get(f"{CRDS}/widgets.{GROUP}")).body
        spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"]["colour"] = {"type": "string"}
        assert (await server.put(f"{CRDS}/widgets.{GROUP}", definition)).status == 200
        async with asyncio.timeout(300):
            while (await server.get("/openapi/v3")).body["paths"] == hashes[0]:
                await asyncio.sleep(0)
        root = (await server.get(TARGET)).body
        assert "colour" in root["components"]["schemas"][KIND]["properties"]["spec"]["properties"]
        hashes.append((await server.get("/openapi/v3")).body["paths"])
        changed = {target for target in hashes[0] if hashes[0][target] != hashes[1][target]}
        assert changed == {f"apis/{GROUP}/v1"}

        await server.delete(f"{CRDS}/widgets.{GROUP}")
        await until(server, 404)
        assert (await server.get(TARGET)).status == 404
        after = await server.get("/openapi/v2")
        assert KIND not in after.body["definitions"]
        assert dict(after.headers)["ETag"] == dict(before)["ETag"]


def test_version_3_tells_all_that_the_schema_tells() -> None:
    """Rules, alternatives, defaults, lists as maps, what may be null."""
    said = {
        "rule": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]},
        "either": {"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "^b"}], "default": "a"},
        "none": {"type": "string", "nullable": True},
        "rows": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}},
        },
    }  # fmt: skip
    _, three = spec_of(said)
    assert three == said


def test_version_2_leaves_out_what_it_cannot_say() -> None:
    """Alternatives and defaults; the type of what may be null, and that it is required."""
    two, _ = spec_of(
        {
            "either": {"type": "string", "oneOf": [{"pattern": "^a"}], "default": "a"},
            "none": {"type": "object", "nullable": True, "properties": {"a": {"type": "string"}}},
            "rule": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]},
        }
    )
    assert two["either"] == {"type": "string"}
    assert two["none"] == {}
    assert two["rule"]["x-kubernetes-validations"] == [{"rule": "self > 0"}]
    one = {"type": "string", "nullable": True}
    schema = {"type": "object", "required": ["a", "b"], "properties": {"a": one, "b": {"type": "string"}}}
    made, _ = spec_of({"x": schema})
    assert made["x"]["required"] == ["b"]


def test_unknown_fields_that_stay() -> None:
    """Version 2 tells no fields beside them, since kubectl would take the rest for mistakes."""
    two, three = spec_of({"free": {"type": "object", PRESERVE: True, "properties": {"a": {"type": "string"}}}})
    assert two["free"] == {PRESERVE: True}
    assert three["free"]["properties"] == {"a": {"type": "string"}}
    two, three = both(crd({}, schema={"type": "object", PRESERVE: True}))
    gvk = {"group": GROUP, "kind": "Widget", "version": "v1"}
    assert two == {"type": "object", "x-kubernetes-group-version-kind": [gvk]}
    assert three[PRESERVE] is True
    assert set(three["properties"]) == {"apiVersion", "kind", "metadata"}


def test_a_number_or_a_text() -> None:
    """x-kubernetes-int-or-string is said as a choice too, once."""
    two, three = spec_of({"port": {"x-kubernetes-int-or-string": True}})
    assert two["port"] == {"x-kubernetes-int-or-string": True}
    assert three["port"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    _, three = spec_of({"port": {"x-kubernetes-int-or-string": True, "anyOf": [{"minLength": 1}]}})
    assert three["port"]["allOf"] == [{"anyOf": [{"type": "integer"}, {"type": "string"}]}]


def test_an_object_within() -> None:
    """Has an apiVersion, a kind and metadata, and needs the first two."""
    _, three = spec_of({"inner": {"type": "object", "x-kubernetes-embedded-resource": True, PRESERVE: True}})
    assert set(three["inner"]["properties"]) == {"apiVersion", "kind", "metadata"}
    assert three["inner"]["required"] == ["kind", "apiVersion"]


def test_selectable_fields_are_told() -> None:
    """So that clients know by which fields they may select."""
    definition = crd({"colour": {"type": "string"}}, selectableFields=[{"jsonPath": ".spec.colour"}])
    for made in both(definition):
        assert made["x-kubernetes-selectable-fields"] == [{"fieldPath": "spec.colour"}]


def test_built_in_and_custom_do_not_share_a_document() -> None:
    """Every kind of a group version is found with its list, in the words that built-in ones have."""
    resource = compiled.record(crd({"a": {"type": "string"}}))
    listed = custom.definitions_of(resource, "v1", release=3)[f"{KIND}List"]
    assert listed["required"] == ["items"]
    assert listed["properties"]["items"]["description"].startswith("List of widgets. More info: ")
    assert listed["properties"]["items"]["items"] == {"$ref": f"#/components/schemas/{KIND}"}
