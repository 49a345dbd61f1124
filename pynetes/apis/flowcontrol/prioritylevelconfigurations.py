"""PriorityLevelConfiguration: how much of the server requests of a level may use."""

import math
from collections.abc import Iterator

from pynetes.apis.apps import _workload
from pynetes.apis.flowcontrol import _status
from pynetes.machinery import cells, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_QUEUING = (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50))


def default(obj: Object) -> None:
    """Fill in shares and queues."""
    spec = obj.get("spec") or {}
    limited, exempt = spec.get("limited"), spec.get("exempt")
    if limited is not None:
        if limited.get("nominalConcurrencyShares") is None:
            limited["nominalConcurrencyShares"] = 30
        limited.setdefault("lendablePercent", 0)
        if (queuing := (limited.get("limitResponse") or {}).get("queuing")) is not None:
            queuing.update({name: value for name, value in _QUEUING if not queuing.get(name)})
    if exempt is not None:
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)


_QUEUES_LIMIT = 10_000_000
_ENTROPY_LIMIT = 60


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Either exempt or limited, with shares from 0 up and hands that the queues can deal."""
    name, spec = new["metadata"].get("name"), new.get("spec") or {}
    kind, limited, exempt = spec.get("type", ""), spec.get("limited"), spec.get("exempt")
    if (name == "exempt") != (kind == "Exempt"):
        yield field.invalid("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'")
    if kind == "Exempt":
        if limited is not None:
            yield field.forbidden("spec.limited", "must be nil if the type is not Limited")
        if exempt is not None:
            yield from _shares(exempt, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            yield field.forbidden("spec.exempt", "must be nil if the type is Limited")
        if limited is None:
            yield field.required("spec.limited", "must not be empty when type is Limited")
        else:
            yield from _limited_problems(limited, "spec.limited")
    else:
        yield field.not_supported("spec.type", kind, ("Exempt", "Limited"))


def _shares(settings: Object, path: str) -> Iterator[field.Error]:
    shares, lendable = settings.get("nominalConcurrencyShares") or 0, settings.get("lendablePercent") or 0
    if shares < 0:
        yield field.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if not 0 <= lendable <= 100:
        yield field.invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive")


def _limited_problems(limited: Object, path: str) -> Iterator[field.Error]:
    yield from _shares(limited, path)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        yield field.invalid(f"{path}.borrowingLimitPercent", borrowing, "if specified, must be a non-negative integer")
    response = limited.get("limitResponse") or {}
    kind, queuing = response.get("type", ""), response.get("queuing")
    place = f"{path}.limitResponse"
    if kind == "Reject":
        if queuing is not None:
            yield field.forbidden(f"{place}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif kind == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            yield field.required(f"{place}.queuing", detail)
        else:
            yield from _queuing_problems(queuing, f"{place}.queuing")
    else:
        yield field.not_supported(f"{place}.type", kind, ("Queue", "Reject"))


def _queuing_problems(queuing: Object, path: str) -> Iterator[field.Error]:
    length, queues, hand = (queuing.get(name) or 0 for name in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        yield field.invalid(f"{path}.queueLengthLimit", length, "must be positive")
    if queues <= 0:
        yield field.invalid(f"{path}.queues", queues, "must be positive")
    elif queues > _QUEUES_LIMIT:
        yield field.invalid(f"{path}.queues", queues, f"must not be greater than {_QUEUES_LIMIT}")
    if hand <= 0:
        yield field.invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        yield field.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif _entropy(queues, hand) > _ENTROPY_LIMIT:
        detail = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than 60"
        yield field.invalid(f"{path}.handSize", hand, detail)


def _entropy(queues: int, hand: int) -> int:
    """Bits that dealing a hand of distinct queues needs."""
    return math.ceil(sum(math.log2(queues - index) for index in range(hand)))


def _queuing(name: str, field: str) -> Column:
    return Column(name, cells.path(f".spec.limited.limitResponse.queuing.{field}", "<none>"))


RESOURCE = Resource(
    group="flowcontrol.apiserver.k8s.io",
    versions=("v1",),
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    subresources=("status",),
    default=default,
    validate=validate,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    validate_status=_status.validate,
    columns=(
        Column("Type", ".spec.type"),
        Column("NominalConcurrencyShares", cells.path(".spec.limited.nominalConcurrencyShares", "<none>")),
        _queuing("Queues", "queues"),
        _queuing("HandSize", "handSize"),
        _queuing("QueueLengthLimit", "queueLengthLimit"),
        Column.AGE,
    ),
)
