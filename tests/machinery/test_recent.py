"""Findings about values that come again: they are the same as found anew, and bounded."""

from datetime import UTC, datetime
from typing import Any

from pynetes.apis.core import pods
from pynetes.apis.core._pod_validation import validate_pod
from pynetes.machinery import managedfields, schema
from pynetes.machinery.recent import Recent

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(*volumes: str, mount: str = "") -> dict[str, Any]:
    """A pod with empty volumes of these names, whose container mounts one."""
    container: dict[str, Any] = {"name": "main", "image": "app", "terminationMessagePolicy": "File"}
    container["imagePullPolicy"] = "Always"
    if mount:
        container["volumeMounts"] = [{"name": mount, "mountPath": "/token"}]
    spec = {
        "containers": [container],
        "volumes": [{"name": name, "emptyDir": {}} for name in volumes],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def problems(obj: dict[str, Any]) -> list[str]:
    """What is wrong, as text."""
    return [str(problem) for problem in validate_pod(obj, None)]


def test_the_oldest_finding_goes() -> None:
    """No more than asked for are remembered."""
    recent: Recent[int] = Recent(2)
    for key in ("a", "b", "a", "c"):
        recent.put(key, 1)
    assert len(recent) == 2
    assert recent.get("a") is None
    assert recent.get("c") == 1


def test_a_valid_spec_hides_no_mistake_of_one_like_it() -> None:
    """Two generated names may not become one, nor may a mount miss its volume, after valid pods with such names."""
    assert problems(pod("kube-api-access-aaaaa", mount="kube-api-access-aaaaa")) == []
    assert problems(pod("kube-api-access-bbbbb", mount="kube-api-access-bbbbb")) == []
    assert problems(pod("kube-api-access-aaaaa", mount="kube-api-access-bbbbb")) != []
    assert problems(pod("kube-api-access-aaaaa", "kube-api-access-bbbbb")) == []
    assert problems(pod("kube-api-access-aaaaa", "kube-api-access-aaaaa")) != []
    assert problems(pod("kube-api-access-aaaaa", "kube-api-access-aaaaa")) != []


def test_the_second_pod_of_a_template_has_the_same_managed_fields() -> None:
    """As the first, and as none before it; its own metadata counts."""
    type_ = schema.of(pods.RESOURCE, "v1").type
    recorded = []
    for labels in ({"app": "a"}, {"app": "a"}, {"tier": "b"}):
        obj = pod("data", mount="data")
        obj["metadata"]["labels"] = labels
        managedfields.update(None, obj, type_=type_, manager="test", now=NOW)
        recorded.append(obj["metadata"]["managedFields"][0]["fieldsV1"])
    assert recorded[0] == recorded[1]
    assert recorded[2]["f:spec"] == recorded[0]["f:spec"]
    assert recorded[2]["f:metadata"]["f:labels"] == {".": {}, "f:tier": {}}


def test_an_update_keeps_the_records_of_others_and_its_own() -> None:
    """What somebody else owns, and what the writer has owned already, is recorded as before."""
    type_ = schema.of(pods.RESOURCE, "v1").type
    first = pod("data", mount="data")
    managedfields.update(None, first, type_=type_, manager="maker", now=NOW)
    objects = [first]
    for address in ("10.0.0.1", "10.0.0.2"):
        new = {**objects[-1], "metadata": dict(first["metadata"]), "status": {"podIP": address}}
        new["metadata"]["managedFields"] = objects[-1]["metadata"]["managedFields"]
        managedfields.update(objects[-1], new, type_=type_, manager="kubelet", now=NOW, subresource="status")
        objects.append(new)
    kubelet, maker = objects[2]["metadata"]["managedFields"]
    assert maker == first["metadata"]["managedFields"][0]
    assert kubelet["fieldsV1"] == {"f:status": {".": {}, "f:podIP": {}}}
    assert kubelet == objects[1]["metadata"]["managedFields"][0]
