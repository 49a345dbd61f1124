"""Event."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Event",
    plural="events",
    short_names=("ev",),
    generation=False,
)
