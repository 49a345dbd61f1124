"""Service."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    storage_prefix="services/specs",
    subresources=("proxy", "status"),
    name_rule="dns1035-label",
    generation=False,
)
