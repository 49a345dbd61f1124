"""What a StatefulSet's pods are called, which claims they have, and what a pod of an ordinal looks like."""

from collections.abc import Iterator
from copy import deepcopy

from pynetes.apis.apps import statefulsets
from pynetes.controllers import _history as history
from pynetes.controllers import _owned as owned
from pynetes.machinery.meta import Object

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


def start(stateful: Object) -> int:
    """The first ordinal."""
    return int((stateful["spec"].get("ordinals") or {}).get("start") or 0)


def replicas(stateful: Object) -> int:
    """spec.replicas, 1 when not given."""
    wanted = stateful["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def ordinals(stateful: Object) -> range:
    """The ordinals that should have a pod."""
    return range(start(stateful), start(stateful) + replicas(stateful))


def name(stateful: Object, ordinal: int) -> str:
    """The pod's name."""
    return f"{stateful['metadata']['name']}-{ordinal}"


def ordinal_of(stateful: Object, pod: Object) -> int | None:
    """The pod's ordinal; None when its name is not of this set."""
    parent, _, number = pod["metadata"]["name"].rpartition("-")
    return int(number) if parent == stateful["metadata"]["name"] and number.isdecimal() else None


def revision_of(pod: Object) -> str:
    """The name of the revision that the pod was made from."""
    return str((pod["metadata"].get("labels") or {}).get(history.HASH_LABEL) or "")


def claim_name(template: Object, stateful: Object, ordinal: int) -> str:
    """The claim of a template for an ordinal."""
    return f"{template['metadata']['name']}-{name(stateful, ordinal)}"


def claims(stateful: Object, ordinal: int) -> Iterator[Object]:
    """The claims that the pod of an ordinal needs."""
    labels = (stateful["spec"].get("selector") or {}).get("matchLabels") or {}
    for template in stateful["spec"].get("volumeClaimTemplates") or ():
        metadata = deepcopy(template["metadata"])
        metadata |= {"name": claim_name(template, stateful, ordinal), "namespace": stateful["metadata"]["namespace"]}
        metadata["labels"] = (metadata.get("labels") or {}) | labels
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata,
            "spec": deepcopy(template["spec"]),
        }


def pod_for(stateful: Object, template: Object, revision: str, ordinal: int) -> Object:
    """The pod of an ordinal, from the template of a revision."""
    pod = owned.pod_from_template(template, statefulsets.RESOURCE, stateful)
    metadata, spec = pod["metadata"], pod["spec"]
    del metadata["generateName"]
    metadata["name"] = name(stateful, ordinal)
    identity = {POD_NAME: metadata["name"], POD_INDEX: str(ordinal), history.HASH_LABEL: revision}
    metadata["labels"] = (metadata.get("labels") or {}) | identity
    spec["hostname"] = metadata["name"]
    if stateful["spec"].get("serviceName"):
        spec["subdomain"] = stateful["spec"]["serviceName"]
    wanted = {
        each["metadata"]["name"]: {
            "name": each["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": claim_name(each, stateful, ordinal), "readOnly": False},
        }
        for each in stateful["spec"].get("volumeClaimTemplates") or ()
    }
    others = [volume for volume in spec.get("volumes") or () if volume["name"] not in wanted]
    if wanted or others:
        spec["volumes"] = [*wanted.values(), *others]
    return pod
