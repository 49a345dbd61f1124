"""A CustomResourceDefinition as the record of a kind: pure."""

from collections.abc import Callable
from typing import Any

from pynetes.apiserver.served import priority
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource, Scale


def record(definition: Object) -> Resource:
    """The Resource of a valid definition."""
    spec = definition["spec"]
    names, group = spec["names"], spec["group"]
    versions = {version["name"]: version for version in spec["versions"] if version.get("served")}
    order = tuple(sorted(versions, key=priority))
    preferred = versions[order[0]]
    fields = preferred.get("selectableFields") or ()
    return Resource(
        group=group,
        versions=order,
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        list_kind=names.get("listKind") or f"{names['kind']}List",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        namespaced=spec["scope"] == "Namespaced",
        storage_version=next(version["name"] for version in spec["versions"] if version.get("storage")),
        storage_prefix=f"{group}/{names['plural']}",
        subresources=tuple(
            sorted({name for version in versions.values() for name in version.get("subresources") or ()})
        ),
        scale=_scale((preferred.get("subresources") or {}).get("scale")),
        fields={each["jsonPath"].lstrip("."): each["jsonPath"] for each in fields} or None,
        columns=tuple(_columns(preferred.get("additionalPrinterColumns"))),
        schema={name: (version.get("schema") or {}).get("openAPIV3Schema") or {} for name, version in versions.items()},
    )


def _scale(about: Any) -> Scale | None:
    if not about:
        return None
    return Scale(
        spec_path=about["specReplicasPath"],
        status_path=about["statusReplicasPath"],
        selector_path=about.get("labelSelectorPath") or "",
    )


def _columns(columns: Any) -> list[Column]:
    if not columns:
        return [Column.AGE]
    return [
        Column(
            each["name"],
            each["jsonPath"],
            type=each.get("type") or "string",
            format=each.get("format") or "",
            description=each.get("description")
            or f"Custom resource definition column (in JSONPath format): {each['jsonPath']}",
            wide=bool(each.get("priority")),
        )
        for each in columns
    ]


def conditions(definition: Object, taken: Callable[[str, str], str], now: str) -> list[Object]:
    """NamesAccepted and Established; taken(what, name) says who else has a name in the group, or ""."""
    names = definition["spec"]["names"]
    wanted = [("plural", names["plural"]), ("kind", names["kind"]), ("listKind", names.get("listKind") or "")]
    wanted += [("singular", names.get("singular") or "")] + [
        ("shortNames", name) for name in names.get("shortNames") or ()
    ]
    conflicts = [(what, name) for what, name in wanted if name and taken(what, name)]
    if conflicts:
        what, name = conflicts[0]
        reason = {"plural": "PluralConflict", "kind": "KindConflict", "listKind": "ListKindConflict"}
        accepted = _condition(
            "NamesAccepted", "False", reason.get(what, "NamesConflict"), f'"{name}" is already in use', now
        )
        return [accepted, _condition("Established", "False", "NotAccepted", "not all names are accepted", now)]
    return [
        _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
        _condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now),
    ]


def _condition(kind: str, status: str, reason: str, message: str, now: str) -> Object:
    return {"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}


def is_established(definition: Object) -> bool:
    """Whether the definition is served."""
    found = (definition.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in found)


def with_conditions(definition: Object, new: list[Object]) -> Object:
    """The definition with these conditions; one that has not changed keeps its time."""
    status = definition.setdefault("status", {})
    before = {each["type"]: each for each in status.get("conditions") or ()}
    for each in new:
        old = before.get(each["type"])
        if old is None or old["status"] != each["status"]:
            before[each["type"]] = each
    status["conditions"] = list(before.values())
    if is_established(definition):
        status["acceptedNames"] = definition["spec"]["names"]
    return definition
