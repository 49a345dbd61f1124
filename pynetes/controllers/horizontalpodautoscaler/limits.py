"""What becomes of a recommendation: windows in which it must hold, and rates at which replicas may change. Pure."""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from pynetes.machinery.meta import Object

#: How long the highest recommendation holds before replicas are taken away, unless the behaviour says otherwise.
DOWN_WINDOW = 300
#: No pods at all, and the most a window may reach back.
_LONGEST = timedelta(seconds=3600)

RANGE = "DesiredWithinRange", "the desired count is within the acceptable range"
_FEW = "TooFewReplicas", "the desired replica count is less than the minimum replica count"
_MANY = "TooManyReplicas", "the desired replica count is more than the maximum replica count"
_FAST_UP = "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"
_FAST_DOWN = "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"
_READY = "ReadyForNewScale", "recommended size matches current size"
_HELD_UP = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_HELD_DOWN = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)


class Change(NamedTuple):
    """At a time, this many replicas were recommended, or added (taken away, if negative)."""

    at: datetime
    number: int


@dataclass
class Memory:
    """What is remembered of one autoscaler."""

    uid: str
    recommended: list[Change] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)

    def forget(self, now: datetime) -> None:
        """Drop what no window reaches."""
        self.recommended = [each for each in self.recommended if now - each.at <= _LONGEST]
        self.changed = [each for each in self.changed if now - each.at <= _LONGEST]


class Limited(NamedTuple):
    """The replicas in the end, and what the conditions AbleToScale and ScalingLimited say of it."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]

    @property
    def is_limited(self) -> bool:
        """Whether something kept the recommendation from being followed."""
        return self.limited != RANGE


def apply(spec: Object, current: int, wanted: int, memory: Memory, now: datetime) -> Limited:
    """Follow the recommendation as far as the autoscaler lets; it is remembered."""
    low, high = spec.get("minReplicas", 1), spec["maxReplicas"]
    behavior = spec.get("behavior")
    memory.forget(now)
    held, able = _stabilized(behavior, current, wanted, memory, now)
    memory.recommended.append(Change(now, wanted))
    if behavior is None:
        top = max(2 * current, 4)
        limit = (min(high, top), _FAST_UP if high > top else _MANY)
        return _within(held, (low, _FEW), limit, able)
    if held > current:
        top = max(current, _up_limit(behavior["scaleUp"], current, memory, now))
        return _within(held, (low, _FEW), (min(high, top), _FAST_UP if high > top else _MANY), able)
    if held < current:
        bottom = min(current, _down_limit(behavior["scaleDown"], current, memory, now))
        return _within(held, (max(low, bottom), _FAST_DOWN if bottom > low else _FEW), (high, _MANY), able)
    return _within(held, (low, _FEW), (high, _MANY), able)


def _within(
    wanted: int, low: tuple[int, tuple[str, str]], high: tuple[int, tuple[str, str]], able: tuple[str, str]
) -> Limited:
    if wanted < low[0]:
        return Limited(low[0], able, low[1])
    if wanted > high[0]:
        return Limited(high[0], able, high[1])
    return Limited(wanted, able, RANGE)


def _stabilized(
    behavior: Object | None, current: int, wanted: int, memory: Memory, now: datetime
) -> tuple[int, tuple[str, str]]:
    if behavior is None:
        held = max([wanted, *_since(memory.recommended, DOWN_WINDOW, now)])
        return held, _READY if held == wanted else _HELD_DOWN
    up = (behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds") or 0
    down = (behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds")
    least = min([wanted, *_since(memory.recommended, up, now)])
    most = max([wanted, *_since(memory.recommended, DOWN_WINDOW if down is None else down, now)])
    held = min(max(current, least), most)
    if held == wanted:
        return held, _READY
    return held, _HELD_UP if held < wanted else _HELD_DOWN


def _since(changes: list[Change], seconds: int, now: datetime) -> list[int]:
    begin = now - timedelta(seconds=seconds)
    return [each.number for each in changes if each.at > begin]


def _start(policy: Object, current: int, memory: Memory, now: datetime) -> int:
    """The replicas at the beginning of a policy's period."""
    return current - sum(_since(memory.changed, policy["periodSeconds"], now))


def _up_limit(rules: Object, current: int, memory: Memory, now: datetime) -> int:
    if rules.get("selectPolicy") == "Disabled":
        return current
    limits: list[int] = []
    for policy in rules["policies"]:
        start, value = _start(policy, current, memory, now), policy["value"]
        limits.append(start + value if policy["type"] == "Pods" else math.ceil(start * (100 + value) / 100))
    return min(limits) if rules.get("selectPolicy") == "Min" else max(limits)


def _down_limit(rules: Object, current: int, memory: Memory, now: datetime) -> int:
    if rules.get("selectPolicy") == "Disabled":
        return current
    limits: list[int] = []
    for policy in rules["policies"]:
        start, value = _start(policy, current, memory, now), policy["value"]
        limits.append(start - value if policy["type"] == "Pods" else start * (100 - value) // 100)
    return max(limits) if rules.get("selectPolicy") == "Min" else min(limits)
