"""PodDisruptionBudget."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="policy",
    versions=("v1",),
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    subresources=("status",),
)
