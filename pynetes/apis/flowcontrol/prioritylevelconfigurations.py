"""PriorityLevelConfiguration."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="flowcontrol.apiserver.k8s.io",
    versions=("v1",),
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    subresources=("status",),
)
