"""Tables: columns, descriptions, rows."""

from datetime import UTC, datetime

from pynetes import apis
from pynetes.machinery import table
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

NOW = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)
META: Object = {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}
CUSTOM = Resource(
    group="example.com",
    versions=("v1",),
    kind="Widget",
    plural="widgets",
    schema={"v1": {}},
    columns=(
        Column("Size", ".spec.size", type="integer"),
        Column("Note", ".spec.note"),
        Column("Built", ".spec.built", type="date"),
        Column.AGE,
    ),
)


def test_every_kind_renders_an_empty_list() -> None:
    """Each record's columns have names and types, and nothing about them fails without objects."""
    for resource in apis.load():
        rendered = table.render(resource, [], now=NOW)
        assert rendered["columnDefinitions"], resource.plural
        assert rendered["rows"] == []


def test_descriptions_come_from_the_schema() -> None:
    """A column that shows a field says what the field's schema says."""
    config_maps = apis.find("", "configmaps")
    assert config_maps is not None
    columns = table.render(config_maps, [], now=NOW)["columnDefinitions"]
    assert [column["name"] for column in columns] == ["Name", "Data", "Age"]
    assert all(column["description"] for column in columns)


def test_custom_columns() -> None:
    """Missing numbers are null, missing text is empty, dates are ages."""
    widget: Object = {"metadata": META, "spec": {"built": "2026-01-01T00:58:00Z"}}
    (row,) = table.render(CUSTOM, [widget], now=NOW)["rows"]
    assert row["cells"] == ["x", None, "", "2m", "60m"]
    assert row["object"]["kind"] == "PartialObjectMetadata"


def test_include() -> None:
    """The row carries metadata, the object, or nothing, as asked; headers only when wanted."""
    widget: Object = {"metadata": META, "spec": {}}
    whole = table.render(CUSTOM, [widget], now=NOW, include="Object", headers=False)
    assert whole["rows"][0]["object"] is widget
    assert whole["columnDefinitions"] == []
    assert "object" not in table.render(CUSTOM, [widget], now=NOW, include="None")["rows"][0]
