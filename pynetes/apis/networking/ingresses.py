"""Ingress."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    storage_prefix="ingress",
    subresources=("status",),
)
