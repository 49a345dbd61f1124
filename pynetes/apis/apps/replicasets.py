"""ReplicaSet: a number of pods kept running from one template."""

from pynetes.apis.apps import _workload
from pynetes.apis.core import _pod_defaults
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource, Scale


def default(obj: Object) -> None:
    """One replica unless told otherwise."""
    if (spec := obj.get("spec")) is not None:
        spec.setdefault("replicas", 1)
        _pod_defaults.default_template(spec.get("template"))


RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    subresources=("scale", "status"),
    scale=Scale(spec_path=".spec.replicas", status_path=".status.replicas", selector_path=".spec.selector"),
    default=default,
    prepare=_workload.reset_status({"replicas": 0}),
    prepare_status=_workload.keep_spec,
    immutable=("spec.selector",),
    columns=(*_workload.REPLICAS, Column.AGE, _workload.CONTAINERS, _workload.IMAGES, _workload.SELECTOR),
)
