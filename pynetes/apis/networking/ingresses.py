"""Ingress: HTTP routes from outside to Services."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _class(obj: Object, _: datetime) -> str:
    annotation = (obj["metadata"].get("annotations") or {}).get("kubernetes.io/ingress.class")
    return str(obj["spec"].get("ingressClassName") or annotation or "<none>")


def _hosts(obj: Object, _: datetime) -> str:
    found = [rule["host"] for rule in obj["spec"].get("rules") or () if rule.get("host")]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more if found else "*"


def _address(obj: Object, _: datetime) -> str:
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(item.get("ip") or item.get("hostname") or "" for item in ingress)


def _ports(obj: Object, _: datetime) -> str:
    return "80, 443" if obj["spec"].get("tls") else "80"


def warnings(new: Object, old: Object | None) -> list[str]:
    """The class has a field now."""
    if "kubernetes.io/ingress.class" in (new["metadata"].get("annotations") or {}):
        return ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"]
    return []


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    storage_prefix="ingress",
    subresources=("status",),
    prepare=_workload.reset_status({"loadBalancer": {}}),
    prepare_status=_workload.keep_spec,
    warnings=warnings,
    columns=(
        Column("Class", _class),
        Column("Hosts", _hosts),
        Column("Address", _address),
        Column("Ports", _ports),
        Column.AGE,
    ),
)
