"""The arithmetic of a rollout, as tables."""

from typing import Any

import pytest

from pynetes.controllers.deployment import revisions as sets
from pynetes.controllers.deployment import rolling
from pynetes.machinery.meta import Object


def deployment(replicas: int, surge: Any = "25%", unavailable: Any = "25%", **spec: Any) -> Object:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return {"metadata": {"name": "web"}, "spec": {"replicas": replicas, "strategy": strategy} | spec}


def replica_set(name: str, replicas: int, available: int | None = None, age: int = 0, **annotations: str) -> Object:
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": f"2026-01-01T00:00:{30 - age:02}Z",
            "annotations": {f"deployment.kubernetes.io/{k.replace('_', '-')}": v for k, v in annotations.items()},
        },
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas, "availableReplicas": replicas if available is None else available},
    }


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (4, "25%", "25%", (1, 1)),
        (3, "25%", "25%", (1, 0)),
        (10, 0, 0, (0, 1)),
        (2, 1, 5, (1, 2)),
    ],
)
def test_limits(replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]) -> None:
    """Surge rounds up and unavailable down; both never end as zero."""
    assert sets.limits(deployment(replicas, surge, unavailable)) == expected


@pytest.mark.parametrize(
    ("wanted", "surge", "new", "old", "expected"),
    [
        (3, 1, 0, 3, 1),
        (3, 1, 1, 3, 1),
        (3, 1, 1, 2, 2),
        (3, 3, 0, 3, 3),
        (2, 1, 5, 0, 2),
        (3, 0, 0, 2, 1),
    ],
)
def test_grow(wanted: int, surge: int, new: int, old: int, expected: int) -> None:
    """The new ReplicaSet grows as far as replicas + maxSurge allow in total."""
    made = deployment(wanted, surge, 1)
    assert rolling.grow(made, replica_set("new", new), [replica_set("old", old)]) == expected


@pytest.mark.parametrize(
    ("wanted", "unavailable", "new", "new_available", "old", "old_available", "expected"),
    [
        (3, 0, 1, 0, 3, 3, 3),
        (3, 0, 1, 1, 3, 3, 2),
        (4, 1, 1, 0, 4, 4, 3),
        # Unhealthy old pods make room at once, without costing availability.
        (3, 1, 1, 0, 3, 1, 2),
        (10, 2, 2, 0, 10, 10, 8),
    ],
)
def test_shrink(
    wanted: int, unavailable: int, new: int, new_available: int, old: int, old_available: int, expected: int
) -> None:
    """Old ReplicaSets shrink as far as the available pods stay above replicas - maxUnavailable."""
    made = deployment(wanted, 1, unavailable)
    sizes = rolling.shrink(made, replica_set("new", new, new_available), [replica_set("old", old, old_available)])
    assert sizes == {"old": expected}


def test_scale_in_the_middle_of_a_rollout_is_proportional() -> None:
    """Ten pods over two ReplicaSets (8 and 5, maxSurge 3) scaled to 30 keep their shares, and sum to 33."""
    old = replica_set("old", 8, age=20, desired_replicas="10", max_replicas="13")
    new = replica_set("new", 5, 0, age=1, desired_replicas="10", max_replicas="13")
    sizes = rolling.scale(deployment(30, 3, 2), new, [old])
    assert sizes == {"old": 20, "new": 13}


def test_scale_with_a_single_replica_set() -> None:
    """Without a rollout the one active ReplicaSet takes the whole size."""
    assert rolling.scale(deployment(5), replica_set("new", 3), [replica_set("old", 0)]) == {"new": 5}


def test_scale_of_a_finished_rollout_empties_the_old() -> None:
    """Once the new ReplicaSet is full and available, the old ones are no longer needed."""
    new = replica_set("new", 3, 3, desired_replicas="3")
    assert rolling.scale(deployment(3), new, [replica_set("old", 1)]) == {"old": 0}


def test_surplus_history_keeps_the_newest_empty_ones() -> None:
    """Beyond revisionHistoryLimit the lowest revisions go, and only those without pods."""
    old = [replica_set(f"r{n}", 0, revision=str(n)) for n in (1, 2, 3)] + [replica_set("busy", 1, revision="0")]
    gone = rolling.surplus_history(deployment(1, revisionHistoryLimit=2), old)
    assert [rolling.name(each) for each in gone] == ["r1"]


def test_new_replica_set_carries_hash_in_name_labels_and_selector() -> None:
    """The hash of the template is the same in every run and ties name, labels and selector together."""
    made = deployment(3, selector={"matchLabels": {"app": "web"}})
    made["metadata"] |= {"namespace": "default", "uid": "u"}
    made["spec"]["template"] = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}
    one, two = sets.build(made, [], 1), sets.build(made, [], 1)
    assert one == two
    digest = one["metadata"]["labels"]["pod-template-hash"]
    assert one["metadata"]["name"] == f"web-{digest}"
    assert one["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
    assert sets.find_new(made, [one | {"metadata": one["metadata"]}]) is not None
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "web"}
