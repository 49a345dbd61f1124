"""ServiceCIDR: a range that cluster IPs are allocated from."""

from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_interface

from pynetes.apis.apps import _workload
from pynetes.machinery import field, inet, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_PATH, _FAMILIES = "spec.cidrs", {4, 6}
_BOTH = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96"


def _cidrs(obj: Object, _: datetime) -> str:
    return ",".join(obj["spec"].get("cidrs") or ())


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """One range, or one of each family; the second may be added later, nothing else changes."""
    ranges = (new.get("spec") or {}).get("cidrs") or []
    before = ranges if old is None else old["spec"].get("cidrs") or []
    if old is not None and ranges == before:
        return
    if old is not None and (len(before), len(ranges)) != (1, 2):
        yield field.invalid(_PATH, ranges, "field is immutable")
        return
    yield from _ranges(ranges)
    if ranges and ranges[0] != before[0]:
        yield field.invalid(f"{_PATH}[0]", ranges[0], "primary CIDR can not be changed")


def _ranges(ranges: list[str]) -> Iterator[field.Error]:
    shown = {"CIDRs": ranges}
    if not ranges:
        yield field.required(_PATH, "at least one CIDR required")
        return
    if len(ranges) > len(_FAMILIES):
        yield field.invalid(_PATH, shown, f"may only hold up to {len(_FAMILIES)} values")
        return
    if len(ranges) == len(_FAMILIES) and {_family(text) for text in ranges} != _FAMILIES:
        yield field.invalid(_PATH, shown, _BOTH)
        return
    for index, text in enumerate(ranges):
        yield from validation.checked(text, f"{_PATH}[{index}]", inet.canonical_cidr)


def _family(text: str) -> int:
    try:
        return ip_interface(text).version
    except ValueError:
        return 0


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    subresources=("status",),
    generation=False,
    validate=validate,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(Column("CIDRs", _cidrs), Column.AGE),
)
