"""ConfigMap."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    generation=False,
)
