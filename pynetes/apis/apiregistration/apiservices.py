"""APIService: a group version, and the Service that serves it if this server does not."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """HTTPS on 443."""
    service = (obj.get("spec") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


def _service(obj: Object, _: datetime) -> str:
    service = obj["spec"].get("service")
    return f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"


def _available(obj: Object, _: datetime) -> str:
    for item in (obj.get("status") or {}).get("conditions") or ():
        if item["type"] == "Available":
            return item["status"] if item["status"] == "True" else f"{item['status']} ({item.get('reason', '')})"
    return "Unknown"


RESOURCE = Resource(
    group="apiregistration.k8s.io",
    versions=("v1",),
    kind="APIService",
    plural="apiservices",
    categories=("api-extensions",),
    namespaced=False,
    storage_prefix="apiregistration.k8s.io/apiservices",
    subresources=("status",),
    generation=False,
    default=default,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(Column("Service", _service), Column("Available", _available), Column.AGE),
)
