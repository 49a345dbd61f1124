"""Endpoints."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    storage_prefix="services/endpoints",
    generation=False,
)
