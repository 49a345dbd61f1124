"""CSIDriver: what a CSI driver can do."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from pynetes.machinery import field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_SHORTEST_PERIOD = 10
_FLAGS = (
    ("attachRequired", True),
    ("podInfoOnMount", False),
    ("storageCapacity", False),
    ("requiresRepublish", False),
    ("seLinuxMount", False),
)


def default(obj: Object) -> None:
    """Fill in what the driver does not say."""
    spec = obj.setdefault("spec", {})
    for name, value in _FLAGS:
        spec.setdefault(name, value)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def warnings(new: Object, old: Object | None) -> list[str]:
    """Tokens in attributes end up in logs."""
    spec = new.get("spec") or {}
    if spec.get("tokenRequests") and "serviceAccountTokenInSecrets" not in spec:
        return [
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent "
            "possible logging of tokens in volume attributes"
        ]
    return []


_LIFECYCLES = ("Persistent", "Ephemeral")
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Known policies, and tokens each for another audience."""
    spec = new["spec"]
    policies = ("File", "None", "ReadWriteOnceWithFSType")
    yield from validation.one_of(spec.get("fsGroupPolicy"), "spec.fsGroupPolicy", policies)
    yield from _token_problems(spec.get("tokenRequests") or ())
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _LIFECYCLES:
            yield field.not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLES)
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _SHORTEST_PERIOD:
        detail = f"must be greater than or equal to {_SHORTEST_PERIOD} seconds"
        yield field.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, detail)
    if old is None:
        return
    for member, shown in (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")):
        if spec.get(member) != old["spec"].get(member):
            yield field.invalid(f"spec.{shown}", spec.get(member), "field is immutable")


def _token_problems(requests: Sequence[Object]) -> Iterator[field.Error]:
    audiences: set[str] = set()
    for index, request in enumerate(requests):
        path, audience = f"spec.tokenRequests[{index}]", request.get("audience", "")
        if audience in audiences:
            yield field.duplicate(f"{path}.audience", audience)
            continue
        audiences.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is None:
            continue
        if seconds < _SHORTEST_TOKEN:
            detail = "may not specify a duration less than 10 minutes"
            yield field.invalid(f"{path}.expirationSeconds", seconds, detail)
        if seconds > _LONGEST_TOKEN:
            detail = "may not specify a duration larger than 2^32 seconds"
            yield field.invalid(f"{path}.expirationSeconds", seconds, detail)


def _flag(name: str) -> Column:
    return Column(name[0].upper() + name[1:], lambda obj, _: bool(obj["spec"].get(name)), type="boolean")


def _tokens(obj: Object, _: datetime) -> str:
    return ",".join(item.get("audience", "") for item in obj["spec"].get("tokenRequests") or ()) or "<unset>"


def _modes(obj: Object, _: datetime) -> str:
    return ",".join(obj["spec"].get("volumeLifecycleModes") or ()) or "<none>"


RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    generation=False,
    default=default,
    warnings=warnings,
    validate=validate,
    columns=(
        _flag("attachRequired"),
        _flag("podInfoOnMount"),
        _flag("storageCapacity"),
        Column("TokenRequests", _tokens),
        _flag("requiresRepublish"),
        Column("Modes", _modes),
        Column.AGE,
    ),
)
