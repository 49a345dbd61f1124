"""StatefulSet."""

from pynetes.machinery.resource import Resource, Scale

RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    subresources=("scale", "status"),
    scale=Scale(spec_path=".spec.replicas", status_path=".status.replicas", selector_path=".spec.selector"),
)
