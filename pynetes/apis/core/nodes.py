"""Node: a machine that runs pods."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.core import _resource_names
from pynetes.machinery import cells, field, inet, names, quantity, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_ROLE_LABEL = "node-role.kubernetes.io/"


def default(obj: Object) -> None:
    """Capacity is allocatable unless the node says less; podCIDR is the first of podCIDRs."""
    spec, status = obj.setdefault("spec", {}), obj.setdefault("status", {})
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    if spec.get("podCIDRs") and not spec.get("podCIDR"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])


def prepare(new: Object, old: Object | None) -> None:
    """A node may be created with a status, as kubelets do; an update of the node leaves the status alone. What
    configured kubelets from the API is gone."""
    spec = new.get("spec") or {}
    if not ((old or {}).get("spec") or {}).get("configSource"):
        spec.pop("configSource", None)
    if old is not None:
        new["status"] = old.get("status") or {}


def prepare_status(new: Object, old: Object | None) -> None:
    """Only the status changes; metadata may too, for kubelets write annotations with it."""
    if old is not None:
        new["spec"] = old.get("spec") or {}


def _status(obj: Object, _: datetime) -> str:
    ready = next((item for item in (obj.get("status") or {}).get("conditions") or () if item["type"] == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready["status"] == "True" else "NotReady"]
    if obj.get("spec", {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(obj: Object, _: datetime) -> str:
    found = set()
    for name, value in (obj["metadata"].get("labels") or {}).items():
        if name.startswith(_ROLE_LABEL) and len(name) > len(_ROLE_LABEL):
            found.add(name.removeprefix(_ROLE_LABEL))
        elif name == "kubernetes.io/role" and value:
            found.add(value)
    return ",".join(sorted(found)) or "<none>"


def _address(kind: str) -> cells.Cell:
    def cell(obj: Object, _: datetime) -> str:
        addresses = (obj.get("status") or {}).get("addresses") or ()
        return next((item["address"] for item in addresses if item["type"] == kind), "<none>")

    return cell


def _info(name: str, default: str) -> cells.Cell:
    return lambda obj, _: ((obj.get("status") or {}).get("nodeInfo") or {}).get(name) or default


def _unschedulable(obj: Object, _: datetime) -> str:
    return "true" if obj.get("spec", {}).get("unschedulable") else "false"


_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Amounts, taints and pod ranges."""
    if old is None:
        yield from _taints(new.get("spec") or {})
        yield from _amounts(new)
        yield from _ranges(new.get("spec") or {})
        return
    yield from validate_status(new, old)
    yield from _kept(new.get("spec") or {}, old.get("spec") or {})


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Amounts and addresses."""
    yield from _amounts(new)
    addresses = (new.get("status") or {}).get("addresses") or []
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            shown = {"Type": address.get("type", ""), "Address": address.get("address", "")}
            yield field.duplicate(f"status.addresses[{index}]", shown)


def _amounts(obj: Object) -> Iterator[field.Error]:
    for member in ("capacity", "allocatable"):
        for name, amount in sorted(((obj.get("status") or {}).get(member) or {}).items()):
            path, parsed = f"status.{member}.{name}", quantity.parse(amount)
            if parsed.nanos < 0:
                yield field.invalid(path, amount, "must be greater than or equal to 0")
            if _resource_names.whole(name) and parsed.milli() % 1000:
                yield field.invalid(path, amount, "must be an integer")


def _kept(spec: Object, before: Object) -> Iterator[field.Error]:
    """What is said of a node once stays."""
    for name, shown in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
        if before.get(name) and before.get(name) != spec.get(name):
            yield field.forbidden(f"spec.{name}", f'node updates may not change {shown} except from "" to valid')
    yield from _taints(spec)
    if spec.get("externalID", "") != before.get("externalID", ""):
        yield field.forbidden("spec.externalID", "may not be updated")


def _taints(spec: Object) -> Iterator[field.Error]:
    """Upstream looks for taints below metadata, and so do its messages."""
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        path = f"metadata.taints[{index}]"
        yield from validation.checked(taint.get("key", ""), f"{path}.key", names.qualified_name)
        if wrong := names.label_value(taint.get("value", "")):
            yield field.invalid(f"{path}.value", taint.get("value", ""), ";".join(wrong))
        yield from validation.one_of(taint.get("effect"), f"{path}.effect", _EFFECTS)
        pair = (taint.get("key", ""), taint.get("effect", ""))
        if pair in seen:
            shown = {
                "Key": pair[0],
                "Value": taint.get("value", ""),
                "Effect": pair[1],
                "TimeAdded": taint.get("timeAdded"),
            }
            error = field.duplicate(path, shown)
            yield error._replace(message=f"{error.message}: taints must be unique by key and effect pair")
        seen.add(pair)


def _ranges(spec: Object) -> Iterator[field.Error]:
    cidrs = spec.get("podCIDRs") or []
    for index, cidr in enumerate(cidrs):
        yield from validation.checked(cidr, f"spec.podCIDRs[{index}]", inet.cidr)
    if len({":" in cidr for cidr in cidrs}) != len(cidrs):
        yield field.invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family")


def warnings(new: Object, old: Object | None) -> list[str]:
    """Settings that do nothing any more, and blocks that are written in another way than others."""
    spec, found = new.get("spec") or {}, []
    if spec.get("configSource") is not None:
        found.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    for index, block in enumerate(spec.get("podCIDRs") or ()):
        found.extend(inet.cidr_warnings(block, f"spec.podCIDRs[{index}]"))
    return found


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Node",
    plural="nodes",
    short_names=("no",),
    namespaced=False,
    storage_prefix="minions",
    subresources=("proxy", "status"),
    generation=False,
    created_with_status=True,
    fields={"spec.unschedulable": _unschedulable},
    default=default,
    prepare=prepare,
    prepare_status=prepare_status,
    columns=(
        Column("Status", _status),
        Column("Roles", _roles),
        Column.AGE,
        Column("Version", _info("kubeletVersion", "")),
        Column("Internal-IP", _address("InternalIP"), wide=True),
        Column("External-IP", _address("ExternalIP"), wide=True),
        Column("OS-Image", _info("osImage", "<unknown>"), wide=True),
        Column("Kernel-Version", _info("kernelVersion", "<unknown>"), wide=True),
        Column("Container-Runtime", _info("containerRuntimeVersion", "<unknown>"), wide=True),
    ),
    validate=validate,
    warnings=warnings,
    validate_status=validate_status,
)
