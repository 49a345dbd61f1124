"""StatefulSet: numbered pods, each with a name and storage of its own."""

from collections.abc import Iterator

from pynetes.apis.apps import _status, _validation, _workload
from pynetes.apis.core import _pod_defaults, _pod_warnings, _volumes
from pynetes.machinery import field, names, validation
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


_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Order, strategy, selector and template; most of the spec is fixed once it exists."""
    spec = new["spec"]
    if spec.get("podManagementPolicy") not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        yield field.invalid("spec.podManagementPolicy", spec.get("podManagementPolicy"), detail)
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") not in ("RollingUpdate", "OnDelete"):
        shown = {"Type": strategy.get("type", ""), "RollingUpdate": strategy.get("rollingUpdate")}
        yield field.invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'")
    yield from _rolling(strategy, "spec.updateStrategy.rollingUpdate")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        path = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
        yield from validation.one_of(retention.get(name), path, ("Retain", "Delete"))
    yield from _validation.counts(spec, "replicas", "minReadySeconds")
    yield from validation.non_negative((spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")
    if old is None and spec.get("serviceName"):
        yield from validation.checked(spec["serviceName"], "spec.serviceName", names.dns_label)
    yield from _validation.selector_and_template(_with_claims(spec), "statefulset")
    if old is not None and any(
        spec.get(name) != old["spec"].get(name) for name in {*spec, *old["spec"]} if name not in _MUTABLE
    ):
        *most, last = (f"'{name}'" for name in _MUTABLE)
        detail = f"updates to statefulset spec for fields other than {', '.join(most)} and {last} are forbidden"
        yield field.forbidden("spec", detail)


def _with_claims(spec: Object) -> Object:
    """The spec with the volumes that its pods will have: each claim template is one, and may replace a written one."""
    template = spec.get("template") or {}
    names = [(claim.get("metadata") or {}).get("name") for claim in spec.get("volumeClaimTemplates") or ()]
    if not names or not template.get("spec"):
        return spec
    written = [one for one in template["spec"].get("volumes") or () if one.get("name") not in names]
    claimed = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names if name]
    pod = template["spec"] | {"volumes": [*written, *claimed]}
    return spec | {"template": template | {"spec": pod}}


def _rolling(strategy: Object, path: str) -> Iterator[field.Error]:
    update = strategy.get("rollingUpdate")
    if update is None:
        return
    if strategy.get("type") == "OnDelete":
        shown = {"Partition": update.get("partition") or 0, "MaxUnavailable": update.get("maxUnavailable")}
        yield field.invalid(path, shown, "only allowed for updateStrategy 'RollingUpdate'")
        return
    yield from validation.non_negative(update.get("partition"), f"{path}.partition")
    if (most := update.get("maxUnavailable")) is not None:
        yield from validation.int_or_percent(most, f"{path}.maxUnavailable")
        if most in (0, "0%"):
            yield field.invalid(f"{path}.maxUnavailable", most, "cannot be 0")
        yield from validation.at_most_hundred_percent(most, f"{path}.maxUnavailable")


_OF_TEMPLATE = _pod_warnings.of_template("spec", "template")


def warnings(new: Object, old: Object | None) -> list[str]:
    """Settings of its pods and claims that are old or do nothing, and a history without end."""
    spec, found = new.get("spec") or {}, _OF_TEMPLATE(new, old)
    # Upstream's own spelling of the second.
    end = "" if old is None else ".Spec"
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        path = f"spec.volumeClaimTemplates[{index}]{end}"
        found.extend(_volumes.claim_warnings(claim.get("spec") or {}, path))
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        text = "a negative value retains all historical revisions; a value >= 0 is recommended"
        found.append(f"spec.revisionHistoryLimit: {text}")
    return found


RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    name_rule="dns-label",
    categories=("all",),
    subresources=("scale", "status"),
    scale=Scale(spec_path=".spec.replicas", status_path=".status.replicas", selector_path=".spec.selector"),
    default=default,
    prepare=_workload.reset_status({"replicas": 0, "availableReplicas": 0}),
    prepare_status=_workload.keep_spec,
    validate_status=_status.counts(
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
        parts=("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
        ready="status.readyReplicas",
        collisions=True,
    ),
    columns=(Column("Ready", _workload.ready_of_desired), Column.AGE, _workload.CONTAINERS, _workload.IMAGES),
    validate=validate,
    warnings=warnings,
)
