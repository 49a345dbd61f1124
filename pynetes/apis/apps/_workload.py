"""What the kinds of apps/v1 share: resetting status, and columns over the pod template."""

from datetime import datetime
from typing import Any

from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Prepare


def reset_status(empty: Object | None = None) -> Prepare:
    """A prepare hook: the status of a new object is empty, that of an update the old one's."""

    def prepare(new: Object, old: Object | None) -> None:
        new["status"] = dict(empty or {}) if old is None else old.get("status") or dict(empty or {})

    return prepare


def keep_spec(new: Object, old: Object | None) -> None:
    """A prepare_status hook: a status write changes the status only."""
    if old is not None and "spec" in old:
        new["spec"] = old["spec"]


def status_number(name: str) -> Any:
    """A cell with a number of the status, 0 when unset."""

    def cell(obj: Object, _: datetime) -> int:
        return int((obj.get("status") or {}).get(name) or 0)

    return cell


def ready_of_desired(obj: Object, _: datetime) -> str:
    """1/3: ready of desired replicas."""
    return f"{(obj.get('status') or {}).get('readyReplicas') or 0}/{obj['spec'].get('replicas') or 0}"


CONTAINERS = Column("Containers", cells.containers(), wide=True)
IMAGES = Column("Images", cells.images(), wide=True)
SELECTOR = Column("Selector", cells.selector(), wide=True)
REPLICAS = (
    Column("Desired", cells.path(".spec.replicas", 0), type="integer"),
    Column("Current", status_number("replicas"), type="integer"),
    Column("Ready", status_number("readyReplicas"), type="integer"),
)
