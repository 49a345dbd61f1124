"""Server-side apply and ownership."""

from datetime import UTC, datetime

import pytest

from pynetes import apis
from pynetes.machinery import apply, errors, fieldset, managedfields, schema
from pynetes.machinery.meta import Object

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG_MAP, SERVICE = apis.find("", "configmaps"), apis.find("", "services")
assert CONFIG_MAP is not None
assert SERVICE is not None
TYPE = schema.of(CONFIG_MAP).type


def config_map(**data: str) -> Object:
    """A ConfigMap x with this data."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data}


def applied(live: Object | None, manager: str, *, force: bool = False, **data: str) -> Object:
    """Apply the data as a manager."""
    return apply.apply(live, config_map(**data), type_=TYPE, manager=manager, now=NOW, force=force).obj


def owners(obj: Object) -> dict[str, Object]:
    """Manager → what it owns of data."""
    return {entry["manager"]: entry["fieldsV1"].get("f:data", {}) for entry in obj["metadata"].get("managedFields", ())}


def test_managers_share_an_object() -> None:
    """Each owns what it named; equal values are shared without conflict."""
    obj = applied(applied(None, "m1", a="1", b="1"), "m2", b="1", c="1")
    assert obj["data"] == {"a": "1", "b": "1", "c": "1"}
    assert owners(obj) == {"m1": {"f:a": {}, "f:b": {}}, "m2": {"f:b": {}, "f:c": {}}}


def test_conflict_and_force() -> None:
    """Changing another's field is refused, or taken over when forced."""
    live = applied(None, "m1", a="1")
    with pytest.raises(errors.StatusError) as caught:
        applied(live, "m2", a="2")
    assert str(caught.value) == 'Apply failed with 1 conflict: conflict with "m1": .data.a'
    assert caught.value.status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "m1"', "field": ".data.a"}
    ]
    forced = applied(live, "m2", force=True, a="2")
    assert forced["data"] == {"a": "2"}
    assert owners(forced) == {"m2": {"f:a": {}}}


def test_dropped_fields_go_unless_shared() -> None:
    """What a manager no longer names goes, unless somebody else owns it."""
    live = applied(applied(None, "m1", a="1", b="1"), "m2", b="1")
    assert applied(live, "m1", c="1")["data"] == {"b": "1", "c": "1"}


def test_no_change_keeps_the_time() -> None:
    """Applying the same again changes nothing."""
    live = applied(None, "m1", a="1")
    again = apply.apply(live, config_map(a="1"), type_=TYPE, manager="m1", now=datetime(2027, 1, 1, tzinfo=UTC))
    assert not again.changed
    assert again.obj == live


def test_updates_take_ownership() -> None:
    """An ordinary write owns what it changed and takes it from appliers."""
    live = applied(None, "m1", a="1")
    new = {**live, "metadata": dict(live["metadata"]), "data": {"a": "2"}}
    managedfields.update(live, new, type_=TYPE, manager="kubectl", now=NOW)
    assert owners(new) == {"kubectl": {"f:a": {}}}
    with pytest.raises(errors.StatusError, match='conflict with "kubectl" using v1'):
        applied(new, "m1", a="1")


def test_create_is_recorded_like_a_difference() -> None:
    """The short way to record a create gives what comparing with nothing gives."""
    assert SERVICE is not None
    type_ = schema.of(SERVICE).type
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"app": "a"}, "externalIPs": ["1.2.3.4"]},
    }
    schema.of(SERVICE).decode(service)
    empty = managedfields.empty_of(type_)
    quick = fieldset.trie_of_new(type_, empty, service)
    assert quick == fieldset.encode(fieldset.compare(type_, empty, service).written)
    assert 'k:{"port":80,"protocol":"TCP"}' in quick["f:spec"]["f:ports"]


def test_sets_read_back() -> None:
    """FieldsV1 holds exactly the paths that went in."""
    paths = {("f:a",), ("f:a", "f:b"), ("f:c", 'k:{"name":"x"}', "f:d")}
    assert fieldset.decode(fieldset.encode(paths)) == paths
