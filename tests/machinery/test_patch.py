"""The classic patches."""

import pytest

from pynetes import apis
from pynetes.machinery import patch, schema
from pynetes.machinery.meta import Object

DEPLOYMENT = apis.find("apps", "deployments")
assert DEPLOYMENT is not None
TYPE = schema.of(DEPLOYMENT).type


def deployment(*containers: Object) -> Object:
    """A Deployment with these containers."""
    return {"metadata": {}, "spec": {"template": {"spec": {"containers": list(containers)}}}}


def containers(obj: Object) -> list[Object]:
    """Its containers."""
    found: list[Object] = obj["spec"]["template"]["spec"]["containers"]
    return found


def test_json_patch() -> None:
    """Operations apply in order; the original stays as it was."""
    obj: Object = {"data": {"a": "1"}, "list": [1]}
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/b~1c", "value": "2"},
        {"op": "add", "path": "/list/-", "value": 2},
        {"op": "move", "from": "/data/a", "path": "/data/z"},
        {"op": "remove", "path": "/list/0"},
    ]
    assert patch.json_patch(obj, operations) == {"data": {"b/c": "2", "z": "1"}, "list": [2]}
    assert obj == {"data": {"a": "1"}, "list": [1]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "add", "path": "/none/x", "value": 1},
        {"op": "test", "path": "/data", "value": 1},
        {"op": "bogus", "path": "/data"},
        {"op": "add", "path": "/list/7", "value": 1},
        {"op": "remove", "path": ""},
        {"op": "add", "value": 1},
    ],
)
def test_json_patch_refused(operation: Object) -> None:
    """An operation that cannot be applied refuses the whole patch."""
    with pytest.raises(patch.PatchError):
        patch.json_patch({"data": {}, "list": []}, [operation])


def test_merge_patch() -> None:
    """null deletes, lists replace."""
    assert patch.merge_patch({"a": {"b": 1, "c": [1]}}, {"a": {"b": None, "c": [2]}}) == {"a": {"c": [2]}}


def test_strategic_merges_lists_by_key() -> None:
    """A container of the same name is changed, a new one stands as early as the patch's order lets it."""
    old = deployment({"name": "a", "image": "1"}, {"name": "b", "image": "1"})
    new = patch.strategic_merge(old, deployment({"name": "c", "image": "3"}, {"name": "b", "image": "2"}), TYPE)
    assert [item["name"] for item in containers(new)] == ["c", "a", "b"]
    assert containers(new)[2] == {"name": "b", "image": "2"}
    assert containers(old)[1]["image"] == "1"


def test_strategic_directives() -> None:
    """$patch deletes or replaces, $setElementOrder orders, $deleteFromPrimitiveList takes out, $retainKeys cuts."""
    old = deployment({"name": "a"}, {"name": "b"})
    gone = patch.strategic_merge(old, deployment({"name": "a", "$patch": "delete"}), TYPE)
    assert containers(gone) == [{"name": "b"}]
    replaced = patch.strategic_merge(old, deployment({"name": "x"}, {"$patch": "replace"}), TYPE)
    assert containers(replaced) == [{"name": "x"}]
    ordered = patch.strategic_merge(
        old,
        {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}}},
        TYPE,
    )
    assert [item["name"] for item in containers(ordered)] == ["b", "a"]
    held = {"metadata": {"finalizers": ["x/a", "x/b"]}}
    freed = patch.strategic_merge(held, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"]}}, TYPE)
    assert freed["metadata"]["finalizers"] == ["x/b"]
    strategy = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    recreate = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patch.strategic_merge(strategy, recreate, TYPE)["spec"]["strategy"] == {"type": "Recreate"}


def test_strategic_needs_the_key() -> None:
    """An item without its key cannot be merged."""
    with pytest.raises(patch.PatchError, match="does not contain declared merge key: name"):
        patch.strategic_merge(deployment(), deployment({"image": "x"}), TYPE)


def test_strategic_delete_leaves_what_is_empty() -> None:
    """$patch: delete empties an object that is there; one that is not there stays away, whatever the directive."""
    old = deployment({"name": "a", "livenessProbe": {"periodSeconds": 1}})
    new = patch.strategic_merge(old, deployment({"name": "a", "livenessProbe": {"$patch": "delete"}}), TYPE)
    assert containers(new) == [{"name": "a", "livenessProbe": {}}]
    absent = deployment({"name": "a", "startupProbe": {"$patch": "replace", "periodSeconds": 1}})
    assert containers(patch.strategic_merge(old, absent, TYPE)) == containers(old)


def test_strategic_deletes_before_it_merges() -> None:
    """Whatever the order of the items is; and a list of primitives goes as a whole by null."""
    old = deployment({"name": "a", "image": "1", "tty": True})
    again = deployment({"name": "a", "image": "2"}, {"name": "a", "$patch": "delete"})
    assert containers(patch.strategic_merge(old, again, TYPE)) == [{"name": "a", "image": "2"}]
    held = {"metadata": {"finalizers": ["x/a"]}}
    assert patch.strategic_merge(held, {"metadata": {"$deleteFromPrimitiveList/finalizers": None}}, TYPE) == {
        "metadata": {}
    }


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"spec": {"$patch": "merge"}}, 500, "unknown patch type: merge in map: map[$patch:merge]"),
        (deployment({"name": "a", "$patch": "merge"}), 500, "merging lists cannot yet be specified in the patch"),
        (deployment({"$patch": "other"}), 500, "unknown patch type: other in map: map[$patch:other]"),
        ({"spec": {"$retainKeys": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": ["a"], "replicas": 1}}, 400, "invalid patch format of retainKeys"),
        ({"metadata": {"$setElementOrder": []}}, 400, "invalid patch format of setElementOrder list"),
        ({"metadata": {"$deleteFromPrimitiveList": []}}, 400, "invalid patch format of primitive list"),
        ({"metadata": {"$setElementOrder/finalizers": 1}}, 500, "expected a []interface {}, but received a int64"),
        ({"metadata": {"finalizers": [["x"]]}}, 500, "list element types are not identical: [[x]]"),
        ({"metadata": {"finalizers": [1]}}, 500, "list element types are not identical: [1]"),
        (deployment("a"), 500, "list element types are not identical: [a]"),
    ],
)
def test_strategic_patches_that_do_not_fit(change: Object, code: int, text: str) -> None:
    """In upstream's words and with its code, which is an internal error where it has no better one."""
    old = deployment({"name": "a"}) | {"metadata": {"finalizers": ["x/a"]}}
    with pytest.raises(patch.PatchError) as refused:
        patch.strategic_merge(old, change, TYPE)
    assert (str(refused.value), refused.value.code) == (text, code)
