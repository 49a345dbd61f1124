"""ReplicationController: the older ReplicaSet, with a plain map for selector."""

from collections.abc import Iterator

from pynetes.apis.apps import _status, _validation, _workload
from pynetes.apis.core import _pod_defaults, _pod_validation, _pod_warnings
from pynetes.machinery import cells, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource, Scale


def default(obj: Object) -> None:
    """Selector and labels follow the template's labels."""
    spec = obj.get("spec")
    if spec is None:
        return
    template = spec.get("template") or {}
    if found := (template.get("metadata") or {}).get("labels"):
        if not spec.get("selector"):
            spec["selector"] = dict(found)
        if not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(found)
    spec.setdefault("replicas", 1)
    _pod_defaults.default_template(spec.get("template"))


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Counts, selector and template."""
    spec = new["spec"]
    yield from _validation.counts(spec, "minReadySeconds")
    if not spec.get("selector"):
        yield field.required("spec.selector")
    yield from _validation.counts(spec, "replicas")
    template = spec.get("template")
    if template is None:
        yield field.required("spec.template")
        return
    given = (template.get("metadata") or {}).get("labels") or {}
    if any(given.get(key) != value for key, value in (spec.get("selector") or {}).items()):
        detail = "`selector` does not match template `labels`"
        yield field.invalid("spec.template.metadata.labels", given, detail)
    yield from _pod_validation.validate_template(template, "spec.template")
    yield from _validation.restart_policy(template, ("Always",))
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in ReplicationController is not Supported"
        yield field.forbidden("spec.template.spec.activeDeadlineSeconds", detail)


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ReplicationController",
    plural="replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    storage_prefix="controllers",
    subresources=("scale", "status"),
    scale=Scale(spec_path=".spec.replicas", status_path=".status.replicas", selector_path=".spec.selector"),
    fields={"status.replicas": lambda obj, _: str((obj.get("status") or {}).get("replicas") or 0)},
    default=default,
    prepare=_workload.reset_status({"replicas": 0}),
    prepare_status=_workload.keep_spec,
    validate_status=_status.counts(
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        parts=("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
        ready="readyReplicas",
    ),
    columns=(
        *_workload.REPLICAS,
        Column.AGE,
        _workload.CONTAINERS,
        _workload.IMAGES,
        Column("Selector", cells.label_map(".spec.selector"), wide=True),
    ),
    validate=validate,
    warnings=_pod_warnings.of_template("spec", "template", named=True),
)
