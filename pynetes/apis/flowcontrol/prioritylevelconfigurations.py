"""PriorityLevelConfiguration: how much of the server requests of a level may use."""

from pynetes.apis.apps import _workload
from pynetes.machinery import cells
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
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Type", ".spec.type"),
        Column("NominalConcurrencyShares", cells.path(".spec.limited.nominalConcurrencyShares", "<none>")),
        _queuing("Queues", "queues"),
        _queuing("HandSize", "handSize"),
        _queuing("QueueLengthLimit", "queueLengthLimit"),
        Column.AGE,
    ),
)
