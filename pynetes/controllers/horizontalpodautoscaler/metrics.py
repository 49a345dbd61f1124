"""What is counted of autoscaling, under upstream's names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from pynetes.component.metrics import REGISTRY, exponential

_SUBSYSTEM = "horizontal_pod_autoscaler_controller"
_BUCKETS = exponential(0.001, 2, 15)
_LABEL_TEXT = (
    "The label 'action' should be either 'scale_down', 'scale_up', or 'none'. Also, the label 'error' should be "
)
_LABEL_TEXT += "either 'spec', 'internal', or 'none'."
RECONCILIATIONS = REGISTRY.counter(
    f"{_SUBSYSTEM}_reconciliations_total",
    f"Number of reconciliations of HPA controller. {_LABEL_TEXT}",
    "action", "error",
)  # fmt: skip
RECONCILIATION_SECONDS = REGISTRY.histogram(
    f"{_SUBSYSTEM}_reconciliation_duration_seconds",
    f"The time(seconds) that the HPA controller takes to reconcile once. {_LABEL_TEXT}",
    "action", "error", buckets=_BUCKETS,
)  # fmt: skip
COMPUTATIONS = REGISTRY.counter(
    f"{_SUBSYSTEM}_metric_computation_total",
    f"Number of metric computations. {_LABEL_TEXT}",
    "action", "error", "metric_type",
)  # fmt: skip
COMPUTATION_SECONDS = REGISTRY.histogram(
    f"{_SUBSYSTEM}_metric_computation_duration_seconds",
    f"The time(seconds) that the HPA controller takes to calculate one metric. {_LABEL_TEXT}",
    "action", "error", "metric_type", buckets=_BUCKETS,
)  # fmt: skip


@dataclass
class Look:
    """What came of it."""

    action: str = "none"
    error: str = "none"


def action(more: int) -> str:
    """What adding so many replicas is called."""
    return "scale_up" if more > 0 else "scale_down" if more < 0 else "none"


@contextmanager
def looking() -> Iterator[Look]:
    """Count the block as one reconciliation."""
    look, began = Look(), perf_counter()
    try:
        yield look
    except Exception:
        look.error = "internal"
        raise
    finally:
        RECONCILIATIONS.inc(look.action, look.error)
        RECONCILIATION_SECONDS.observe(perf_counter() - began, look.action, look.error)


@contextmanager
def computing(kind: str) -> Iterator[Look]:
    """Count the block as the computation of one metric; kind as in spec.metrics."""
    look, began = Look(), perf_counter()
    try:
        yield look
    except Exception:
        look.error = "internal"
        raise
    finally:
        COMPUTATIONS.inc(look.action, look.error, kind)
        COMPUTATION_SECONDS.observe(perf_counter() - began, look.action, look.error, kind)
