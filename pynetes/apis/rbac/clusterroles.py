"""ClusterRole."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="rbac.authorization.k8s.io",
    versions=("v1",),
    kind="ClusterRole",
    plural="clusterroles",
    namespaced=False,
    name_rule="path-segment",
    generation=False,
)
