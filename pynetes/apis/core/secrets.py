"""Secret."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Secret",
    plural="secrets",
    generation=False,
)
