"""Node."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Node",
    plural="nodes",
    short_names=("no",),
    namespaced=False,
    storage_prefix="minions",
    subresources=("proxy", "status"),
    generation=False,
)
