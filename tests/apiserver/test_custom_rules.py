"""CEL rules of custom resources, through the API."""

from typing import Any

from tests.apiserver.harness import API
from tests.apiserver.harness import api as serving

GROUP = "things.example.com"
PATH = f"/apis/{GROUP}/v1/namespaces/default/widgets"


def definition(**spec: Any) -> dict[str, Any]:
    """A definition whose spec has this schema."""
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    schema = {"type": "object", "properties": {"spec": {"type": "object", **spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


async def define(api: API, **spec: Any) -> Any:
    """The answer to creating the definition."""
    return await api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(**spec))


async def test_wrong_rules_are_refused_when_written() -> None:
    """A rule about a field that the schema does not have, or of a wrong type, is a mistake of the definition."""
    async with serving() as api:
        rules = [{"rule": "self.zz == 1"}, {"rule": "self.a + 1"}]
        properties = {"a": {"type": "integer"}}
        answer = await define(api, properties=properties, **{"x-kubernetes-validations": rules})
        assert answer.status == 422
        first, second = (cause["message"] for cause in answer.body["details"]["causes"])
        assert "undefined field 'zz'\n" in first
        assert second.endswith("cel expression must evaluate to a bool")


async def test_set_items_must_be_atomic() -> None:
    """Structural rules name the place in the schema."""
    async with serving() as api:
        wrong = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}
        answer = await define(api, properties={"l": wrong})
        fields = [cause["field"] for cause in answer.body["details"]["causes"]]
        assert fields == ["spec.validation.openAPIV3Schema.properties[spec].properties[l].items.x-kubernetes-map-type"]
