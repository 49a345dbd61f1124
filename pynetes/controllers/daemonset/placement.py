"""Which nodes a DaemonSet's pod belongs on, and what the pod for a node looks like."""

from collections.abc import Sequence
from copy import deepcopy

from pynetes.apis.apps import daemonsets
from pynetes.controllers import _history as history
from pynetes.controllers import _nodeaffinity as affinity
from pynetes.controllers import _owned as owned
from pynetes.machinery.meta import Object

#: Daemons stay where other pods are driven off.
_TOLERATIONS = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_NAME = "metadata.name"


def tolerations(spec: Object) -> list[Object]:
    """The template's tolerations and those every daemon gets."""
    wanted = [*_TOLERATIONS]
    if spec.get("hostNetwork"):
        wanted.append(("node.kubernetes.io/network-unavailable", "NoSchedule"))
    have: list[Object] = list(spec.get("tolerations") or ())
    added: list[Object] = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in wanted]
    return [*have, *(each for each in added if each not in have)]


def should_run(daemonset: Object, node: Object) -> tuple[bool, bool]:
    """Whether a daemon belongs on the node, and whether one that is there may stay."""
    spec: Object = daemonset["spec"]["template"]["spec"]
    if spec.get("nodeName") not in (None, "", node["metadata"]["name"]) or not affinity.matches(spec, node):
        return False, False
    accepted = tolerations(spec)
    if affinity.untolerated(accepted, node, ("NoExecute",)):
        return False, False
    return not affinity.untolerated(accepted, node, ("NoSchedule",)), True


def pod_for(daemonset: Object, node: str, digest: str) -> Object:
    """The pod for a node; it is tied to it by name, and the scheduler binds it."""
    pod = owned.pod_from_template(daemonset["spec"]["template"], daemonsets.RESOURCE, daemonset)
    pod["metadata"]["labels"] = (pod["metadata"].get("labels") or {}) | {history.HASH_LABEL: digest}
    pod["spec"]["tolerations"] = tolerations(pod["spec"])
    pod["spec"]["affinity"] = _tied(pod["spec"].get("affinity") or {}, node)
    return pod


def _tied(given: Object, node: str) -> Object:
    """The affinity that only this node satisfies; preferences of the template stay."""
    tied = deepcopy(given)
    by_name = {"matchFields": [{"key": _NAME, "operator": "In", "values": [node]}]}
    tied.setdefault("nodeAffinity", {})["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [by_name]
    }
    return tied


def node_of(pod: Object) -> str:
    """The node a daemon is on or is meant for; "" if nothing says."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms: Sequence[Object] = required.get("nodeSelectorTerms") or ()
    for field in (field for term in terms for field in term.get("matchFields") or ()):
        if field["key"] == _NAME and field["operator"] == "In" and field.get("values"):
            return str(field["values"][0])
    return ""
