"""Completion indexes: how a status writes a set of them ("0-2,5"), and which index a pod has."""

from collections.abc import Iterable

from pynetes.machinery.meta import Object

ANNOTATION = "batch.kubernetes.io/job-completion-index"


def parse(text: str | None) -> set[int]:
    """The numbers in "0-2,5"."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return found


def write(numbers: Iterable[int]) -> str:
    """The numbers as "0-2,5"; two neighbours are written "0,1"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def of(pod: Object) -> int | None:
    """The pod's index; None when it has none."""
    text = (pod["metadata"].get("annotations") or {}).get(ANNOTATION) or ""
    return int(text) if text.isdecimal() else None


def is_indexed(job: Object) -> bool:
    """Whether each completion has a number of its own."""
    return bool(job["spec"].get("completionMode") == "Indexed")
