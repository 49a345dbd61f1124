"""Workloads, Services and data: what upstream refuses, in its words and its order."""

import copy
from typing import Any

import pytest

from pynetes import apis
from pynetes.machinery import schema
from pynetes.machinery.meta import Object

POD: Object = {"restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]}


def made(api_version: str, kind: str, **members: Any) -> Object:
    """An object of that kind named x, decoded and defaulted as a request's body is."""
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "d", "uid": "u"}, **members}
    record = apis.by_kind(api_version, kind)
    assert record is not None
    compiled = schema.of(record, api_version.rpartition("/")[2])
    obj = copy.deepcopy(obj)
    compiled.decode(obj)
    compiled.default(obj)
    return obj


def found(new: Object, old: Object | None = None) -> list[str]:
    """All mistakes, in order."""
    record = apis.by_kind(new["apiVersion"], new["kind"])
    assert record is not None
    assert record.validate is not None
    return [str(error) for error in record.validate(new, old)]


def job(**spec: Any) -> Object:
    """A Job as it is when it is validated."""
    template = {"spec": POD | {"restartPolicy": "Never"}}
    obj = made("batch/v1", "Job", spec={"template": template, **spec})
    record = apis.by_kind("batch/v1", "Job")
    assert record is not None
    assert record.prepare is not None
    record.prepare(obj, None)
    return obj


def test_a_jobs_selector_is_made_for_it() -> None:
    """Who wants another one says so; labels that the Job's pods get anyway are not somebody else's."""
    (mistake, _) = found(job(selector={"matchLabels": {"a": "b"}}))
    assert mistake.startswith('spec.selector: Invalid value: {"matchLabels":{"a":"b",')
    assert mistake.endswith("`selector` not auto-generated")
    template = {"metadata": {"labels": {"job-name": "y"}}, "spec": POD | {"restartPolicy": "Never"}}
    assert "spec.template.metadata.labels[job-name]" in found(job(template=template))[0]
    assert found(job()) == []


def test_bounds_of_indexed_jobs() -> None:
    """No more pods at once than are allowed, and hosts whose names are names."""
    indexed = job(completionMode="Indexed", completions=200_000, parallelism=100_001, backoffLimitPerIndex=1)
    few = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index"
    assert found(indexed) == [
        "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
        "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
        f"spec.parallelism: Invalid value: 100001: {few}",
    ]
    long = job(completionMode="Indexed", completions=2)
    long["metadata"]["name"] = "a.b"
    last = "will not able to create pod with invalid DNS label: a.b-1"
    assert found(long)[-1] == f'metadata.name: Invalid value: "a.b": {last}'


def test_a_suspended_job_may_still_be_sent_elsewhere() -> None:
    """Where its pods go and what they get may change, what they run may not; completions follow parallelism."""
    old = job(suspend=True)
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"] |= {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}
    new["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}}
    new["spec"]["template"]["spec"]["affinity"] = {"nodeAffinity": {}}
    assert found(new, old) == []
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "j"
    assert [error.partition(":")[0] for error in found(new, old)] == ["spec.template"]
    old = job(completionMode="Indexed", completions=2, parallelism=2)
    new = copy.deepcopy(old)
    new["spec"] |= {"completions": 3, "parallelism": 3}
    assert found(new, old) == []
    new["spec"]["parallelism"] = 2
    tandem = "spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"
    assert found(new, old) == [tandem]


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (
            made("apps/v1", "ReplicaSet", spec={"selector": {}, "template": {"spec": POD}}),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ),
        (
            made(
                "apps/v1",
                "StatefulSet",
                spec={
                    "serviceName": "A",
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD},
                },
            ),
            'spec.serviceName: Invalid value: "A": a lowercase RFC 1123 label',
        ),
        (
            made("v1", "Node", status={"capacity": {"kubernetes.io/x": "1500m", "a.b/c": "1500m"}}),
            'status.capacity.a.b/c: Invalid value: "1500m": must be an integer',
        ),
        (
            made("v1", "Node", spec={"taints": [{"key": "k", "value": "-" * 64, "effect": "NoSchedule"}]}),
            f'metadata.taints[0].value: Invalid value: "{"-" * 64}": must be no more than 63 bytes;a valid label must',
        ),
        (
            made(
                "v1",
                "ReplicationController",
                spec={
                    "replicas": -1,
                    "template": {
                        "metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "x"}},
                        "spec": POD,
                    },
                },
            ),
            "spec.selector: Required value",
        ),
        (
            made("v1", "LimitRange", spec={"limits": [{"type": "Container", "max": {"requests.a/b": "1"}}]}),
            'spec.limits[0].max[requests.a/b]: Invalid value: "requests.a/b": doesn\'t follow extended resource',
        ),
        (
            made("v1", "LimitRange", spec={"limits": [{"type": "A B"}]}),
            'spec.limits[0].type: Invalid value: "A B": name part must consist of alphanumeric',
        ),
    ],
)
def test_the_first_mistake(obj: Object, expected: str) -> None:
    """Of objects with mistakes that are easily found in another order, or not at all."""
    assert found(obj)[0].startswith(expected), found(obj)


def test_what_is_immutable_comes_first() -> None:
    """In Secrets, ConfigMaps and Services."""
    old = made("v1", "ConfigMap", data={"a": "b"}, immutable=True)
    new = made("v1", "ConfigMap", data={"a b": "b"}, immutable=True)
    assert [error.partition(":")[0] for error in found(new, old)] == ["data", "data[a b]"]
    old = made("v1", "Service", spec={"type": "LoadBalancer", "loadBalancerClass": "a/b", "ports": [{"port": 1}]})
    new = made("v1", "Service", spec={"type": "LoadBalancer", "loadBalancerClass": "a b", "ports": [{"port": 0}]})
    paths = [error.partition(":")[0] for error in found(new, old)]
    assert paths == ["spec.loadBalancerClass"] * 2 + ["spec.ports[0].port", "spec.ports[0].targetPort"] + [
        "spec.loadBalancerClass"
    ]


def test_ports_of_the_hosts_network_are_a_pods() -> None:
    """A template keeps what it was given."""
    spec: Object = {"hostNetwork": True, "containers": [{"name": "a", "image": "b", "ports": [{"containerPort": 80}]}]}
    pod = made("v1", "Pod", spec=spec)
    assert pod["spec"]["containers"][0]["ports"][0]["hostPort"] == 80
    deployment = made("apps/v1", "Deployment", spec={"template": {"spec": spec}})
    assert "hostPort" not in deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]
