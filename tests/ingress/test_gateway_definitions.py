"""The add-on's CustomResourceDefinitions of the Gateway API: valid themselves, and what they refuse and keep."""

import copy
from typing import Any

import pytest

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apiserver.crd import compiled
from pynetes.cluster.addons import catalog, manifests
from pynetes.cluster.config import Cluster
from pynetes.ingress.gateway.kinds import GROUP
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.custom import CustomSchema
from tests.ingress.gateway_world import HTTP, header_filter, mirror, path, redirect, rewrite, to

DEFINITIONS: dict[str, Object] = {
    each["spec"]["names"]["kind"]: each
    for each in manifests.objects(Cluster(), [catalog.BY_NAME["ingress"]])
    if each["kind"] == "CustomResourceDefinition"
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, CustomSchema]:
    """By kind."""
    return {
        kind: CustomSchema(
            compiled.record(each), "v1", each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        )
        for kind, each in DEFINITIONS.items()
    }  # fmt: skip


def wrong(schemas: dict[str, CustomSchema], kind: str, spec: Object) -> list[str]:
    """What is said of an object with this spec, after its defaults."""
    made: Any = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": "x"}, "spec": copy.deepcopy(spec)}
    schemas[kind].default(made)
    return [str(error) for error in schemas[kind].validate(made, None, [])]


@pytest.mark.parametrize("kind", sorted(DEFINITIONS))
def test_definitions_are_valid(kind: str) -> None:
    """Structural, with rules whose cost is within bounds."""
    made = copy.deepcopy(DEFINITIONS[kind])
    made["spec"]["conversion"] = {"strategy": "None"}
    made["status"] = {"storedVersions": ["v1"]}
    validate = customresourcedefinitions.RESOURCE.validate
    assert validate is not None
    assert [str(error) for error in validate(made, None)] == []


def rule(**more: Any) -> Object:
    """A route with one rule."""
    return {"parentRefs": [{"name": "gw"}], "rules": [more]}


FULL = {"type": "ReplaceFullPath", "replaceFullPath": "/x"}


@pytest.mark.parametrize(
    ("kind", "spec", "why"),
    [
        ("HTTPRoute", rule(backendRefs=[{"name": "s"}]), "a Service needs a port"),
        ("GRPCRoute", rule(backendRefs=[{"name": "s"}]), "a Service needs a port"),
        ("HTTPRoute", rule(filters=[{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "s"}}}]),
         "a Service needs a port"),
        ("HTTPRoute", rule(**to("s", filters=[redirect()])), "a rule that redirects has no backendRefs"),
        ("HTTPRoute", rule(filters=[redirect(), rewrite()]), "a request is either redirected or rewritten"),
        ("HTTPRoute", rule(filters=[header_filter()] * 2), "only RequestMirror can be there several times"),
        ("GRPCRoute", rule(filters=[header_filter()] * 2), "only RequestMirror can be there several times"),
        ("HTTPRoute", rule(timeouts={"request": "1s", "backendRequest": "2s"}), "backendRequest cannot be longer"),
        ("HTTPRoute", rule(timeouts={"request": "1 s"}), "should match"),
        ("HTTPRoute", rule(matches=[path("Exact", "a")]), "value must be an absolute path"),
        ("HTTPRoute", rule(matches=[path("Exact", "/a//b")]), "value must not contain any of"),
        ("HTTPRoute", rule(matches=[path("PathPrefix", "/a/..")]), "value must not end with"),
        ("HTTPRoute", rule(filters=[redirect(statusCode=399)]), "Unsupported value"),
        ("HTTPRoute", rule(filters=[{"type": "CORS", "cors": {"allowOrigins": ["foo.com"]}}]), "should match"),
        ("Gateway", {"gatewayClassName": "nginx", "listeners": []}, "should have at least 1 items"),
        ("Gateway", {"gatewayClassName": "nginx", "listeners": [{**HTTP, "tls": {}}]}, "tls must not be set"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    schemas: dict[str, CustomSchema], kind: str, spec: Object, why: str
) -> None:  # fmt: skip
    """When it is written, before any condition could tell it."""
    found = wrong(schemas, kind, spec)
    assert why in found[0], found
    assert all("validation rules were not checked" in each for each in found[1:])


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("HTTPRoute", rule(**to("s", filters=[mirror("t"), mirror("t"), rewrite(path=FULL), header_filter()]))),
        ("HTTPRoute", rule(filters=[redirect(path=FULL, statusCode=308)])),
        ("HTTPRoute", rule(timeouts={"request": "0s", "backendRequest": "2s"})),
        ("HTTPRoute", rule(timeouts={"request": "1m30s", "backendRequest": "500ms"})),
        ("HTTPRoute", rule(matches=[path("RegularExpression", "a//b")])),
        ("HTTPRoute", rule(backendRefs=[{"name": "s", "kind": "Odd", "group": "x.io"}])),
        ("GRPCRoute", rule(**to("s", matches=[{"method": {"service": "a.B", "method": "C"}}]))),
        ("Gateway", {"gatewayClassName": "nginx", "listeners": [HTTP, {**HTTP, "name": "b", "port": 81}]}),
    ],
)  # fmt: skip
def test_what_can_be_meant_is_kept(schemas: dict[str, CustomSchema], kind: str, spec: Object) -> None:
    """And nothing else is refused."""
    assert wrong(schemas, kind, spec) == []


def test_what_is_not_served_is_not_lost() -> None:
    """Fields that make a Gateway one that is not accepted are kept for the controller to see."""
    spec = DEFINITIONS["Gateway"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert "parametersRef" in spec["properties"]["infrastructure"]["properties"]
    assert spec["properties"]["tls"]["x-kubernetes-preserve-unknown-fields"]
