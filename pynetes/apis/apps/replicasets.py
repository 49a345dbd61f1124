"""ReplicaSet: a number of pods kept running from one template."""

from collections.abc import Iterator

from pynetes.apis.apps import _status, _validation, _workload
from pynetes.apis.core import _pod_defaults, _pod_warnings
from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource, Scale


def default(obj: Object) -> None:
    """One replica unless told otherwise."""
    if (spec := obj.get("spec")) is not None:
        spec.setdefault("replicas", 1)
        _pod_defaults.default_template(spec.get("template"))


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Counts, selector and template."""
    yield from _validation.counts(new["spec"], "replicas", "minReadySeconds")
    yield from _validation.selector_and_template(new["spec"], "ReplicaSet")


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
    validate_status=_status.counts(
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "terminatingReplicas",
        "observedGeneration",
        parts=("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
        ready="readyReplicas",
    ),
    immutable=("spec.selector",),
    columns=(*_workload.REPLICAS, Column.AGE, _workload.CONTAINERS, _workload.IMAGES, _workload.SELECTOR),
    validate=validate,
    warnings=_pod_warnings.of_template("spec", "template", named=True),
)
