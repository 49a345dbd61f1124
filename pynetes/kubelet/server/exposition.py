"""Writes samples that other things keep: families of samples with their own label sets and times.

The registry of component/metrics.py keeps numbers between scrapes; what cgroups count needs no second counter.
"""

from collections.abc import Iterable

from pynetes.component.metrics import labels_text, number_text


class Exposition:
    """Prometheus' text format, family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, text: str, samples: Iterable[tuple[str, float]], at: float = 0.0) -> None:
        """One family; a sample is the text of its labels and its number. at: seconds since the epoch, 0 for no time."""
        stamp = f" {round(at * 1000)}" if at else ""
        lines = [f"{name}{labels} {number_text(value)}{stamp}" for labels, value in samples]
        if lines:
            self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *lines]

    def text(self) -> str:
        """All of it."""
        return "\n".join([*self._lines, ""])


def labelled(**labels: str) -> str:
    """The text of a label set."""
    return labels_text(tuple(labels), tuple(labels.values()))


def extended(labels: str, **more: str) -> str:
    """A label set's text with more labels: most of it is the same for all samples of a container."""
    return f"{labels[:-1]},{labelled(**more)[1:]}"
