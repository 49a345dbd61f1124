"""What a component tells of its traffic once a second."""

from collections import deque
from collections.abc import Iterator

from pynetes.component.serving import TOLD, Tick, tick
from pynetes.component.tracing import Identity, Interaction, Recorder


def seen(path: int, at: float, error: str = "") -> Interaction:
    """Something that crossed."""
    return Interaction(path, at, "a", "b", "get", f"pods default/web-{at:g}", 0.002, error)


def test_only_what_has_changed_is_told() -> None:
    """Counters whole, so that a lost tick loses nothing; interactions once."""
    recorder = Recorder()
    recorder.record(seen(4, 1.0))
    recorder.record(seen(7, 2.0), Identity(subject="me"))
    last, first = tick(recorder, Tick({}, 0.0))
    assert set(first["counters"]) == {"4", "7"}
    assert [item["at"] for item in first["ring"]] == [1.0, 2.0]
    recorder.record(seen(7, 3.0, "Conflict"))
    last, second = tick(recorder, last)
    assert list(second["counters"]) == ["7"]
    assert (second["counters"]["7"].requests, second["counters"]["7"].errors) == (2, 1)
    assert [item["at"] for item in second["ring"]] == [3.0]
    assert tick(recorder, last)[1] == {"counters": {}, "ring": []}


def test_a_flood_is_told_in_few_words() -> None:
    """The newest of each path; a busy one does not crowd out a quiet one."""
    recorder = Recorder()
    recorder.record(seen(9, 0.5))
    for number in range(1000):
        recorder.record(seen(4, 1.0 + number / 1000))
    _, told = tick(recorder, Tick({}, 0.0))
    assert told["counters"]["4"].requests == 1000
    assert [item["path"] for item in told["ring"]].count(4) == TOLD
    assert told["ring"][0]["path"] == 9
    assert told["ring"][-1]["at"] == 1.999


def test_a_quiet_path_does_not_lead_through_a_flood() -> None:
    """What is looked through is bounded by what can be found: the rest of the ring is left alone."""
    recorder = Recorder()
    last, _ = tick(recorder, Tick({}, 0.0))
    for number in range(1000):
        recorder.record(seen(4, 1.0 + number / 1000))
    recorder.record(seen(9, 2.5))
    looked: list[Interaction] = []

    class Ring(deque[Interaction]):
        def __reversed__(self) -> Iterator[Interaction]:
            for each in super().__reversed__():
                looked.append(each)
                yield each

    recorder.ring = Ring(recorder.ring)
    _, told = tick(recorder, last)
    assert [item["path"] for item in told["ring"]] == [4] * TOLD + [9]
    assert len(looked) <= TOLD + 2
