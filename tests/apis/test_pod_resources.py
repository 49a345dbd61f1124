"""A pod's own resources: defaults, rules, class of service; and what a resize may change."""

from typing import Any

import pytest

from pynetes.apis.core import _pod_resize, _pod_resources, _pod_validation, pods
from pynetes.machinery.meta import Object


def container(requests: Object | None = None, limits: Object | None = None, **members: Any) -> Object:
    resources = {name: value for name, value in (("requests", requests), ("limits", limits)) if value}
    return {"name": "c", "image": "nginx", "resources": resources, **members}


def pod(*containers: Object, **spec: Any) -> Object:
    made = {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}
    pods.default(made)
    return made


def problems(made: Object) -> list[str]:
    return [str(error) for error in _pod_validation.validate_pod(made, None)]


def test_missing_requests() -> None:
    """They are the containers' sum where containers ask, and the limit where none does."""
    made = pod(container({"cpu": "100m"}), resources={"limits": {"cpu": "1", "memory": "1Gi"}})
    assert made["spec"]["resources"]["requests"] == {"cpu": "100m", "memory": "1Gi"}


def test_huge_pages() -> None:
    """The pod's limit of huge pages is the containers' sum."""
    pages = {"hugepages-2Mi": "4Mi", "cpu": "1"}
    made = pod(container(limits=pages), resources={"requests": {"cpu": "2"}})
    assert made["spec"]["resources"]["limits"] == {"hugepages-2Mi": "4Mi"}
    assert made["spec"]["resources"]["requests"] == {"cpu": "2", "hugepages-2Mi": "4Mi"}


@pytest.mark.parametrize(
    ("spec", "quality"),
    [
        ({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}, "Guaranteed"),
        ({"resources": {"requests": {"cpu": "1"}}}, "Burstable"),
        ({}, "BestEffort"),
    ],
)
def test_class_of_service(spec: Object, quality: str) -> None:
    """What the pod says decides."""
    assert _pod_resources.qos_class(pod(container(), **spec)["spec"]) == quality


def test_a_request_of_nothing_is_no_guarantee() -> None:
    """A container limited in both that requests no cpu is burstable."""
    both = {"cpu": "1", "memory": "1Gi"}
    assert _pod_resources.qos_class(pod(container({"cpu": "0"}, both))["spec"]) == "Burstable"


def test_too_small_for_its_containers() -> None:
    """Requests cover the containers' together, limits each one's."""
    made = pod(container({"cpu": "2"}, {"cpu": "3"}), resources={"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})
    assert problems(made) == [
        'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container'
        " requests of 2",
        'spec.resources.containers[0][cpu].limits: Invalid value: "3": must be less than or equal to pod limits of 2',
    ]


def test_what_a_pod_may_ask_for() -> None:
    """Cpu, memory and huge pages, and no claims."""
    made = pod(container(), resources={"claims": [{"name": "a"}], "requests": {"ephemeral-storage": "1Gi"}})
    assert problems(made) == [
        "spec.resources.claims: Forbidden: claims cannot be set for Resources at pod-level",
        'spec.resources.requests[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu",'
        ' "hugepages-", "memory"',
    ]


def test_ephemeral_containers() -> None:
    """They have names of their own, a target that is there, and nothing that the pod could rely on."""
    made = pod(container())
    made["spec"]["ephemeralContainers"] = [
        {**container(), "terminationMessagePolicy": "File", "imagePullPolicy": "Always", "targetContainerName": "x",
         "ports": [{"containerPort": 1, "protocol": "TCP"}]}
    ]  # fmt: skip
    path = "spec.ephemeralContainers[0]"
    assert [str(error) for error in _pod_validation.validate_own(made)] == [
        f'{path}.name: Duplicate value: "c"',
        f'{path}.targetContainerName: Not found: "x"',
        f"{path}.ports: Forbidden: cannot be set for an Ephemeral Container",
    ]


SMALL, LARGE = {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "2Gi"}


def resized(old: Object, **spec: Any) -> list[str]:
    new = {**old, "spec": _pod_resize.grafted({**old["spec"], **spec}, old["spec"])}
    return [str(error) for error in _pod_resize.problems(new, old)]


def test_resize() -> None:
    """Cpu and memory change, whatever else the body says."""
    old = pod(container({"cpu": "500m"}, SMALL))
    assert resized(old, containers=[container({"cpu": "600m", "memory": "1Gi"}, LARGE, image="other")]) == []


@pytest.mark.parametrize(
    ("containers", "text"),
    [
        ([container(SMALL, SMALL)], 'spec: Invalid value: "Burstable": Pod QOS Class may not change'),
        ([container({"cpu": "500m", "memory": "1Gi"}, {"cpu": "1"})], "resource limits cannot be removed"),
        ([], "spec.containers: Forbidden: containers may not be added or removed on resize"),
        (
            [container({"cpu": "500m", "memory": "1Gi"}, SMALL, name="d")],
            "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
        ),
        (
            [container({"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1"}, SMALL)],
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
    ],
)
def test_refused_resize(containers: list[Object], text: str) -> None:
    """What a resize may not be."""
    found = resized(pod(container({"cpu": "500m"}, SMALL)), containers=containers)
    assert any(text in problem for problem in found), found


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, "static pods cannot be resized"),
        ({"status": {"containerStatuses": [{"state": {"running": {}}}]}}, "node without support for resize"),
    ],
)
def test_pods_that_are_not_resized(members: Object, text: str) -> None:
    """Mirrors, and pods of a node that cannot."""
    old = pod(container({"cpu": "500m"}, SMALL), nodeName="n") | members
    assert text in resized(old)[0]


def test_the_pods_own_resources_stay() -> None:
    """They are resized as containers' are, and not taken away."""
    old = pod(container(), resources={"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})
    assert resized(old, resources={"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}) == []
    assert resized(old, resources=None)[-1] == "spec.resources: Forbidden: pod-level resources cannot be removed"
