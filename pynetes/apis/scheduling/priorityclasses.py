"""PriorityClass."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="scheduling.k8s.io",
    versions=("v1",),
    kind="PriorityClass",
    plural="priorityclasses",
    short_names=("pc",),
    namespaced=False,
)
