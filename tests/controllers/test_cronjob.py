"""Cron schedules as tables, and CronJobs over the fake API."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pynetes.apis.batch import cronjobs, jobs
from pynetes.controllers import _cron as cron
from pynetes.machinery.meta import Object
from tests.controllers.harness import World, running, template


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("* * * * *", "2026-01-01 00:00", "2026-01-01 00:01"),
        ("*/15 * * * *", "2026-01-01 00:46", "2026-01-01 01:00"),
        ("30 2 * * *", "2026-01-01 02:30", "2026-01-02 02:30"),
        ("0 0 1 * *", "2026-01-15 00:00", "2026-02-01 00:00"),
        ("0 0 29 feb *", "2026-01-01 00:00", "2028-02-29 00:00"),
        ("0 12 * * mon-fri", "2026-01-03 00:00", "2026-01-05 12:00"),
        ("0 0 * * 7", "2026-01-01 00:00", "2026-01-04 00:00"),
        ("0 0 13 * 5", "2026-01-01 00:00", "2026-01-02 00:00"),
        ("5-10/5,20 * * * *", "2026-01-01 00:10", "2026-01-01 00:20"),
        ("@hourly", "2026-01-01 00:10", "2026-01-01 01:00"),
        ("@every 1h30m", "2026-01-01 00:10", "2026-01-01 01:40"),
    ],
)
def test_next(schedule: str, after: str, expected: str) -> None:
    """The first time after a moment."""
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert cron.parse(schedule).next(start) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_time_zones_and_impossible_days() -> None:
    """Hours are those of the zone, also across its clock changes; 30 February never comes."""
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert cron.parse("0 9 * * *").next(start, berlin) == datetime(2026, 3, 29, 7, tzinfo=UTC)
    assert cron.parse("30 2 * * *").next(start, berlin) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    assert cron.parse("0 0 30 2 *").next(start) is None


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "* * * foo *", "@never", "*/0 * * * *", "@every soon"])
def test_bad_schedules(text: str) -> None:
    """What is no schedule is refused."""
    with pytest.raises(ValueError):
        cron.parse(text)


def cronjob(**spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {
            "schedule": "*/5 * * * *",
            "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": template(app="tick")}},
        }
        | spec,
    }


def finish(world: World) -> None:
    for job in world.api.listed(jobs.RESOURCE):
        if not (job.get("status") or {}).get("conditions"):
            condition = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            stamp = job["metadata"]["creationTimestamp"]
            world.api.put(job | {"status": {"conditions": [condition], "completionTime": stamp, "startTime": stamp}})


async def test_jobs_come_on_schedule_and_history_is_kept_short() -> None:
    """A Job every five minutes; finished ones beyond the limit go; nothing is written in between."""
    async with running("cronjob") as world:
        world.api.put(cronjob())
        await world.settle()
        assert world.api.listed(jobs.RESOURCE) == []
        await world.advance(301)
        (job,) = world.api.listed(jobs.RESOURCE)
        assert job["metadata"]["labels"] == {"a": "b"}
        status = world.get(cronjobs.RESOURCE, "tick")["status"]
        assert status["lastScheduleTime"] == "2026-01-01T00:05:00Z" and status["active"][0]["kind"] == "Job"
        world.writes()
        await world.advance(60)
        assert world.writes() == []
        finish(world)
        await world.settle()
        assert "active" not in world.get(cronjobs.RESOURCE, "tick")["status"]
        assert world.get(cronjobs.RESOURCE, "tick")["status"]["lastSuccessfulTime"]
        for _ in range(3):
            await world.advance(300)
            finish(world)
            await world.settle()
        assert len(world.api.listed(jobs.RESOURCE)) == 1


@pytest.mark.parametrize(("policy", "left"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
async def test_concurrency(policy: str, left: int) -> None:
    """What happens when the previous Job still runs."""
    async with running("cronjob") as world:
        world.api.put(cronjob(concurrencyPolicy=policy))
        await world.settle()
        await world.advance(301)
        (first,) = world.api.listed(jobs.RESOURCE)
        await world.advance(300)
        found = world.api.listed(jobs.RESOURCE)
        assert len(found) == left
        assert (first["metadata"]["uid"] in [job["metadata"]["uid"] for job in found]) == (policy != "Replace")


async def test_suspend_and_deadline() -> None:
    """Suspended, nothing starts; resumed, a start older than the deadline is skipped."""
    async with running("cronjob") as world:
        world.api.put(cronjob(suspend=True, startingDeadlineSeconds=60))
        await world.settle()
        await world.advance(400)
        world.edit(cronjobs.RESOURCE, "tick", lambda obj: obj["spec"].pop("suspend"))
        await world.settle()
        assert world.api.listed(jobs.RESOURCE) == []
        await world.advance(201)
        assert len(world.api.listed(jobs.RESOURCE)) == 1
