"""Conditions as this API's statuses have them."""

from collections.abc import Iterable
from typing import NamedTuple

from pynetes.machinery.meta import Object


class Condition(NamedTuple):
    """One statement about an object; the time of its last change is added when it is written."""

    type: str
    holds: bool
    reason: str
    message: str = ""


def merged(wanted: Iterable[Condition], known: Iterable[Object], *, generation: int, now: str) -> list[Object]:
    """The conditions to write: a time changes with the status only. Those of other types are others', and stay."""
    before = {each.get("type"): each for each in known}
    mine = [_shown(each, before.pop(each.type, None), generation, now) for each in wanted]
    return [*mine, *before.values()]


def _shown(condition: Condition, before: Object | None, generation: int, now: str) -> Object:
    status = "True" if condition.holds else "False"
    same = before is not None and before.get("status") == status
    return {
        "type": condition.type,
        "status": status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if same and before else now,
    }
