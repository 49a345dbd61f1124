"""Versions of a custom resource that differ, names that definitions share, and definitions that change or go."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pynetes.apiserver.crd import compiled
from pynetes.machinery import table
from pynetes.machinery import time as clock
from tests.apiserver.harness import API, Asked
from tests.apiserver.harness import api as serving

GROUP = "g.example.com"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def version(name: str, schema: Any = None, **more: Any) -> dict[str, Any]:
    """A served version that is not stored."""
    return {"name": name, "served": True, "storage": False, "schema": {"openAPIV3Schema": schema or ANYTHING}, **more}


def definition(*versions: Any, plural: str = "widgets", kind: str = "Widget", **names: Any) -> dict[str, Any]:
    """The first version is the stored one."""
    first, *others = versions or (version("v1"),)
    named = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List", **names}
    spec = {"group": GROUP, "scope": "Namespaced", "names": named, "versions": [first | {"storage": True}, *others]}
    about = {"name": f"{plural}.{GROUP}"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": about,
        "spec": spec,
    }


def path(name: str = "", of: str = "v1", plural: str = "widgets") -> str:
    """Of custom resources."""
    return f"/apis/{GROUP}/{of}/namespaces/default/{plural}" + (f"/{name}" if name else "")


def widget(name: str = "w", of: str = "v1", **rest: Any) -> dict[str, Any]:
    """A custom resource."""
    return {"apiVersion": f"{GROUP}/{of}", "kind": "Widget", "metadata": {"name": name}, **rest}


async def until(ask: Callable[[], Awaitable[Asked]], fine: Callable[[Asked], bool]) -> Asked:
    """Asks until the answer is fine: definitions are followed in the background."""
    for _ in range(400):
        if fine(answer := await ask()):
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError(answer.raw)


async def served(api: API, what: dict[str, Any]) -> None:
    """Creates a definition and waits until it is served."""
    assert (await api.post(CRDS, what)).status == 201
    names, first = what["spec"]["names"], what["spec"]["versions"][0]["name"]
    await until(lambda: api.get(path(of=first, plural=names["plural"])), lambda answer: answer.status == 200)


def warnings(answer: Asked) -> list[str]:
    """Values of the Warning headers."""
    return [value for name, value in answer.headers if name == "Warning"]


async def test_each_version_has_its_own_columns_and_subresources() -> None:
    """What one version declares, another lacks."""
    scale = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}
    columns = [{"name": "A", "type": "string", "jsonPath": ".spec.a", "priority": 3}]
    first = version("v2", additionalPrinterColumns=columns, subresources={"status": {}, "scale": scale})
    async with serving() as api:
        await served(api, definition(first, version("v1")))
        assert (await api.post(path(of="v2"), widget(of="v2", spec={"a": "x", "n": 2}))).status == 201
        shown = (await api.get(path(of="v2"), accept=TABLE)).body
        assert [(each["name"], each["priority"]) for each in shown["columnDefinitions"]] == [("Name", 0), ("A", 3)]
        assert shown["rows"][0]["cells"] == ["w", "x"]
        shown = (await api.get(path(), accept=TABLE)).body
        assert [(each["name"], each["type"]) for each in shown["columnDefinitions"]] == [
            ("Name", "string"),
            ("Age", "date"),
        ]
        assert (await api.get(path("w/scale", "v2"))).body["spec"] == {"replicas": 2}
        for name in ("scale", "status", "other"):
            answer = await api.get(path(f"w/{name}"))
            assert (answer.status, answer.body["message"]) == (404, f'widgets.{GROUP} "w" not found')
        listed = (await api.get(f"/apis/{GROUP}/v2")).body["resources"]
        assert [each["name"] for each in listed] == ["widgets", "widgets/status", "widgets/scale"]
        assert listed[0]["verbs"][:2] == ["delete", "deletecollection"]
        assert [each["name"] for each in (await api.get(f"/apis/{GROUP}/v1")).body["resources"]] == ["widgets"]


async def test_deprecated_versions_warn() -> None:
    """In their own words, or with the best version that is not deprecated."""
    old = version("v1beta1", deprecated=True, deprecationWarning="go away")
    async with serving() as api:
        await served(api, definition(version("v2"), version("v1", deprecated=True), old))
        text = f"{GROUP}/v1 Widget is deprecated; use {GROUP}/v2 Widget"
        assert warnings(await api.get(path())) == [f'299 - "{text}"']
        assert warnings(await api.get(path(of="v1beta1"))) == ['299 - "go away"']
        assert warnings(await api.get(path(of="v2"))) == []


async def test_what_is_stored_is_read_by_the_schema_of_today() -> None:
    """A field that the definition has lost is gone, a new default is there."""
    before = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"b": {"type": "string"}}}}}
    after = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"c": {"type": "string", "default": "D"}}}},
    }
    async with serving() as api:
        await served(api, definition(version("v1", before)))
        assert (await api.post(path(), widget(spec={"b": "y"}))).status == 201
        changed = (await api.get(f"{CRDS}/widgets.{GROUP}")).body
        changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = after
        assert (await api.put(f"{CRDS}/widgets.{GROUP}", changed)).status == 200
        await until(lambda: api.get(path("w")), lambda answer: answer.body["spec"] == {"c": "D"})
        assert (await api.get(path())).body["items"][0]["spec"] == {"c": "D"}


async def test_names_come_free() -> None:
    """A definition that did not get all its names gets them when the other one goes."""
    second = definition(plural="gadgets", kind="Gadget", shortNames=["widget", "g", "widgets"])
    async with serving() as api:
        await served(api, definition())
        assert (await api.post(CRDS, second)).status == 201

        def waits(answer: Asked) -> bool:
            return answer.body["status"].get("conditions") is not None

        status = (await until(lambda: api.get(f"{CRDS}/gadgets.{GROUP}"), waits)).body["status"]
        accepted, established = status["conditions"]
        assert accepted["message"] == '["widget" is already in use, "widgets" is already in use]'
        assert (established["status"], established["reason"]) == ("False", "NotAccepted")
        assert "shortNames" not in status["acceptedNames"]
        assert (await api.delete(f"{CRDS}/widgets.{GROUP}")).status == 200
        await until(lambda: api.get(path(plural="gadgets")), lambda answer: answer.status == 200)
        status = (await api.get(f"{CRDS}/gadgets.{GROUP}")).body["status"]
        assert [each["status"] for each in status["conditions"]] == ["True", "True"]
        assert status["acceptedNames"]["shortNames"] == ["widget", "g", "widgets"]


async def test_names_once_established_are_kept() -> None:
    """A name that another definition has is not taken from it; what was served is served on under the old name."""
    async with serving() as api:
        await served(api, definition())
        await served(api, definition(plural="gadgets", kind="Gadget", shortNames=["g"]))
        changed = (await api.get(f"{CRDS}/gadgets.{GROUP}")).body
        changed["spec"]["names"]["shortNames"] = ["widget"]
        assert (await api.put(f"{CRDS}/gadgets.{GROUP}", changed)).status == 200

        def refused(answer: Asked) -> bool:
            return str(answer.body["status"]["conditions"][0]["status"]) == "False"

        status = (await until(lambda: api.get(f"{CRDS}/gadgets.{GROUP}"), refused)).body["status"]
        assert status["conditions"][0]["reason"] == "ShortNamesConflict"
        assert status["conditions"][1]["status"] == "True"
        assert status["acceptedNames"]["shortNames"] == ["g"]
        listed = (await api.get(f"/apis/{GROUP}/v1")).body["resources"]
        assert {each["name"]: each.get("shortNames") for each in listed} == {"gadgets": ["g"], "widgets": None}


async def test_a_definition_that_goes_lets_nothing_be_created() -> None:
    """While a finalizer holds an object, the condition Terminating says why; then the definition goes."""
    async with serving() as api:
        await served(api, definition())
        held = widget()
        held["metadata"]["finalizers"] = ["a.b/c"]
        assert (await api.post(path(), held)).status == 201
        assert (await api.delete(f"{CRDS}/widgets.{GROUP}")).status == 200
        refused = await until(lambda: api.post(path(), widget("x")), lambda answer: answer.status == 403)
        assert refused.body["message"] == (
            f'widgets.{GROUP} "x" is forbidden: create not allowed while custom resource definition is terminating'
        )
        condition = (await api.get(f"{CRDS}/widgets.{GROUP}")).body["status"]["conditions"][-1]
        assert (condition["type"], condition["reason"]) == ("Terminating", "InstanceDeletionInProgress")
        assert "create" not in (await api.get(f"/apis/{GROUP}/v1")).body["resources"][0]["verbs"]
        assert (await api.merge(path("w"), {"metadata": {"finalizers": None}})).status == 200
        await until(lambda: api.get(f"{CRDS}/widgets.{GROUP}"), lambda answer: answer.status == 404)


def test_cells_of_columns() -> None:
    """Nothing where there is nothing or another type; columns of strings show everything as text."""
    kinds = {
        "string": ("x", "3", "2.5", "true", '["a\\u003c"]', '{"a":"x","b":1}', "<no value>", None),
        "integer": (None, 3, 2, None, None, None, None, None),
        "number": (None, 3, 2.5, None, None, None, None, None),
        "boolean": (None, None, None, True, None, None, None, None),
    }
    values = {"s": "x", "i": 3, "f": 2.5, "b": True, "l": ["a<"], "m": {"b": 1, "a": "x"}, "n": None}
    obj = {"metadata": {"name": "w"}, "spec": values}
    for kind, wanted in kinds.items():
        columns = [{"name": name, "type": kind, "jsonPath": f".spec.{name}"} for name in (*values, "gone")]
        what = definition(version("v1", additionalPrinterColumns=columns))
        made = table.render(compiled.record(what), [obj], now=clock.parse("2026-01-01T00:00:00Z"))
        assert tuple(made["rows"][0]["cells"][1:]) == wanted


def test_columns_of_dates() -> None:
    """How long ago it was."""
    columns = [{"name": name, "type": "date", "jsonPath": f".{name}"} for name in ("d", "s", "e", "i")]
    what = definition(version("v1", additionalPrinterColumns=columns))
    obj = {"metadata": {"name": "w"}, "d": "2025-12-31T00:00:00Z", "s": "x", "e": "", "i": 1}
    made = table.render(compiled.record(what), [obj], now=clock.parse("2026-01-01T00:00:00Z"))
    assert made["rows"][0]["cells"] == ["w", "24h", "<invalid>", "<unknown>", None]


def _spec(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


async def test_what_the_stored_version_does_not_know_is_not_kept() -> None:
    """Written through a version that has more."""
    text = {"type": "string"}
    async with serving() as api:
        await served(api, definition(version("v1", _spec(a=text)), version("v2", _spec(a=text, b=text))))
        written = await api.post(path(of="v2"), widget(of="v2", spec={"a": "x", "b": "y"}))
        assert written.body["spec"] == {"a": "x"}


async def test_versions_select_by_their_own_fields() -> None:
    """A field that one version has is not known in the other, until the definition adds it."""
    text = {"type": "string"}
    first = version("v1", _spec(a=text, b=text), selectableFields=[{"jsonPath": ".spec.a"}])
    second = version("v2", _spec(a=text, b=text, c=text), selectableFields=[{"jsonPath": ".spec.b"}])
    async with serving() as api:
        await served(api, definition(first, second))
        assert (await api.post(path(), widget(spec={"a": "x", "b": "y"}))).status == 201
        assert (await api.get(f"{path()}?fieldSelector=spec.b=y")).status == 400
        assert len((await api.get(f"{path(of='v2')}?fieldSelector=spec.b=y")).body["items"]) == 1
        changed = (await api.get(f"{CRDS}/widgets.{GROUP}")).body
        changed["spec"]["versions"][0]["selectableFields"].append({"jsonPath": ".spec.b"})
        assert (await api.put(f"{CRDS}/widgets.{GROUP}", changed)).status == 200
        selected = f"{path()}?fieldSelector=spec.b=y"
        found = await until(lambda: api.get(selected), lambda answer: answer.status == 200)
        assert len(found.body["items"]) == 1


async def test_scale_is_decoded() -> None:
    """Wrong types are told in upstream's words, and a custom resource's is patched as custom resources are."""
    scale = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}
    async with serving() as api:
        await served(api, definition(version("v1", subresources={"scale": scale})))
        assert (await api.post(path(), widget(spec={"n": 1}))).status == 201
        wanted = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w"}, "spec": {"replicas": "x"}}
        answer = await api.put(path("w/scale"), wanted)
        why = "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32"
        assert answer.body["message"] == f'Scale in version "v1" cannot be handled as a Scale: {why}'
        answer = await api.merge(path("w/scale"), {"spec": {"replicas": "x"}})
        assert answer.status == 422
        assert answer.body["message"].endswith(why)
        media = "application/strategic-merge-patch+json"
        assert (await api.ask("PATCH", path("w/scale"), {}, content_type=media)).status == 415
        answer = await api.put(path("w/scale"), wanted | {"spec": {"replicas": 3}, "zz": 1})
        assert (answer.body["spec"], warnings(answer)) == ({"replicas": 3}, ['299 - "unknown field \\"zz\\""'])
