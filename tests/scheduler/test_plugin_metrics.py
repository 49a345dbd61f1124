"""How long each plugin took, for one attempt in ten."""

from pynetes.scheduler import metrics
from tests.scheduler.cluster import node, pod, scheduling


async def test_the_first_of_ten_attempts_is_measured() -> None:
    """Filters and scores of that one, plugin by plugin; the second attempt adds nothing."""
    labels = ("NodeResourcesFit", "Filter", "Success"), ("NodeResourcesFit", "Score", "Success")
    before = [metrics.PLUGIN_SECONDS.count(*each) for each in labels]
    async with scheduling(node("n1"), node("n2"), pod("a"), pod("b")) as world:
        assert world.place("a") and world.place("b")
    assert [metrics.PLUGIN_SECONDS.count(*each) for each in labels] == [count + 1 for count in before]
