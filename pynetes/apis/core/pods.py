"""Pod: the containers that run together on one node."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pynetes.apis.core import (
    _pod_defaults,
    _pod_resources,
    _pod_status,
    _pod_status_validation,
    _pod_validation,
    _pod_warnings,
)
from pynetes.machinery import cells, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

#: metadata.deletionGracePeriodSeconds of a pod whose spec does not say.
DEFAULT_GRACE = 30


def default(pod: Object) -> None:
    """Fill in the spec; unlike a template, a pod also gets requests from limits and service links."""
    spec = pod.get("spec")
    if spec is None:
        return
    for name in ("containers", "initContainers"):
        for container in spec.get(name) or ():
            _pod_defaults.default_requests(container)
    _pod_resources.default(spec)
    spec.setdefault("enableServiceLinks", True)
    _pod_defaults.default_spec(spec)
    _pod_defaults.default_host_ports(spec)


def prepare(pod: Object, old: Object | None) -> None:
    """A new pod is Pending; a status given by the client counts for nothing."""
    if old is not None:
        pod["status"] = old.get("status") or {}
        return
    spec = pod.get("spec") or {}
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    _pod_defaults.merge_label_keys(spec, pod["metadata"].get("labels") or {})
    pod["status"] = {"phase": "Pending", "qosClass": _pod_resources.qos_class(spec)}
    if spec.get("schedulingGates"):
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": None,
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]


def stamp(pod: Object, old: Object | None, now: str) -> None:
    """A gated pod has been so since it was made."""
    if old is None:
        for condition in (pod.get("status") or {}).get("conditions") or ():
            condition["lastTransitionTime"] = now


def prepare_status(pod: Object, old: Object | None) -> None:
    """Only the status changes; the class of service is not a client's to set."""
    if old is None:
        return
    pod["spec"] = old["spec"]
    qos = (old.get("status") or {}).get("qosClass")
    if qos and not (pod.get("status") or {}).get("qosClass"):
        pod.setdefault("status", {})["qosClass"] = qos
    _pod_status_validation.keep_generations(pod, old)
    _agree_on_addresses(pod.get("status") or {})


def _agree_on_addresses(status: Object) -> None:
    """podIP is the first of podIPs, and hostIP of hostIPs; the single one, which older kubelets know, wins."""
    for one, many in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        single, listed = status.get(one), status.get(many) or []
        first = listed[0].get("ip") if listed else None
        if single == first:
            continue
        if single:
            status[many] = [{"ip": single}]
        elif first:
            status[one] = first


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Every mistake of a new pod, or of a change to one."""
    return _pod_validation.validate_pod(new, old)


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Mistakes of a pod's status."""
    yield from _pod_validation.validate_mirror(new, old or {"metadata": {}})
    yield from _pod_status_validation.validate(new, old or {})


def grace(pod: Object) -> int:
    """Seconds that the containers get to stop; none for a pod that no node has taken on or that has ended."""
    if not (pod.get("spec") or {}).get("nodeName"):
        return 0
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    return max(int(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE)), 1)


def row_conditions(pod: Object) -> list[Object]:
    """Marks ended pods in a table."""
    match (pod.get("status") or {}).get("phase"):
        case "Succeeded":
            reason, message = "Succeeded", "The pod has completed successfully."
        case "Failed":
            reason, message = "Failed", "The pod failed."
        case _:
            return []
    return [{"type": "Completed", "status": "True", "reason": reason, "message": message}]


def _restarts(pod: Object, now: datetime) -> Any:
    return _pod_status.summary(pod, now).restarts


def _gates(pod: Object, _: datetime) -> str:
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    if not gates:
        return "<none>"
    conditions = {item["type"]: item["status"] for item in (pod.get("status") or {}).get("conditions") or ()}
    return f"{sum(conditions.get(gate) == 'True' for gate in gates)}/{len(gates)}"


def _ip(pod: Object, _: datetime) -> str:
    status = pod.get("status") or {}
    ips = status.get("podIPs")
    return (ips[0].get("ip") if ips else status.get("podIP")) or "<none>"


def _flag(path: str) -> Any:
    return lambda pod, _: "true" if pod.get("spec", {}).get(path) else "false"


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    subresources=(
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "proxy",
        "resize",
        "status",
    ),
    fields={
        "spec.nodeName": ".spec.nodeName",
        "spec.restartPolicy": ".spec.restartPolicy",
        "spec.schedulerName": ".spec.schedulerName",
        "spec.serviceAccountName": ".spec.serviceAccountName",
        "spec.hostNetwork": _flag("hostNetwork"),
        "status.phase": ".status.phase",
        "status.podIP": _pod_status.ip_field,
        "status.podIPs": _pod_status.ip_field,
        "status.nominatedNodeName": ".status.nominatedNodeName",
    },
    default=default,
    prepare=prepare,
    stamp=stamp,
    prepare_status=prepare_status,
    validate=validate,
    validate_status=validate_status,
    grace=grace,
    row_conditions=row_conditions,
    columns=(
        Column("Ready", lambda pod, now: _pod_status.summary(pod, now).ready),
        Column("Status", lambda pod, now: _pod_status.summary(pod, now).reason),
        Column("Restarts", _restarts),
        Column.AGE,
        Column("IP", _ip, wide=True),
        Column("Node", cells.path(".spec.nodeName", "<none>"), wide=True),
        Column("Nominated Node", cells.path(".status.nominatedNodeName", "<none>"), wide=True),
        Column("Readiness Gates", _gates, wide=True),
    ),
    warnings=_pod_warnings.of_pod,
)
