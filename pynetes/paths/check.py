"""What a check of a path is, and running checks: each for real, each with its evidence."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pynetes.component.command import CommandError
from pynetes.machinery.errors import StatusError
from pynetes.paths import registry
from pynetes.paths.scene import Scene


class Failed(Exception):
    """The path does not work; the message says what was expected and what was seen."""


class Absent(Exception):
    """One end of the path is not part of this cluster; the message says how it would come to be."""


@dataclass(frozen=True)
class Check:
    """How one or several paths are exercised. run returns the evidence, taken from the running cluster."""

    numbers: tuple[int, ...]
    run: Callable[[Scene], Awaitable[str]]


@dataclass(frozen=True)
class Outcome:
    """passed None: the path has no check, since what it joins is not part of the cluster."""

    path: registry.Path
    passed: bool | None
    evidence: str
    seconds: float

    @property
    def verdict(self) -> str:
        """PASS, FAIL, or a dash."""
        return "-" if self.passed is None else "PASS" if self.passed else "FAIL"


async def run(scene: Scene, checks: Sequence[Check], wanted: Sequence[registry.Path]) -> list[Outcome]:
    """Run each check once, whichever of its paths are wanted; in the order of the paths."""
    done: dict[Check, tuple[bool | None, str, float]] = {}
    outcomes = []
    for path in wanted:
        check = next((check for check in checks if path.number in check.numbers), None)
        if check is None:
            absent = "not there yet: one of its ends is not part of this cluster"
            outcomes.append(Outcome(path, None, absent, 0.0))
            continue
        if check not in done:
            done[check] = await _run(scene, check)
        passed, evidence, seconds = done[check]
        outcomes.append(Outcome(path, passed, evidence, seconds))
    return outcomes


async def _run(scene: Scene, check: Check) -> tuple[bool | None, str, float]:
    began = time.monotonic()
    passed: bool | None
    try:
        evidence, passed = await check.run(scene), True
    except Absent as absent:
        evidence, passed = str(absent), None
    except (Failed, StatusError, CommandError, OSError, TimeoutError) as error:
        evidence, passed = f"{type(error).__name__}: {error}".removeprefix("Failed: "), False
    return passed, evidence, time.monotonic() - began


def expect(holds: object, message: str) -> None:
    """Raise Failed unless it holds."""
    if not holds:
        raise Failed(message)
