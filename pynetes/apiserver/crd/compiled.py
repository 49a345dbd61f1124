"""A CustomResourceDefinition as the record of a kind: pure."""

from collections.abc import Callable
from typing import Any

from pynetes.apis.apiextensions import _approval as approvals
from pynetes.apiserver.crd import finalizers
from pynetes.apiserver.served import priority
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource, Scale


def record(
    definition: Object, conversion: Object | None = None, convert: Callable[[Object, str, str], Object] | None = None
) -> Resource:
    """The Resource of a valid definition; conversion and convert where a webhook knows its versions."""
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
        conversion=conversion,
        convert=convert,
        mixed=len((definition.get("status") or {}).get("storedVersions") or ()) > 1,
        fields={each["jsonPath"].lstrip("."): each["jsonPath"] for each in fields} or None,
        warnings=finalizers.warnings,
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
    conflicts = [
        (what, name) for what, wanted in _wanted(definition).items() for name in wanted if name and taken(what, name)
    ]
    if conflicts:
        # The last one found is told, as upstream does.
        what, name = conflicts[-1]
        text = f'"{name}" is already in use'
        accepted = _condition("NamesAccepted", "False", f"{what[0].upper()}{what[1:]}Conflict", text, now)
        return [accepted, _condition("Established", "False", "NotAccepted", "not all names are accepted", now)]
    return [
        _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
        _condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now),
    ]


def approval(definition: Object, now: str) -> list[Object]:
    """KubernetesAPIApprovalPolicyConformant, in the groups that are the Kubernetes project's."""
    found = approvals.of(definition)
    if found is None:
        return []
    return [_condition("KubernetesAPIApprovalPolicyConformant", found.status, found.reason, found.message, now)]


def _wanted(definition: Object) -> dict[str, list[str]]:
    """Names by their field, in the order in which they are looked at."""
    names = definition["spec"]["names"]
    single = {what: [names.get(what) or ""] for what in ("plural", "singular", "shortNames", "kind", "listKind")}
    return single | {"shortNames": list(names.get("shortNames") or ())}


def accepted_names(definition: Object, taken: Callable[[str, str], str]) -> Object:
    """The names that nobody else in the group has."""
    found: Object = {"plural": "", "kind": ""}
    for what, wanted in _wanted(definition).items():
        if all(wanted) and wanted and not any(taken(what, name) for name in wanted):
            found[what] = wanted if what == "shortNames" else wanted[0]
    if categories := definition["spec"]["names"].get("categories"):
        found["categories"] = categories
    return found


def _condition(kind: str, status: str, reason: str, message: str, now: str) -> Object:
    return {"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}


def is_established(definition: Object) -> bool:
    """Whether the definition is served."""
    found = (definition.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Established" and each.get("status") == "True" for each in found)


def with_conditions(definition: Object, new: list[Object], names: Object) -> Object:
    """The definition with these conditions; one that has not changed keeps its time."""
    status = definition.setdefault("status", {})
    before = {each.get("type"): each for each in status.get("conditions") or ()}
    for each in new:
        old = before.get(each["type"])
        if old is None or old.get("status") != each["status"]:
            before[each["type"]] = each
    status["conditions"] = list(before.values())
    status["acceptedNames"] = names
    return definition
