"""Service: one stable address in front of pods. Addresses and node ports are allocated by the API server's registry."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_AFFINITY_SECONDS = 10800


def default(obj: Object) -> None:
    """Fill in type, affinity, traffic policies and ports."""
    spec = obj.get("spec")
    if spec is None:
        return
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {})
        config.setdefault("clientIP", {}).setdefault("timeoutSeconds", _AFFINITY_SECONDS)
    kind = spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    if kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs")):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _cluster_ip(obj: Object, _: datetime) -> str:
    return obj["spec"].get("clusterIP") or "<none>"


def _external_ip(obj: Object, _: datetime) -> str:
    spec = obj["spec"]
    given = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName") or "<none>")
        case "LoadBalancer":
            ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
            addresses = [item.get("ip") or item.get("hostname") or "" for item in ingress]
            return ",".join(addresses + given) or "<pending>"
        case _:
            return ",".join(given) or "<none>"


def _ports(obj: Object, _: datetime) -> str:
    texts = [
        f"{port['port']}:{port['nodePort']}/{port.get('protocol', 'TCP')}"
        if port.get("nodePort")
        else f"{port['port']}/{port.get('protocol', 'TCP')}"
        for port in obj["spec"].get("ports") or ()
    ]
    return ",".join(texts) or "<none>"


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    storage_prefix="services/specs",
    subresources=("proxy", "status"),
    name_rule="dns-label",
    generation=False,
    fields={"spec.clusterIP": ".spec.clusterIP", "spec.type": ".spec.type"},
    default=default,
    prepare=_workload.reset_status({"loadBalancer": {}}),
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Type", ".spec.type"),
        Column("Cluster-IP", _cluster_ip),
        Column("External-IP", _external_ip),
        Column("Port(s)", _ports),
        Column.AGE,
        Column("Selector", cells.label_map(".spec.selector"), wide=True),
    ),
)
