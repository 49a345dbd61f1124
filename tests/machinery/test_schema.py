"""Decoding: normalisation, unknown fields, wrong types."""

import pytest

from pynetes import apis
from pynetes.machinery import errors, schema
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import openapi


def of(group: str, plural: str) -> schema.Schema:
    """The schema of a built-in kind."""
    resource = apis.find(group, plural)
    assert resource is not None
    return schema.of(resource)


def test_every_kind_has_a_schema() -> None:
    """Every record's versions compile and accept an empty object."""
    for resource in apis.load():
        for version in resource.versions:
            assert schema.of(resource, version).decode({}) == []


def test_normalises() -> None:
    """null and zero values go, quantities become canonical, structs that Go always writes appear."""
    pod: Object = {
        "metadata": {"name": "x", "labels": {}, "annotations": None},
        "spec": {
            "hostNetwork": False,
            "nodeName": "",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1000m"}}}],
        },
    }
    assert of("", "pods").decode(pod) == []
    assert pod == {
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {},
    }


def test_unknown_fields_go_and_are_named() -> None:
    """Pruning reports paths with indexes, so that strict clients see what they misspelt."""
    deployment: Object = {
        "metadata": {"bogus": 1},
        "spec": {"replica": 2, "template": {"spec": {"containers": [{"imagePullpolicy": "Always"}]}}},
    }
    assert of("apps", "deployments").decode(deployment) == [
        "metadata.bogus",
        "spec.replica",
        "spec.template.spec.containers[0].imagePullpolicy",
    ]
    assert "replica" not in deployment["spec"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"metadata": "x"}, "json: cannot unmarshal string into Go struct field Pod.metadata of type v1.ObjectMeta"),
        (
            {"spec": {"restartPolicy": 5}},
            "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
        ),
        (
            {"metadata": {"uid": 5}},
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.uid of type types.UID",
        ),
        (
            {"metadata": {"ownerReferences": {}}},
            "json: cannot unmarshal object into Go struct field "
            "ObjectMeta.metadata.ownerReferences of type []v1.OwnerReference",
        ),
        (
            {"spec": {"containers": [{"securityContext": {"capabilities": {"add": [5]}}}]}},
            "json: cannot unmarshal number into Go struct field "
            "Capabilities.spec.containers.securityContext.capabilities.add of type v1.Capability",
        ),
        (
            {"spec": {"overhead": {"cpu": {}}}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            {"spec": {"terminationGracePeriodSeconds": "30"}},
            "json: cannot unmarshal string into Go struct field "
            "PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            {"spec": {"containers": [{"ports": [{"containerPort": 99999999999}]}]}},
            "json: cannot unmarshal number 99999999999 into Go struct field "
            "ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            {"metadata": {"labels": {"a": 1}}},
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
    ],
)
def test_wrong_types(body: Object, message: str) -> None:
    """A wrong type is a 400 in the words of Go's decoder."""
    with pytest.raises(errors.StatusError) as caught:
        of("", "pods").decode(body)
    assert str(caught.value) == f'Pod in version "v1" cannot be handled as a Pod: {message}'
    assert caught.value.code == 400


def test_recursive_definitions() -> None:
    """A CRD's schema contains itself, and is checked all the way down."""
    props: Object = {"properties": {"a": {"items": {"type": "string"}}}}
    crd: Object = {"spec": {"versions": [{"schema": {"openAPIV3Schema": props}}]}}
    compiled = of("apiextensions.k8s.io", "customresourcedefinitions")
    assert compiled.decode(crd) == []
    props["properties"]["a"]["items"]["bogus"] = 1
    unknown = compiled.decode(crd)
    assert unknown == ["spec.versions[0].schema.openAPIV3Schema.properties.a.items.bogus"]


def test_openapi_closes_over_references() -> None:
    """A group's document contains all that its kinds refer to, without the null types of JSON Schema."""
    document = openapi.v3_schemas(["io.k8s.api.apps.v1.DeploymentList"])
    assert "io.k8s.api.core.v1.PodSpec" in document
    deployment = document["io.k8s.api.apps.v1.Deployment"]
    assert deployment["properties"]["kind"]["type"] == "string"
    assert deployment["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
