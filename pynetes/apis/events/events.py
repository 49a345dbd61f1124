"""Event."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="events.k8s.io",
    versions=("v1",),
    kind="Event",
    plural="events",
    short_names=("ev",),
    storage_group="",
    generation=False,
)
