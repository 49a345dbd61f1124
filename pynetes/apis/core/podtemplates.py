"""PodTemplate."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="PodTemplate",
    plural="podtemplates",
)
