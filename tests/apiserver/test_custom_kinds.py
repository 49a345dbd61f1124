"""Custom resources that say they are of another kind, and metadata of wrong types, through the API."""

import asyncio
from typing import Any

from tests.apiserver.harness import API
from tests.apiserver.harness import api as serving
from tests.apiserver.test_custom_rules import GROUP, PATH, define

WIDGET = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {}}


async def _create(api: API) -> None:
    await define(api)
    for _ in range(100):
        if (await api.post(PATH, WIDGET)).status == 201:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the kind is not served")


def _told(answer: Any) -> tuple[int, str]:
    return answer.status, answer.body["message"]


async def test_the_kind_of_a_custom_resource_stays() -> None:
    """Neither a body nor a patch makes it another kind or version."""
    async with serving() as api:
        await _create(api)
        wrong = f'Gadget.{GROUP} "a" is invalid: kind: Invalid value: "Gadget": must be Widget'
        assert _told(await api.post(PATH, WIDGET | {"kind": "Gadget"})) == (422, wrong)
        assert _told(await api.merge(f"{PATH}/a", {"kind": "Gadget"})) == (422, wrong)
        wrong = f'Widget.other "a" is invalid: apiVersion: Invalid value: "other/v1": must be {GROUP}/v1'
        assert _told(await api.merge(f"{PATH}/a", {"apiVersion": "other/v1"})) == (422, wrong)
        assert (await api.get(f"{PATH}/a")).body["kind"] == "Widget"


async def test_metadata_of_wrong_types() -> None:
    """Is told as for built-in kinds; a patch is quoted with what it led to."""
    async with serving() as api:
        await _create(api)
        unfit = 'Widget in version "v1" cannot be handled as a Widget: json: cannot unmarshal'
        wrong = {"name": "b", "labels": {"a": 1}}
        number = "number into Go struct field ObjectMeta.labels of type string"
        assert _told(await api.post(PATH, WIDGET | {"metadata": wrong})) == (400, f"{unfit} {number}")
        text = f"{unfit} string into Go value of type v1.ObjectMeta"
        assert _told(await api.post(PATH, WIDGET | {"metadata": "b"})) == (400, text)
        status, message = _told(await api.merge(f"{PATH}/a", {"metadata": {"labels": {"a": 1}}}))
        assert status == 422
        assert message.startswith(' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":')
        assert message.endswith(number)
