"""Reviews that are wrong: all that is wrong, in upstream's order and words."""

import pytest

from pynetes.machinery.meta import Object
from tests.apiserver.harness import Asked, api

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
PATH = "spec.resourceAttributes"


def _fields(refused: Asked) -> list[str]:
    assert refused.status == 422
    return [cause["field"] for cause in refused.body["details"]["causes"]]


@pytest.mark.parametrize(
    ("path", "spec", "metadata", "fields"),
    [
        ("subjectaccessreviews", {}, {}, [PATH, "spec.user"]),
        ("subjectaccessreviews", {}, {"name": "x"}, [PATH, "spec.user", "metadata"]),
        ("selfsubjectaccessreviews", {"resourceAttributes": {"fieldSelector": {}, "labelSelector": {}}}, {},
         [f"{PATH}.fieldSelector.requirements", f"{PATH}.labelSelector.requirements"]),
        ("selfsubjectaccessreviews", {"resourceAttributes": {"labelSelector": {"rawSelector": "a", "requirements": [
            {"key": "a b", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["b c"]}]}}}, {},
         [f"{PATH}.labelSelector.rawSelector", f"{PATH}.labelSelector.requirements[0].values",
          f"{PATH}.labelSelector.requirements[0].key", f"{PATH}.labelSelector.requirements[1].values",
          f"{PATH}.labelSelector.requirements[1].values[0]"]),
        ("namespaces/default/localsubjectaccessreviews", {"resourceAttributes": {"namespace": "other"},
         "nonResourceAttributes": {}}, {"name": "x"}, ["spec.nonResourceAttributes", "spec.user", "metadata",
         f"{PATH}.namespace", "spec.nonResourceAttributes"]),
    ],
)  # fmt: skip
async def test_all_that_is_wrong_is_told(path: str, spec: Object, metadata: Object, fields: list[str]) -> None:
    """Nothing stops at the first."""
    async with api() as server:
        assert _fields(await server.post(f"{AUTHORIZATION}/{path}", {"spec": spec, "metadata": metadata})) == fields


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        ({"rawSelector": "a=b"}, None),
        ({"rawSelector": "a"}, f"{PATH}.fieldSelector ignored due to parse error"),
        ({"requirements": [{"key": "a", "operator": "Later"}]}, f"{PATH}.fieldSelector ignored due to parse error"),
        (
            {"requirements": [{"key": "a", "operator": "Later"}, {"key": "a", "operator": "In", "values": ["b"]}]},
            f"{PATH}.fieldSelector partially ignored due to parse error",
        ),
    ],
)
async def test_selectors_that_are_not_understood_are_left_out(selector: Object, told: str | None) -> None:
    """The question is then a wider one, which is said."""
    async with api() as server:
        asked = {"verb": "list", "resource": "pods", "fieldSelector": selector}
        path = f"{AUTHORIZATION}/selfsubjectaccessreviews"
        answer = await server.post(path, {"spec": {"resourceAttributes": asked}})
        assert answer.body["status"].get("evaluationError") == told
