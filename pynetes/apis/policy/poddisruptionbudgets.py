"""PodDisruptionBudget: how many pods voluntary disruptions may take at once."""

from pynetes.apis.apps import _workload
from pynetes.machinery import cells
from pynetes.machinery.resource import Column, Resource

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
    columns=(
        Column("Min Available", cells.text(".spec.minAvailable", "N/A")),
        Column("Max Unavailable", cells.text(".spec.maxUnavailable", "N/A")),
        Column("Allowed Disruptions", cells.path(".status.disruptionsAllowed", 0), type="integer"),
        Column.AGE,
    ),
)
