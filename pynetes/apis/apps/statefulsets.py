"""StatefulSet: numbered pods, each with a name and storage of its own."""

from pynetes.apis.apps import _workload
from pynetes.apis.core import _pod_defaults
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource, Scale


def default(obj: Object) -> None:
    """Fill in order, update strategy, history, what becomes of claims, and the template."""
    spec = obj.get("spec")
    if spec is None:
        return
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    elif strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    _pod_defaults.default_template(spec.get("template"))
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        claim["status"] = {"phase": "Pending", **(claim.get("status") or {})}


RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    subresources=("scale", "status"),
    scale=Scale(spec_path=".spec.replicas", status_path=".status.replicas", selector_path=".spec.selector"),
    default=default,
    prepare=_workload.reset_status({"replicas": 0, "availableReplicas": 0}),
    prepare_status=_workload.keep_spec,
    columns=(Column("Ready", _workload.ready_of_desired), Column.AGE, _workload.CONTAINERS, _workload.IMAGES),
)
