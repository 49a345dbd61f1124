"""Conditions of a status: found by type, replaced only when they say something new."""

from collections.abc import Iterable
from datetime import datetime

from pynetes.machinery import time
from pynetes.machinery.meta import Object


def find(obj: Object, kind: str) -> Object | None:
    """The condition of this type in obj.status."""
    return among((obj.get("status") or {}).get("conditions"), kind)


def among(conditions: Iterable[Object] | None, kind: str) -> Object | None:
    """The condition of this type in a list of conditions."""
    return next((each for each in conditions or () if each["type"] == kind), None)


def is_true(obj: Object, kind: str) -> bool:
    """Whether the condition is there with status True."""
    condition = find(obj, kind)
    return condition is not None and condition["status"] == "True"


def transition(condition: Object) -> datetime | None:
    """When the condition last changed its status."""
    moment = condition.get("lastTransitionTime")
    return time.parse(moment) if moment else None


def put(
    conditions: Iterable[Object], kind: str, status: str, reason: str, message: str, now: datetime, **stamps: str
) -> list[Object]:
    """The conditions with this one set; unchanged when status and reason are what they were, so nothing is rewritten.

    stamps are further fields (lastUpdateTime="" and lastProbeTime="" are filled with now).
    """
    kept = list(conditions)
    old = among(kept, kind)
    if old is not None and (old["status"], old.get("reason", ""), old.get("message", "")) == (status, reason, message):
        return kept
    moment = time.rfc3339(now)
    since = old.get("lastTransitionTime", moment) if old is not None and old["status"] == status else moment
    new: Object = {"type": kind, "status": status, "lastTransitionTime": since}
    new |= {name: value or moment for name, value in stamps.items()}
    new |= {name: text for name, text in (("reason", reason), ("message", message)) if text}
    if old is not None:
        return [new if each is old else each for each in kept]
    return [*kept, new]


def without(conditions: Iterable[Object], kind: str) -> list[Object]:
    """The conditions except those of this type."""
    return [each for each in conditions if each["type"] != kind]
