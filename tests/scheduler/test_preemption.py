"""Preemption: the least harm that makes room, with the room kept for whom it was made."""

from pynetes.apis.core import events, pods
from pynetes.client.fake import Write
from pynetes.machinery.meta import Key, Object
from tests.scheduler.cluster import node, pod, scheduling


def budget(name: str, app: str, allowed: int) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    }


async def test_a_less_important_pod_makes_room() -> None:
    """The victim is told why, deleted, and the pod takes its place."""
    low = pod("low", cpu="1", nodeName="n1", priority=1)
    async with scheduling(node("n1", cpu="1"), low, pod("high", cpu="1", priority=10)) as world:
        assert world.place("high") == "n1"
        assert world.api.get(pods.RESOURCE, Key("default", "low")) is None
        assert Write("delete", "pods", Key("default", "low")) in world.api.writes
        reasons = {event["reason"] for event in world.api.listed(events.RESOURCE)}
        assert {"Preempted", "FailedScheduling", "Scheduled"} <= reasons


async def test_only_as_many_victims_as_needed() -> None:
    """Of three small pods the least important one goes."""
    small = [pod(f"p{i}", cpu="1", nodeName="n1", priority=i) for i in range(3)]
    async with scheduling(node("n1", cpu="3"), *small, pod("high", cpu="1", priority=10)) as world:
        assert world.place("high") == "n1"
        assert [obj["metadata"]["name"] for obj in world.api.listed(pods.RESOURCE)] == ["high", "p1", "p2"]


async def test_disruption_budgets_are_spared_where_possible() -> None:
    """The node without a protected pod is chosen, although its victim is more important."""
    protected = pod("protected", cpu="1", nodeName="n1", priority=1, labels={"app": "db"})
    other = pod("other", cpu="1", nodeName="n2", priority=5)
    cluster = (node("n1", cpu="1"), node("n2", cpu="1"), protected, other, budget("db", "db", 0))
    async with scheduling(*cluster, pod("high", cpu="1", priority=10)) as world:
        assert world.place("high") == "n2"
        assert world.api.get(pods.RESOURCE, Key("default", "protected")) is not None


async def test_equals_and_the_polite_preempt_nobody() -> None:
    """Same priority is not less; preemptionPolicy Never waits."""
    cluster = (node("n1", cpu="1"), pod("low", cpu="1", nodeName="n1", priority=5))
    polite = pod("polite", cpu="1", priority=10, preemptionPolicy="Never")
    async with scheduling(*cluster, pod("equal", cpu="1", priority=5), polite) as world:
        assert world.message("equal").endswith("1 No preemption victims found for incoming pod.")
        assert world.message("polite").endswith("preemption: not eligible due to preemptionPolicy=Never.")


async def test_room_is_kept_for_whom_it_was_made() -> None:
    """While a victim takes its time to go, no lesser pod slips in, and nobody else is evicted."""
    low = pod("low", cpu="2", nodeName="n1", priority=1)
    low["metadata"]["finalizers"] = ["example.com/slow"]
    async with scheduling(node("n1", cpu="2"), low, pod("high", cpu="2", priority=10)) as world:
        assert world.get("high")["status"]["nominatedNodeName"] == "n1"
        await world.put(pod("thief", cpu="1", priority=5))
        await world.remove(world.get("low"))
        assert (world.place("high"), world.place("thief")) == ("n1", "")
