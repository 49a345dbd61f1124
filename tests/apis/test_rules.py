"""Rules of the kinds, through their records: what is refused, and the path that the mistake bears."""

from typing import Any

import pytest

from pynetes import apis
from pynetes.machinery import schema
from pynetes.machinery.meta import Object


def paths(obj: Object, old: Object | None = None, *, status: bool = False) -> list[str]:
    """The paths of all mistakes of an object, decoded and defaulted as a request's body is."""
    record = apis.by_kind(obj["apiVersion"], obj["kind"])
    assert record is not None
    for each in (obj, old):
        if each is not None:
            compiled = schema.of(record, obj["apiVersion"].rpartition("/")[2])
            compiled.decode(each)
            compiled.default(each)
    hook = record.validate_status if status else record.validate
    assert hook is not None
    return [error.path for error in hook(obj, old)]


def made(api_version: str, kind: str, **members: Any) -> Object:
    """An object of that kind named x."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "d"}, **members}


def pod(**spec: Any) -> Object:
    """A pod with one container."""
    return made("v1", "Pod", spec={"containers": [{"name": "c", "image": "nginx"}], **spec})


CASES = (
    (
        made("storage.k8s.io/v1", "VolumeAttachment", spec={"attacher": "a", "nodeName": "n", "source": {}}),
        "spec.source",
    ),
    (made("storage.k8s.io/v1", "VolumeAttributesClass", driverName="d"), "parameters"),
    (made("storage.k8s.io/v1", "CSINode", spec={"drivers": [{"name": "d", "nodeID": ""}]}), "spec.drivers[0].nodeID"),
    (made("storage.k8s.io/v1", "CSIDriver", spec={"fsGroupPolicy": "No"}), "spec.fsGroupPolicy"),
    (made("networking.k8s.io/v1", "IngressClass", spec={"controller": "plain"}), "spec.controller"),
    (made("v1", "Endpoints", subsets=[{}]), "subsets[0]"),
    (made("v1", "Endpoints", subsets=[{"addresses": [{"ip": "127.0.0.1"}]}]), "subsets[0].addresses[0].ip"),
    (made("v1", "ResourceQuota", spec={"hard": {"pods": "1.5"}}), "spec.hard[pods]"),
    (made("v1", "LimitRange", spec={"limits": [{"type": "Pod", "default": {"cpu": "1"}}]}), "spec.limits[0].default"),
    (
        made("v1", "LimitRange", spec={"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}),
        "spec.limits[0].min[cpu]",
    ),
    (
        made("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", spec={"priorityLevelConfiguration": {"name": ""}}),
        "spec.priorityLevelConfiguration.name",
    ),
    (
        made("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", spec={"type": "Limited"}),
        "spec.limited",
    ),
    (pod(securityContext={"runAsUser": -1}), "spec.securityContext.runAsUser"),
    (pod(os={"name": "windows"}, hostPID=True), "spec.hostPID"),
    (pod(dnsConfig={"nameservers": ["x"]}), "spec.dnsConfig.nameservers[0]"),
    (pod(securityContext={"sysctls": [{"name": "A B", "value": "1"}]}), "spec.securityContext.sysctls[0].name"),
    (
        pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}}),
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
    ),
    (pod(schedulingGates=[{"name": "a"}, {"name": "a"}]), "spec.schedulingGates[1]"),
)


@pytest.mark.parametrize(("obj", "path"), CASES, ids=[f"{obj['kind']}-{path}" for obj, path in CASES])
def test_a_mistake_is_found_where_it_is(obj: Object, path: str) -> None:
    """Each of these has the mistake at the path."""
    assert path in paths(obj)


def test_a_sound_pod_has_no_mistakes() -> None:
    """What the new rules look at may also be right."""
    good = pod(
        securityContext={"runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}, "fsGroup": 2},
        os={"name": "linux"},
        dnsConfig={"nameservers": ["1.1.1.1"], "searches": ["a.example"]},
        schedulingGates=[{"name": "example.com/a"}],
    )
    assert paths(good) == []


def test_the_parts_of_a_status_are_at_most_the_whole() -> None:
    """readyReplicas beyond replicas are refused."""
    deployment = made("apps/v1", "Deployment", spec={"template": {}}, status={"replicas": 1, "readyReplicas": 2})
    assert paths(deployment, status=True) == ["status.readyReplicas"]


def test_a_job_completes_with_its_times() -> None:
    """Complete needs a start, an end and the criteria met."""
    job = made(
        "batch/v1", "Job", spec={"template": {}}, status={"conditions": [{"type": "Complete", "status": "True"}]}
    )
    found = paths(job, made("batch/v1", "Job", spec={"template": {}}), status=True)
    assert found == ["status.completionTime", "status.conditions", "status.startTime"]


def test_a_gated_pod_may_lose_gates_and_not_gain_any() -> None:
    """The message names the new gate's place."""
    old = pod(schedulingGates=[{"name": "a"}])
    assert paths(pod(schedulingGates=[{"name": "a"}, {"name": "b"}]), old) == ["spec.schedulingGates[1].name"]
    assert paths(pod(), pod(schedulingGates=[{"name": "a"}])) == []


def test_claim_templates_are_volumes() -> None:
    """What containers mount may come from claim templates; anything else must be in the template."""
    container = {"name": "c", "image": "nginx", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    spec = {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template}
    assert paths(made("apps/v1", "StatefulSet", spec=spec)) == ["spec.template.spec.containers[0].volumeMounts[0].name"]
    assert not paths(made("apps/v1", "StatefulSet", spec={**spec, "volumeClaimTemplates": [claim]}))
