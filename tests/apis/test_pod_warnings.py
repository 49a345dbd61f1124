"""Warnings about pods, in upstream's words."""

from typing import Any

import pytest

from pynetes.apis.core import _pod_warnings


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [{"name": "c"}]}, []),
        (
            {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
            ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'],
        ),
        (
            {"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]}]},
            [],
        ),
        (
            {"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]},
            ['spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'],
        ),
        (
            {"containers": [{"resources": {"limits": {"memory": "500m"}}}]},
            [
                "spec.containers[0].resources.limits[memory]: "
                'fractional byte value "500m" is invalid, must be an integer'
            ],
        ),
        (
            {
                "containers": [
                    {"ports": [{"containerPort": 80, "hostPort": 1}]},
                    {"ports": [{"containerPort": 80, "hostPort": 1, "hostIP": "10.0.0.1"}]},
                ]
            },
            ["spec.containers[1].ports[0]: dangerously ambiguous port definition with spec.containers[0].ports[0]"],
        ),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"path": "a/b"}, {"path": "a"}]}}]},
            ['volume "v" (Secret "s"): overlapping paths: "a" with "a/b"'],
        ),
    ],
)
def test_settings_that_are_old_or_hide_others_are_warned_of(spec: dict[str, Any], expected: list[str]) -> None:
    """One text for each, where it stands."""
    assert _pod_warnings.of_pod({"metadata": {}, "spec": spec}, None) == expected


def test_a_template_is_warned_of_only_when_it_changes() -> None:
    """The path leads to the template; the same spec again says nothing."""
    warnings = _pod_warnings.of_template("spec", "template")
    spec = {"template": {"spec": {"imagePullSecrets": [{}]}}}
    assert warnings({"spec": spec}, None) == ['spec.template.spec.imagePullSecrets[0].name: invalid empty name ""']
    assert not warnings({"spec": spec}, {"spec": spec})


def test_changes_of_pods_bring_no_warnings() -> None:
    """Kubelets and controllers make them, and nobody would read it."""
    pod = {"metadata": {}, "spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "containers": []}}
    assert _pod_warnings.of_pod(pod, None) != []
    assert _pod_warnings.of_pod(pod, pod) == []
