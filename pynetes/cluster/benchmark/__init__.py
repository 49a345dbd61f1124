"""`pynetes audit-security`: the controls of the CIS Kubernetes Benchmark, and some of our own, judged by what runs.

Facts are gathered once from the running cluster (command lines of its processes, files and their modes, what listeners
and the API answer); each control is a pure judgement over them. Titles are in our own words; the numbers are those of
the benchmark, version 1.10.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pynetes.cluster.benchmark.facts import Facts

MET, NOT_APPLICABLE, REFUSED, FAILED = "met", "not applicable", "refused", "FAILED"


class Verdict(NamedTuple):
    """A status, and the evidence or the reason."""

    status: str
    why: str


class Control(NamedTuple):
    """One control; judge looks at the facts."""

    number: str
    title: str
    judge: Callable[[Facts], Verdict]


class Judged(NamedTuple):
    """A control and what became of it."""

    control: Control
    verdict: Verdict


def holds(*, when: bool, seen: str) -> Verdict:
    """Met or failed, with what was seen."""
    return Verdict(MET if when else FAILED, seen)


@dataclass(frozen=True)
class Fixed:
    """A judgement that is the same on every cluster."""

    verdict: Verdict

    def __call__(self, facts: Facts) -> Verdict:
        return self.verdict


def no(reason: str) -> Fixed:
    """There is nothing here that the control is about."""
    return Fixed(Verdict(NOT_APPLICABLE, reason))


def refused(reason: str) -> Fixed:
    """Done otherwise on purpose."""
    return Fixed(Verdict(REFUSED, reason))


def described() -> str:
    """The table in docs/cis-benchmark.md."""
    rows = ["| Control | What it asks | Here |", "|---|---|---|"]
    for control in controls():
        fixed = control.judge.verdict if isinstance(control.judge, Fixed) else None
        here = f"{fixed.status}: {fixed.why}" if fixed else "judged on the running cluster"
        rows.append(f"| {control.number} | {control.title} | {here} |")
    return "\n".join(rows)


def judged(facts: Facts) -> Iterable[Judged]:
    """All controls, in the order of their numbers. One that cannot be judged has failed."""
    for control in controls():
        try:
            verdict = control.judge(facts)
        except (KeyError, IndexError, ValueError, OSError) as error:
            verdict = Verdict(FAILED, f"cannot be judged: {type(error).__name__}: {error}")
        yield Judged(control, verdict)


def controls() -> tuple[Control, ...]:
    """The whole table."""
    from pynetes.cluster.benchmark import beyond, control_plane, nodes, policies

    return (*control_plane.CONTROLS, *nodes.CONTROLS, *policies.CONTROLS, *beyond.CONTROLS)
