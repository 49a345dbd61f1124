"""Jobs over the fake API, with a kubelet that ends pods as the test says."""

from collections.abc import Callable
from typing import Any

import pytest

from pynetes.apis.batch import jobs
from pynetes.apis.core import pods
from pynetes.controllers.job import indexes, policy
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import World, running, template

NAMES = ("job", "garbage-collector")


def job(**spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "default"},
        "spec": {
            "parallelism": 2,
            "completions": 3,
            "backoffLimit": 6,
            "selector": {"matchLabels": {"job": "work"}},
            "template": template(job="work"),
        }
        | spec,
    }


def ends(world: World, code: Callable[[Object], int | None]) -> None:
    """Each pod ends at once with this exit code; None lets it run."""

    def play(pod: Object) -> Object | None:
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return None
        result = code(pod)
        if result is None:
            return {"phase": "Running"}
        ended = {"exitCode": result, "finishedAt": time.rfc3339(world.clock.now())}
        return {
            "phase": "Failed" if result else "Succeeded",
            "containerStatuses": [{"name": "c", "state": {"terminated": ended}}],
        }

    world.kubelet = play


def types(world: World) -> dict[str, str]:
    status = world.get(jobs.RESOURCE, "work")["status"]
    return {c["type"]: c["reason"] for c in status.get("conditions") or ()}


async def test_completion() -> None:
    """Three successes complete the Job; every pod is counted once and has lost its finalizer."""
    async with running(*NAMES) as world:
        ends(world, lambda pod: 0)
        world.api.put(job())
        await world.settle()
        status = world.get(jobs.RESOURCE, "work")["status"]
        assert (status["succeeded"], status["ready"], status.get("active")) == (3, 0, None)
        assert types(world) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
        assert status["completionTime"] and status["uncountedTerminatedPods"] == {}
        assert len(world.pods()) == 3
        assert all(not pod["metadata"]["finalizers"] for pod in world.pods())
        world.writes()
        await world.advance(100)
        assert world.writes() == []


async def test_parallelism() -> None:
    """Never more than parallelism run; one more starts when one has ended."""
    async with running(*NAMES) as world:
        running_on: set[str] = set()
        ends(world, lambda pod: 0 if pod["metadata"]["name"] in running_on else None)
        world.api.put(job())
        await world.settle()
        assert len(world.pods()) == 2 and world.get(jobs.RESOURCE, "work")["status"]["active"] == 2
        running_on.add(world.pods()[0]["metadata"]["name"])
        await world.settle()
        assert len(world.pods()) == 3


async def test_failures_back_off_until_the_limit() -> None:
    """Each failure delays the next pod more; past backoffLimit the Job has failed."""
    async with running(*NAMES) as world:
        ends(world, lambda pod: 1)
        world.api.put(job(parallelism=1, completions=1, backoffLimit=2))
        await world.settle()
        assert len(world.pods()) == 1
        await world.advance(11)
        assert len(world.pods()) == 2
        await world.advance(11)
        assert len(world.pods()) == 2
        await world.advance(11)
        assert len(world.pods()) == 3
        assert types(world) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
        assert world.get(jobs.RESOURCE, "work")["status"]["failed"] == 3


async def test_indexed() -> None:
    """Every index gets its pod with hostname and environment; completedIndexes sums them up."""
    async with running(*NAMES) as world:
        ends(world, lambda pod: 0)
        world.api.put(job(completionMode="Indexed", completions=4))
        await world.settle()
        status = world.get(jobs.RESOURCE, "work")["status"]
        assert (status["completedIndexes"], status["succeeded"]) == ("0-3", 4)
        assert sorted(pod["spec"]["hostname"] for pod in world.pods()) == [f"work-{n}" for n in range(4)]
        assert world.pods()[0]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"


async def test_backoff_limit_per_index() -> None:
    """An index that fails too often is given up; the others complete, and the Job has failed indexes."""
    async with running(*NAMES) as world:
        ends(world, lambda pod: 1 if indexes.of(pod) == 1 else 0)
        world.api.put(job(completionMode="Indexed", completions=3, backoffLimitPerIndex=1, backoffLimit=2**31 - 1))
        for _ in range(6):
            await world.advance(30)
        status = world.get(jobs.RESOURCE, "work")["status"]
        assert (status["completedIndexes"], status["failedIndexes"], status["failed"]) == ("0,2", "1", 2)
        assert types(world)["Failed"] == "FailedIndexes"


async def test_deadline_and_deletion_of_running_pods() -> None:
    """Past activeDeadlineSeconds running pods are deleted, and the Job fails once they are gone."""
    async with running(*NAMES) as world:
        ends(world, lambda pod: None)
        world.api.put(job(activeDeadlineSeconds=30))
        await world.settle()
        await world.advance(31)
        assert types(world) == {"FailureTarget": "DeadlineExceeded", "Failed": "DeadlineExceeded"}
        assert world.pods() == []


async def test_suspend_and_resume() -> None:
    """A suspended Job has no pods and no start time; resumed, it starts afresh."""
    async with running(*NAMES) as world:
        ends(world, lambda pod: None)
        world.api.put(job(suspend=True))
        await world.settle()
        assert world.pods() == [] and types(world) == {"Suspended": "JobSuspended"}
        assert "startTime" not in world.get(jobs.RESOURCE, "work")["status"]
        world.edit(jobs.RESOURCE, "work", lambda obj: obj["spec"].pop("suspend"))
        await world.settle()
        assert len(world.pods()) == 2 and types(world) == {"Suspended": "JobResumed"}


async def test_pod_failure_policy_and_success_policy() -> None:
    """FailJob ends the Job at the first match; a success policy ends it early."""
    async with running(*NAMES) as world:
        ends(world, lambda pod: 42)
        rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
        world.api.put(job(podFailurePolicy={"rules": [rule]}))
        await world.settle()
        assert types(world)["Failed"] == "PodFailurePolicy"
        await world.api.client().delete(jobs.RESOURCE, Key("default", "work"))
        await world.settle()
        ends(world, lambda pod: 0 if indexes.of(pod) == 0 else None)
        world.api.put(
            job(completionMode="Indexed", successPolicy={"rules": [{"succeededIndexes": "0", "succeededCount": 1}]})
        )
        await world.settle()
        assert types(world) == {"SuccessCriteriaMet": "SuccessPolicy", "Complete": "SuccessPolicy"}


@pytest.mark.parametrize("again", [False, True])
async def test_pods_of_a_job_that_is_gone_are_let_go(again: bool) -> None:
    """Deleted in the background, a Job goes before its pods: their finalizer would keep them, and their namespace.

    Also if another Job has the name by now."""
    async with running(*NAMES) as world:
        if again:
            world.api.put(job(suspend=True))
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "work", "uid": "gone", "controller": True}
        metadata = {"name": "work-x", "namespace": "default", "labels": {"job": "work"}, "ownerReferences": [owner]}
        metadata["finalizers"] = ["batch.kubernetes.io/job-tracking", "example.com/other"]
        world.api.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}})
        await world.settle()
        assert world.get(pods.RESOURCE, "work-x")["metadata"]["finalizers"] == ["example.com/other"]


@pytest.mark.parametrize(
    ("text", "numbers"), [("", set()), ("0-2,5", {0, 1, 2, 5}), ("0,1", {0, 1}), ("7", {7}), ("1,3-5", {1, 3, 4, 5})]
)
def test_indexes(text: str, numbers: set[int]) -> None:
    """Sets of indexes read and write as the status has them."""
    assert indexes.parse(text) == numbers and indexes.write(numbers) == text


def test_failure_policy_conditions() -> None:
    """A rule on a condition matches by type and status; the first matching rule decides."""
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [7]}},
    ]
    made = job(podFailurePolicy={"rules": rules})
    pod: Object = {"metadata": {"namespace": "d", "name": "p"}, "status": {}}
    pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert policy.judge(made, pod).action == "Ignore"
    pod["status"] = {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}]}
    assert policy.judge(made, pod) == policy.Verdict(
        "FailJob", "Container c for pod d/p failed with exit code 3 matching FailJob rule at index 1"
    )
