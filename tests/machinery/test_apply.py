"""Server-side apply and ownership."""

from datetime import UTC, datetime

import orjson
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


LAST = "kubectl.kubernetes.io/last-applied-configuration"


def _kept(last: Object | None = None, **data: str) -> Object:
    """What `kubectl apply` has made: its configuration in the annotation, its fields by PATCH."""
    obj = config_map(**data)
    written = obj if last is None else last
    obj["metadata"]["annotations"] = {LAST: orjson.dumps(written).decode()}
    managedfields.update(None, obj, type_=TYPE, manager="kubectl-client-side-apply", now=NOW)
    return obj


def test_kubectl_goes_over_to_the_server() -> None:
    """What it applied itself is no conflict for the manager kubectl, and the annotation follows."""
    obj = applied(_kept(a="1", b="1"), "kubectl", a="2")
    assert obj["data"] == {"a": "2", "b": "1"}
    assert owners(obj)["kubectl"] == {"f:a": {}}
    text = '{"apiVersion":"v1","data":{"a":"2"},"kind":"ConfigMap","metadata":{"name":"x"}}\n'
    assert obj["metadata"]["annotations"] == {LAST: text}


def test_only_kubectl_goes_over_and_only_with_what_is_as_it_was() -> None:
    """Others conflict, and so does what somebody has changed since; of those, only the latter are told."""
    for manager, live in (("other", _kept(a="1")), ("kubectl", _kept(config_map(a="0"), a="1"))):
        with pytest.raises(errors.StatusError, match=r"Apply failed with 1 conflict: .*: \.data\.a"):
            applied(live, manager, a="2")
    with pytest.raises(errors.StatusError, match="Apply failed with 1 conflict: "):
        applied(_kept(config_map(a="0", b="1"), a="1", b="1"), "kubectl", a="2", b="2")


@pytest.mark.parametrize("annotation", ("", "{", "[]", '{"apiVersion": "v2"}', '{"apiVersion": "v1", "data": 5}'))
def test_an_annotation_that_says_nothing_excuses_nothing(annotation: str) -> None:
    """The conflicts stay as they are."""
    live = _kept(a="1")
    live["metadata"]["annotations"][LAST] = annotation
    with pytest.raises(errors.StatusError, match="conflict"):
        applied(live, "kubectl", a="2")


def test_the_oldest_updaters_become_one() -> None:
    """Ten are kept apart; of those from the same second, the first by name go together, scales and statuses as well."""
    obj = config_map()
    for number in range(11):
        new = {**obj, "data": {**(obj.get("data") or {}), f"k{number}": "v"}}
        managedfields.update(obj, new, type_=TYPE, manager=f"m{number}", now=NOW)
        obj = new
    names = [entry["manager"] for entry in obj["metadata"]["managedFields"]]
    assert len(names) == 10 and "ancient-changes" in names
    assert not {"m0", "m1"} & set(names)
