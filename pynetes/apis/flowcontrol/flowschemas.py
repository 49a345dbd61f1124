"""FlowSchema."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="flowcontrol.apiserver.k8s.io",
    versions=("v1",),
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    subresources=("status",),
)
