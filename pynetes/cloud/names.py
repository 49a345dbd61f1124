"""Labels, annotations, taints and finalizers that clouds and clusters agree on (well-known labels of the API)."""

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
#: Where a kubelet says which address it was told to use.
PROVIDED_NODE_IP = "alpha.kubernetes.io/provided-node-ip"
EXCLUDE_FROM_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers"
#: An autoscaler is about to remove the node.
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
#: The same under the names of before 1.17, which selectors still use.
OLD_NAMES = {
    INSTANCE_TYPE: "beta.kubernetes.io/instance-type",
    ZONE: "failure-domain.beta.kubernetes.io/zone",
    REGION: "failure-domain.beta.kubernetes.io/region",
}

CLEANUP = "service.kubernetes.io/load-balancer-cleanup"
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def owned(cluster: str) -> str:
    """The tag that says whose a resource of the cloud is; its value is owned or shared."""
    return f"kubernetes.io/cluster/{cluster}"


SERVICE_TAG = "kubernetes.io/service-name"
