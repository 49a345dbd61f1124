"""ControllerRevision."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="ControllerRevision",
    plural="controllerrevisions",
    generation=False,
)
