"""Extended resources that are devices of DeviceClasses (KEP-5004): a pod asks for `example.com/gpu: 1` as it would of a
device plugin, and on a node whose devices are published in slices it gets a claim made for it. Pure.

A class says which extended resource it stands for; each class is also one under a name of its own.
"""

from collections.abc import Collection, Iterable, Mapping

from pynetes.machinery import quantity
from pynetes.machinery.meta import Object
from pynetes.scheduler.pods import PodInfo

#: What stands before a class's name, as a resource that every class is.
IMPLICIT = "deviceclass.resource.kubernetes.io/"
ANNOTATION = "resource.kubernetes.io/extended-resource-claim"


def by_resource(classes: Iterable[Object]) -> dict[str, str]:
    """Extended resource → the class behind it: of several the newest, and of those the first by name."""
    found: dict[str, str] = {}
    ordered = sorted(classes, key=lambda one: str(one["metadata"]["name"]))
    for one in sorted(ordered, key=lambda one: str(one["metadata"].get("creationTimestamp") or ""), reverse=True):
        name = one["metadata"]["name"]
        found.setdefault(IMPLICIT + name, name)
        if own := (one.get("spec") or {}).get("extendedResourceName"):
            found.setdefault(own, name)
    return found


def claim_for(pod: PodInfo, classes: Mapping[str, str], but: Collection[str] = ()) -> tuple[Object, list[Object]]:
    """A claim for a pod's extended resources, without those that the node has of its own, and which request is whose.

    The claim has no name yet; without any request there is nothing to claim."""
    requests, mappings = [], []
    containers = [*(pod.spec.get("initContainers") or ()), *pod.spec["containers"]]
    for position, container in enumerate(containers):
        resources = container.get("resources") or {}
        wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        asked = sorted(name for name in wanted if name in classes and name not in but)
        for number, resource in enumerate(asked):
            count = quantity.parse(wanted[resource]).value()
            if count <= 0:
                continue
            request = f"container-{position}-request-{number}"
            exactly = {"deviceClassName": classes[resource], "allocationMode": "ExactCount", "count": count}
            requests.append({"name": request, "exactly": exactly})
            mappings.append({"containerName": container["name"], "resourceName": resource, "requestName": request})
    metadata = {
        "namespace": pod.key.namespace,
        "generateName": f"{pod.key.name[:40]}-extended-resources-",
        "annotations": {ANNOTATION: "true"},
        "ownerReferences": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod.key.name,
                "uid": pod.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "spec": {"devices": {"requests": requests}},
    }
    return claim, mappings
