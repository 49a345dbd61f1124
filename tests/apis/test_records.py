"""The records as a whole, and defaults, columns and rules of the main kinds."""

from datetime import UTC, datetime

import pytest

from pynetes import apis
from pynetes.machinery import schema, table
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


def resource(api_version: str, kind: str) -> Resource:
    """A built-in kind."""
    found = apis.by_kind(api_version, kind)
    assert found is not None
    return found


def created(obj: Object) -> Object:
    """The object as it is stored: decoded, defaulted, prepared."""
    record = resource(obj["apiVersion"], obj["kind"])
    compiled = schema.of(record, obj["apiVersion"].rpartition("/")[2])
    compiled.decode(obj)
    compiled.default(obj)
    obj["metadata"].setdefault("uid", "u1")
    if record.prepare:
        record.prepare(obj, None)
    return obj


def template() -> Object:
    """A pod template with one container."""
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}


def workload(kind: str, **spec: object) -> Object:
    """A workload of apps/v1."""
    whole = {"selector": {"matchLabels": {"app": "a"}}, "template": template(), **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": whole}


def test_names_are_unique_and_prefixes_upstreams() -> None:
    """No two kinds share a resource name or store under the same prefix, but for the two shapes of Event."""
    records = apis.load()
    assert len({(record.group, record.plural) for record in records}) == len(records)
    stored = [record.prefix for record in records if record.stored]
    assert sorted(prefix for prefix in set(stored) if stored.count(prefix) > 1) == ["/registry/events/"]
    assert resource("v1", "Service").prefix == "/registry/services/specs/"
    assert resource("v1", "Node").prefix == "/registry/minions/"


def test_defaults_are_idempotent() -> None:
    """A second pass of defaults changes nothing, for they run again after every mutation."""
    for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        obj = created(workload(kind))
        record = resource("apps/v1", kind)
        assert record.default is not None
        before = repr(obj)
        record.default(obj)
        assert repr(obj) == before


def test_pod_defaults() -> None:
    """A minimal pod gets what upstream gives it, requests from limits included."""
    container = {"name": "c", "image": "nginx:1", "resources": {"limits": {"cpu": "1"}}}
    pod = created({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [container]}})
    assert pod["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "nginx:1",
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }
    assert pod["status"] == {"phase": "Pending", "qosClass": "Burstable"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("localhost:5000/nginx", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    """Only what may move is always pulled."""
    obj = workload("ReplicaSet")
    obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
    assert created(obj)["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("status", "cells"),
    [
        ({"phase": "Pending"}, ["0/1", "Pending", "0"]),
        (
            {"phase": "Running", "containerStatuses": [{"name": "c", "ready": True, "state": {"running": {}}}]},
            ["1/1", "Running", "0"],
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "c", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
                ],
            },
            ["0/1", "CrashLoopBackOff", "4"],
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}]},
            ["0/1", "ExitCode:3", "0"],
        ),
    ],
)
def test_pod_cells(status: Object, cells: list[str]) -> None:
    """READY, STATUS and RESTARTS as kubectl prints them."""
    pod: Object = {
        "metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "c"}]},
        "status": status,
    }
    rendered = table.render(resource("v1", "Pod"), [pod], now=NOW)
    assert rendered["rows"][0]["cells"][:5] == ["x", *cells, "5m"]


def mistakes(obj: Object, old: Object | None = None) -> list[str]:
    """What the kind's own rules say."""
    record = resource(obj["apiVersion"], obj["kind"])
    assert record.validate is not None
    return [str(error) for error in record.validate(created(obj), old)]


def test_deployment_rules() -> None:
    """The selector must select the template, and some pod must be replaceable."""
    assert mistakes(workload("Deployment")) == []
    other = workload("Deployment", selector={"matchLabels": {"app": "b"}})
    assert mistakes(other) == [
        'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`'
    ]
    stuck = workload("Deployment", strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})
    assert mistakes(stuck) == [
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
    ]


def test_pod_rules() -> None:
    """All mistakes at once, each at its path."""
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "tolerations": [{"operator": "Bogus", "key": "k"}],
        },
    }
    assert mistakes(pod) == [
        "spec.containers[0].image: Required value",
        'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        'spec.tolerations[0].operator: Unsupported value: "Bogus": supported values: "Equal", "Exists"',
    ]


def test_pods_hardly_change() -> None:
    """An image may change, the node may not."""
    spec = {"containers": [{"name": "c", "image": "nginx"}]}
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    old = created(pod)
    image = {**old, "spec": {**old["spec"], "containers": [{**old["spec"]["containers"][0], "image": "other"}]}}
    assert mistakes(image, old) == []
    moved = {**old, "spec": {**old["spec"], "nodeName": "n"}}
    assert "pod updates may not change fields other than" in mistakes(moved, old)[0]


def test_secret_text_becomes_data() -> None:
    """stringData is written, never stored."""
    secret = created({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"user": "u"}})
    assert secret["data"] == {"user": "dQ=="}
    assert "stringData" not in secret
