"""What both bindings share: subjects and the role they refer to."""

from datetime import datetime

from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column

GROUP = "rbac.authorization.k8s.io"


def default(obj: Object) -> None:
    """Users, groups and roles belong to the RBAC group; service accounts to the core one."""
    role = obj.setdefault("roleRef", {})
    if not role.get("apiGroup"):
        role["apiGroup"] = GROUP
    for subject in obj.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = GROUP


def _role(obj: Object, _: datetime) -> str:
    role = obj["roleRef"]
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(kind: str) -> cells.Cell:
    def cell(obj: Object, _: datetime) -> str:
        found = [subject for subject in obj.get("subjects") or () if subject.get("kind") == kind]
        if kind == "ServiceAccount":
            return ", ".join(f"{subject.get('namespace', '')}/{subject.get('name', '')}" for subject in found)
        return ", ".join(subject.get("name", "") for subject in found)

    return cell


COLUMNS = (
    Column("Role", _role),
    Column.AGE,
    Column("Users", _subjects("User"), wide=True),
    Column("Groups", _subjects("Group"), wide=True),
    Column("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
)
