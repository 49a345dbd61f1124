"""Autoscaling: the arithmetic of usage, what slows and steadies it, and what it does without metrics."""

from datetime import UTC, datetime, timedelta

import pytest

from pynetes.controllers.horizontalpodautoscaler import limits, replicas
from pynetes.controllers.horizontalpodautoscaler.limits import Change, Memory
from pynetes.controllers.horizontalpodautoscaler.replicas import CannotTell, Sample, Tolerances
from pynetes.machinery import time
from pynetes.machinery.meta import Object

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD = time.rfc3339(NOW - timedelta(hours=1))


def _pod(name: str, *, ready: bool = True, phase: str = "Running", started: str = OLD) -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": started}
    container = {"name": "c", "resources": {"requests": {"cpu": "1"}}}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container]},
        "status": {"phase": phase, "startTime": started, "conditions": [condition]},
    }


def _samples(**amounts: int) -> dict[str, Sample]:
    return {name: Sample(amount, NOW, timedelta(seconds=15)) for name, amount in amounts.items()}


def _by_cpu(target: int, pods: list[Object], samples: dict[str, Sample]) -> int:
    found = replicas.by_utilization(
        len(pods), target, pods, samples, resource="cpu", container="", tolerances=Tolerances(), now=NOW
    )
    return found.replicas


def test_usage_above_and_below_the_target() -> None:
    """Replicas follow the ratio, rounded up; within a tenth of the target nothing changes."""
    pods = [_pod("a"), _pod("b"), _pod("c")]
    assert _by_cpu(30, pods, _samples(a=300, b=500, c=700)) == 5
    assert _by_cpu(50, pods, _samples(a=100, b=100, c=100)) == 1
    assert _by_cpu(50, pods, _samples(a=540, b=540, c=540)) == 3
    assert _by_cpu(50, pods, _samples(a=560, b=560, c=560)) == 4


def test_pods_that_cannot_be_judged_never_make_the_change_larger() -> None:
    """Without a sample: nothing when growing, the whole request when shrinking; pods that start count as idle."""
    pods = [_pod("a"), _pod("b"), _pod("c")]
    assert _by_cpu(50, pods, _samples(a=1000, b=1000)) == 4
    assert _by_cpu(50, pods, _samples(a=100, b=100)) == 3
    starting = _pod("c", ready=False, started=time.rfc3339(NOW - timedelta(seconds=20)))
    assert _by_cpu(50, [pods[0], pods[1], starting], _samples(a=1000, b=1000, c=5000)) == 4
    with pytest.raises(CannotTell, match="did not receive metrics"):
        _by_cpu(50, pods, {})
    with pytest.raises(CannotTell, match="no pods returned"):
        _by_cpu(50, [], {})


def test_a_pod_without_a_request_is_told_by_name() -> None:
    """Per cent of nothing cannot be computed."""
    pod = _pod("a")
    pod["spec"]["containers"].append({"name": "side"})
    with pytest.raises(CannotTell, match="missing request for cpu in container side of Pod a"):
        _by_cpu(50, [pod], _samples(a=1))


def test_averages_and_values() -> None:
    """A number per pod, one number for all, and a share of a number."""
    pods = [_pod("a"), _pod("b")]
    found = replicas.by_average(2, 100, pods, _samples(a=300, b=100), tolerances=Tolerances(), now=NOW)
    assert (found.replicas, found.average) == (4, 200)
    assert replicas.by_value(2, 100, 250, pods, Tolerances()) == 5
    assert replicas.by_value(0, 100, 250, (), Tolerances()) == 3
    assert replicas.by_share(2, 100, 210, Tolerances()) == 2
    assert replicas.by_share(2, 100, 390, Tolerances()) == 4


def test_the_highest_recommendation_holds_for_five_minutes() -> None:
    """A dip takes no pods away; afterwards it may."""
    spec, memory = {"minReplicas": 1, "maxReplicas": 10}, Memory("u")
    assert limits.apply(spec, 5, 8, memory, NOW).replicas == 8
    dip = limits.apply(spec, 8, 2, memory, NOW + timedelta(minutes=4))
    assert dip.replicas == 8 and dip.able[0] == "ScaleDownStabilized"
    assert limits.apply(spec, 8, 2, memory, NOW + timedelta(minutes=10)).replicas == 2


def test_growth_without_a_behaviour_at_most_doubles() -> None:
    """Or reaches four; and never leaves the range."""
    spec = {"minReplicas": 2, "maxReplicas": 15}
    grown = limits.apply(spec, 5, 40, Memory("u"), NOW)
    assert grown.replicas == 10 and grown.limited[0] == "ScaleUpLimit"
    assert limits.apply(spec, 1, 40, Memory("u"), NOW).replicas == 4
    full = limits.apply(spec, 10, 40, Memory("u"), NOW)
    assert full.replicas == 15 and full.limited[0] == "TooManyReplicas"
    few = limits.apply(spec, 3, 1, Memory("u"), NOW)
    assert few.replicas == 2 and few.limited[0] == "TooFewReplicas"


def test_policies_limit_what_happens_in_their_period() -> None:
    """What was added within the period counts; Min takes the strictest, Disabled stops."""
    up = {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}], "stabilizationWindowSeconds": 0}
    down = {"policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}], "stabilizationWindowSeconds": 0}
    spec: Object = {"minReplicas": 1, "maxReplicas": 100, "behavior": {"scaleUp": up, "scaleDown": down}}
    memory = Memory("u", changed=[Change(NOW - timedelta(seconds=30), 1)])
    grown = limits.apply(spec, 5, 50, memory, NOW)
    assert grown.replicas == 6 and grown.limited[0] == "ScaleUpLimit"
    shrunk = limits.apply(spec, 10, 1, Memory("u"), NOW)
    assert shrunk.replicas == 5 and shrunk.limited[0] == "ScaleDownLimit"
    up["policies"] = [*up["policies"], {"type": "Percent", "value": 100, "periodSeconds": 60}]  # type: ignore[misc]
    assert limits.apply(spec, 5, 50, Memory("u"), NOW).replicas == 10
    up["selectPolicy"] = "Min"
    assert limits.apply(spec, 5, 50, Memory("u"), NOW).replicas == 7
    down["selectPolicy"] = "Disabled"
    assert limits.apply(spec, 10, 1, Memory("u"), NOW).replicas == 10


def test_windows_of_a_behaviour_hold_in_both_directions() -> None:
    """Growth waits until all recent recommendations ask for it, shrinking until none asks for more."""
    rules: Object = {"policies": [{"type": "Percent", "value": 900, "periodSeconds": 60}]}
    fall: Object = {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}]}
    behavior = {
        "scaleUp": {**rules, "stabilizationWindowSeconds": 60},
        "scaleDown": {**fall, "stabilizationWindowSeconds": 60},
    }
    spec = {"minReplicas": 1, "maxReplicas": 100, "behavior": behavior}
    memory = Memory("u", recommended=[Change(NOW - timedelta(seconds=30), 4)])
    held = limits.apply(spec, 4, 9, memory, NOW)
    assert held.replicas == 4 and held.able[0] == "ScaleUpStabilized"
    assert limits.apply(spec, 4, 9, memory, NOW + timedelta(seconds=45)).replicas == 9
    held = limits.apply(spec, 9, 2, memory, NOW + timedelta(seconds=50))
    assert held.replicas == 9 and held.able[0] == "ScaleDownStabilized"
