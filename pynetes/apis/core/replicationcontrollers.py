"""ReplicationController."""

from pynetes.machinery.resource import Resource, Scale

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ReplicationController",
    plural="replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    storage_prefix="controllers",
    subresources=("scale", "status"),
    scale=Scale(spec_path=".spec.replicas", status_path=".status.replicas", selector_path=".spec.selector"),
)
