"""Custom resources that say they are of another kind, and metadata of wrong types, through the API."""

import asyncio
from typing import Any

from tests.apiserver.harness import API
from tests.apiserver.harness import api as serving
from tests.apiserver.test_custom_rules import GROUP, PATH, define, definition

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


async def test_a_custom_resource_says_what_it_is() -> None:
    """Without kind or apiVersion it is nothing; the kind is looked at after admission, so a namespace comes first."""
    async with serving() as api:
        await _create(api)
        unfit = "Widget in version \"v1\" cannot be handled as a Widget: Object 'Kind' is missing in"
        body = b'{"metadata": {"name": "b"}}'
        assert _told(await api.ask("POST", PATH, body)) == (400, f"{unfit} '{body.decode()}'")
        text = b"metadata:\n  name: b\n"
        answer = await api.ask("POST", PATH, text, content_type="application/yaml")
        assert _told(answer) == (400, f'{unfit} \'{{"metadata":{{"name":"b"}}}}\'')
        wrong = f"the API version in the data () does not match the expected API version ({GROUP}/v1)"
        assert _told(await api.post(PATH, {"kind": "Widget", "metadata": {"name": "b"}})) == (400, wrong)
        missing = await api.post(PATH.replace("default", "nowhere"), WIDGET | {"kind": "Gadget"})
        assert _told(missing) == (404, 'namespaces "nowhere" not found')


async def test_a_handler_is_found_by_the_verb_alone() -> None:
    """A custom resource is created at the path of an object too; the others need a name."""
    async with serving() as api:
        await _create(api)
        assert (await api.post(f"{PATH}/b", WIDGET | {"metadata": {"name": "c"}})).status == 201
        assert (await api.get(f"{PATH}/c")).status == 200
        assert _told(await api.put(PATH, WIDGET)) == (400, "name must be provided")
        assert _told(await api.merge(PATH, {})) == (400, "name must be provided")
        assert (await api.delete(f"/apis/{GROUP}/v1/widgets")).status == 404


async def test_only_the_status_is_looked_at_in_its_writes() -> None:
    """Its mistakes are named as the status itself names them."""
    status = {"type": "object", "required": ["r"], "properties": {"r": {"type": "integer"}}}
    async with serving() as api:
        what = definition(properties={"a": {"type": "string"}})
        version = what["spec"]["versions"][0]
        version["schema"]["openAPIV3Schema"]["properties"]["status"] = status
        version["subresources"] = {"status": {}}
        assert (await api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", what)).status == 201
        for _ in range(100):
            if (await api.post(PATH, WIDGET)).status == 201:
                break
            await asyncio.sleep(0.02)
        wrong = f'Widget.{GROUP} "a" is invalid: status.r: '
        text = 'Invalid value: "string": r in body must be of type integer: "string"'
        assert _told(await api.merge(f"{PATH}/a/status", {"status": {"r": "x"}})) == (422, wrong + text)
        assert _told(await api.merge(f"{PATH}/a/status", {"status": {}})) == (422, f"{wrong}Required value")
        refused = f'create is not supported on resources of kind "widgets.{GROUP}"'
        assert _told(await api.post(f"{PATH}/a/status", WIDGET)) == (405, refused)
