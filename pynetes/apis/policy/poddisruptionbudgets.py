"""PodDisruptionBudget: how many pods voluntary disruptions may take at once."""

from collections.abc import Iterator

from pynetes.apis.apps import _status, _workload
from pynetes.machinery import cells, field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A count or percentage, of either kind but not both."""
    spec = new.get("spec") or {}
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    if low is not None and high is not None:
        shown = {
            "MinAvailable": low,
            "Selector": spec.get("selector"),
            "MaxUnavailable": high,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        yield field.invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")
    for name, value in (("minAvailable", low), ("maxUnavailable", high)):
        yield from validation.int_or_percent(value, f"spec.{name}")
        yield from validation.at_most_hundred_percent(value, f"spec.{name}")
    yield from validation.label_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _POLICIES:
        yield field.not_supported("spec.unhealthyPodEvictionPolicy", policy, _POLICIES)


_counts = _status.counts("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Conditions that are whole, and counts from 0 up."""
    yield from validation.conditions((new.get("status") or {}).get("conditions"), "status.conditions")
    yield from _counts(new, old)


RESOURCE = Resource(
    group="policy",
    versions=("v1",),
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    subresources=("status",),
    prepare=_workload.reset_status(
        dict.fromkeys(("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), 0)
    ),
    prepare_status=_workload.keep_spec,
    validate_status=validate_status,
    columns=(
        Column("Min Available", cells.text(".spec.minAvailable", "N/A")),
        Column("Max Unavailable", cells.text(".spec.maxUnavailable", "N/A")),
        Column("Allowed Disruptions", cells.path(".status.disruptionsAllowed", 0), type="integer"),
        Column.AGE,
    ),
    validate=validate,
)
