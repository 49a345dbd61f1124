"""Statuses made from spec and runtime."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pynetes.kubelet import status, status_manager
from pynetes.kubelet.cri.state import State
from pynetes.kubelet.status import Facts, Waiting
from pynetes.machinery.meta import Object
from tests.kubelet.test_lifecycle import init, made, pod, runs

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def generate(obj: Object, *containers: Any, **facts: Any) -> Object:
    """The status."""
    return status.generate(obj, runs(*containers), Facts(now=NOW, host_ips=("10.9.9.9",), **facts))


def condition(made_status: Object, kind: str) -> Object:
    """One of its conditions."""
    return next(one for one in made_status["conditions"] if one["type"] == kind)


def test_a_running_pod() -> None:
    """Phase, addresses, conditions and the container's state."""
    shown = generate(pod(), made("c", started=NOW, image="i", image_id="sha256:x"))
    assert (shown["phase"], shown["podIP"], shown["hostIP"]) == ("Running", "10.0.0.1", "10.9.9.9")
    assert shown["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    assert shown["containerStatuses"][0]["containerID"] == "containerd://id-c"
    assert [one["status"] for one in shown["conditions"]] == ["True"] * 5


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "Running"),
        ("Always", 0, "Running"),
    ],
)
def test_phase_follows_policy_and_exit_code(policy: str, code: int, phase: str) -> None:
    """As the Pod Lifecycle page has it."""
    assert generate(pod(policy=policy), made("c", State.EXITED, exit_code=code))["phase"] == phase


def test_a_terminal_pod_ends_whatever_its_policy() -> None:
    """What the kubelet has stopped for good has succeeded or failed."""
    assert generate(pod(), made("c", State.EXITED), terminal=True)["phase"] == "Succeeded"
    assert generate(pod(), made("c", State.EXITED, exit_code=137), terminal=True)["phase"] == "Failed"


def test_waiting_containers() -> None:
    """The reason is the worker's, or that the container is being made; init containers are waited for by name."""
    shown = generate(pod(inits=(init("one"),)), made("one"))
    assert shown["phase"] == "Pending"
    assert shown["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert condition(shown, "Initialized")["message"] == "containers with incomplete status: [one]"
    assert condition(shown, "Ready")["message"] == "containers with unready status: [c]"
    shown = generate(pod(), made("c", State.EXITED, exit_code=2), waiting={"c": Waiting("CrashLoopBackOff", "m")})
    only = shown["containerStatuses"][0]
    assert only["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}}
    assert only["lastState"]["terminated"]["exitCode"] == 2
    assert shown["phase"] == "Running"


def test_completed_pods_are_not_ready_for_a_reason() -> None:
    """PodCompleted and PodFailed."""
    assert condition(generate(pod(policy="Never"), made("c", State.EXITED)), "Ready")["reason"] == "PodCompleted"
    failed = generate(pod(policy="Never"), made("c", State.EXITED, exit_code=1))
    assert condition(failed, "ContainersReady")["reason"] == "PodFailed"


def test_a_phase_that_ended_stays() -> None:
    """Succeeded and Failed are final, and what had terminated is still told when the runtime has forgotten it."""
    obj = pod(policy="Never")
    obj["status"] = generate(obj, made("c", State.EXITED, exit_code=5))
    again = generate(obj)
    assert again["phase"] == "Failed"
    assert again["containerStatuses"] == obj["status"]["containerStatuses"]


def test_times_of_conditions_move_only_with_their_status() -> None:
    """lastTransitionTime is kept otherwise; conditions of others stay."""
    obj = pod()
    other = {"type": "x", "status": "True"}
    old = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    obj["status"] = {"conditions": [other, old]}
    shown = generate(obj, made("c"))
    assert condition(shown, "Ready")["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert condition(shown, "ContainersReady")["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert other in shown["conditions"]


def test_only_differences_are_written() -> None:
    """Equal statuses need no write; a condition that lost its reason says so; replaced addresses replace."""
    one = generate(pod(), made("c"), ready=lambda c: False)
    assert status_manager.difference(one, {**one}) == {}
    two = generate({**pod(), "status": one}, made("c"))
    change = status_manager.difference(one, two)
    assert set(change) == {"containerStatuses", "conditions"}
    ready = next(c for c in change["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("True", None, None)
    moved = {**one, "podIPs": [{"ip": "10.0.0.2"}]}
    assert status_manager.difference(one, moved) == {"podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.2"}]}
