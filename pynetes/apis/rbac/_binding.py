"""What both bindings share: subjects and the role they refer to."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.machinery import cells, field, names, validation
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


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A role that can be bound here, subjects that can be told apart; the role never changes."""
    role, cluster = new["roleRef"], not new["metadata"].get("namespace")
    if role.get("apiGroup") != GROUP:
        yield field.not_supported("roleRef.apiGroup", role.get("apiGroup"), (GROUP,))
    kinds = ("ClusterRole",) if cluster else ("Role", "ClusterRole")
    if role.get("kind") not in kinds:
        yield field.not_supported("roleRef.kind", role.get("kind", ""), kinds)
    if not role.get("name"):
        yield field.required("roleRef.name")
    else:
        yield from validation.checked(role["name"], "roleRef.name", names.path_segment)
    for index, subject in enumerate(new.get("subjects") or ()):
        yield from _validate_subject(subject, f"subjects[{index}]", cluster=cluster)
    if old is not None and old["roleRef"] != role:
        shown = {"APIGroup": role.get("apiGroup"), "Kind": role.get("kind"), "Name": role.get("name")}
        yield field.invalid("roleRef", shown, "cannot change roleRef")


def _validate_subject(subject: Object, path: str, *, cluster: bool) -> Iterator[field.Error]:
    kind, group = subject.get("kind") or "", subject.get("apiGroup", "")
    if not subject.get("name"):
        yield field.required(f"{path}.name")
    if kind == "ServiceAccount":
        if subject.get("name"):
            yield from validation.checked(subject["name"], f"{path}.name", names.dns_subdomain)
        if group:
            yield field.not_supported(f"{path}.apiGroup", group, ("",))
        if cluster and not subject.get("namespace"):
            yield field.required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != GROUP:
            yield field.not_supported(f"{path}.apiGroup", group, (GROUP,))
    else:
        yield field.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


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
