"""ServiceCIDR: a range that cluster IPs are allocated from."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _cidrs(obj: Object, _: datetime) -> str:
    return ",".join(obj["spec"].get("cidrs") or ())


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    subresources=("status",),
    generation=False,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(Column("CIDRs", _cidrs), Column.AGE),
)
