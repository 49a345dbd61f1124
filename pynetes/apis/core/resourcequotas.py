"""ResourceQuota: what a namespace may use in all."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _usage(*, limits: bool) -> Column:
    def cell(obj: Object, _: datetime) -> str:
        status = obj.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        shown = [name for name in sorted(hard) if name.startswith("limits.") is limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in shown)

    return Column("Limit" if limits else "Request", cell)


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    subresources=("status",),
    generation=False,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(_usage(limits=False), _usage(limits=True), Column.AGE),
)
