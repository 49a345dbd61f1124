"""CSIDriver: what a CSI driver can do."""

from datetime import datetime

from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_FLAGS = (
    ("attachRequired", True),
    ("podInfoOnMount", False),
    ("storageCapacity", False),
    ("requiresRepublish", False),
    ("seLinuxMount", False),
)


def default(obj: Object) -> None:
    """Fill in what the driver does not say."""
    spec = obj.setdefault("spec", {})
    for name, value in _FLAGS:
        spec.setdefault(name, value)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def warnings(new: Object, old: Object | None) -> list[str]:
    """Tokens in attributes end up in logs."""
    spec = new.get("spec") or {}
    if spec.get("tokenRequests") and "serviceAccountTokenInSecrets" not in spec:
        return [
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent "
            "possible logging of tokens in volume attributes"
        ]
    return []


def _flag(name: str) -> Column:
    return Column(name[0].upper() + name[1:], lambda obj, _: bool(obj["spec"].get(name)), type="boolean")


def _tokens(obj: Object, _: datetime) -> str:
    return ",".join(item.get("audience", "") for item in obj["spec"].get("tokenRequests") or ()) or "<unset>"


def _modes(obj: Object, _: datetime) -> str:
    return ",".join(obj["spec"].get("volumeLifecycleModes") or ()) or "<none>"


RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    generation=False,
    default=default,
    warnings=warnings,
    columns=(
        _flag("attachRequired"),
        _flag("podInfoOnMount"),
        _flag("storageCapacity"),
        Column("TokenRequests", _tokens),
        _flag("requiresRepublish"),
        Column("Modes", _modes),
        Column.AGE,
    ),
)
