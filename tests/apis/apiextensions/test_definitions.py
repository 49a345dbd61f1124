"""Mistakes of CustomResourceDefinitions: in upstream's order, at its places, quoting its internal form."""

import json
from typing import Any

import pytest

from pynetes.apis.apiextensions import customresourcedefinitions as crds
from pynetes.machinery import regexp

ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def version(name: str = "v1", schema: Any = None, **more: Any) -> dict[str, Any]:
    """A version that is stored."""
    return {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or ANYTHING}, **more}


def definition(*versions: Any, **spec: Any) -> dict[str, Any]:
    """With accepted names, as it is when it is validated."""
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    spec = {"group": "e.com", "scope": "Namespaced", "names": names, "versions": list(versions) or [version()], **spec}
    made = {"metadata": {"name": "widgets.e.com"}, "spec": spec}
    crds.default(made)
    crds.prepare(made, None)
    return made


def told(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """Every mistake."""
    assert crds.RESOURCE.validate is not None
    return [str(error) for error in crds.RESOURCE.validate(new, old)]


def properties(**members: Any) -> dict[str, Any]:
    """A schema whose spec has these."""
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": members}}}


def test_required_names_come_before_wrong_ones() -> None:
    """And names after versions."""
    names = {"plural": "Widgets", "listKind": "X_y", "shortNames": ["a b"]}
    found = told(definition(version("V"), names=names, scope="X"))
    assert [error.partition(":")[0] for error in found] == [
        "metadata.name",
        "spec.scope",
        "spec.versions[0].name",
        "spec.names.singular",
        "spec.names.kind",
        "spec.names.plural",
        "spec.names.listKind",
        "spec.names.shortNames[0]",
    ]


def test_a_root_beside_a_status() -> None:
    """What would not hold for the status alone may not stand at the root; the whole schema is quoted."""
    schema = {**ANYTHING, "oneOf": [{"required": ["a"]}]}
    (error,) = told(definition(version(schema=schema, subresources={"status": {}})))
    head, detail = error.split(": only [Description Type ")
    place, _, quoted = head.partition(": Invalid value: ")
    assert place == "spec.validation.openAPIV3Schema"
    assert detail.endswith(
        "XValidations] fields are allowed at the root of the schema if the status subresource is enabled"
    )
    shown = json.loads(quoted)
    assert (shown["Type"], shown["XPreserveUnknownFields"], shown["OneOf"][0]["Required"]) == ("object", True, ["a"])
    assert list(shown)[:4] == ["ID", "Schema", "Ref", "Description"]


def test_versions_that_differ_are_quoted_whole() -> None:
    """What all have in common is not part of them."""
    (error,) = told(definition(version("v1", properties(a={"type": "string"})), version("v2")))
    quoted, _, detail = error.removeprefix("spec.versions: Invalid value: ").rpartition(": ")
    assert detail == "must have exactly one version marked as storage version"
    first, _ = json.loads(quoted)
    assert first["Schema"]["OpenAPIV3Schema"]["Properties"]["spec"]["Properties"]["a"]["Type"] == "string"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (
            properties(a={"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}),
            "properties[spec].properties[a].additionalProperties: Forbidden: additionalProperties and properties are"
            " mutual exclusive",
        ),
        (
            properties(a={"x-kubernetes-preserve-unknown-fields": False}),
            "properties[spec].properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or"
            " undefined",
        ),
        (
            properties(a={"type": "string", "pattern": "(?=x)"}),
            'properties[spec].properties[a].pattern: Invalid value: "(?=x)": must be a valid regular expression, but'
            " isn't: error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
        ),
    ],
)
def test_schemas(schema: Any, said: str) -> None:
    """Single mistakes."""
    assert told(definition(version(schema=schema))) == [f"spec.validation.openAPIV3Schema.{said}"]


def test_rules_are_compiled_where_the_schema_is_right() -> None:
    """A mistake elsewhere does not hide what is wrong with a rule."""
    schema = properties(l={"type": "array", "uniqueItems": True, "items": {"type": "string"}})
    rules = [{"rule": "self.b"}]
    schema["properties"]["x"] = {"type": "object", "properties": {}, "x-kubernetes-validations": rules}
    first, second = told(definition(version(schema=schema)))
    assert first.startswith("spec.validation.openAPIV3Schema.properties[spec].properties[l].uniqueItems: ")
    assert "undefined field 'b'" in second


def test_fields_to_select_by_need_the_schema_beside_them() -> None:
    """Where all versions have one schema but select by different fields, upstream finds no schema."""
    schema = properties(a={"type": "string"})
    second = version("v2", schema) | {"storage": False}
    (error,) = told(definition(version("v1", schema, selectableFields=[{"jsonPath": ".spec.a"}]), second))
    assert error.startswith('spec.versions[0].selectableFields: Invalid value: "": may only be set when')


def test_certificates_of_conversion() -> None:
    """Must be some once the definition is established, unless they were none before."""

    def with_bundle(bundle: str) -> dict[str, Any]:
        webhook = {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://a", "caBundle": bundle}}
        return definition(conversion={"strategy": "Webhook", "webhook": webhook})

    old = with_bundle("")
    old["status"]["conditions"] = [{"type": "Established", "status": "True"}]
    assert told(with_bundle("eA=="), None) == []
    assert told(with_bundle("eA=="), old) == [
        'spec.conversion.webhookClientConfig.caBundle: Invalid value: "eA==": unable to load root certificates: unable'
        " to parse bytes as PEM block"
    ]
    before = with_bundle("eQ==") | {"status": old["status"]}
    assert told(with_bundle("eA=="), before) == []


def test_patterns_are_those_of_go() -> None:
    """Which has no look-around, and ends a text where it ends."""
    assert regexp.problem("a{2,1}") == "error parsing regexp: invalid repeat count: `{2,1}`"
    assert regexp.problem("x**") == "error parsing regexp: invalid nested repetition operator: `**`"
    assert regexp.problem("[b-a]") == "error parsing regexp: invalid character class range: `b-a`"
    assert regexp.problem(r"\pL+[[:alpha:]]\z") == ""
    assert not regexp.search("^a$", "a\n")
    assert not regexp.search(r"^\d$", "٣")


def test_names_in_the_status() -> None:
    """Are looked at when it is written."""
    made = definition()
    made["status"]["acceptedNames"] = {"plural": "A"}
    assert crds.RESOURCE.validate_status is not None
    (error,) = crds.RESOURCE.validate_status(made, made)
    assert error.path == "status.acceptedNames.plural"
