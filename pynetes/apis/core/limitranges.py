"""LimitRange."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    generation=False,
)
