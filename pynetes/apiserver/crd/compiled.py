"""A CustomResourceDefinition as the record of a kind: pure."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from pynetes.apis.apiextensions import _approval as approvals
from pynetes.apiserver.crd import finalizers
from pynetes.apiserver.served import priority
from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource, Scale

#: Why a definition that is being deleted is still there, or goes now: the condition's status and message.
TERMINATION = {
    "InstanceDeletionInProgress": ("True", "CustomResource deletion is in progress"),
    "InstanceDeletionCompleted": ("False", "removed all instances"),
    "NeverEstablished": ("False", "resource was never established"),
}


def record(
    definition: Object, conversion: Object | None = None, convert: Callable[[Object, str, str], Object] | None = None
) -> Resource:
    """The Resource of a valid definition, under the names that were accepted; conversion and convert where a webhook
    knows its versions."""
    spec, status = definition["spec"], definition.get("status") or {}
    names, group = _names(definition), spec["group"]
    versions = {version["name"]: version for version in spec["versions"]}
    order = tuple(sorted((name for name, version in versions.items() if version.get("served")), key=priority))
    whole = Resource(
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
        conversion=conversion,
        convert=convert,
        # What was stored before the definition changed may have fields that are gone, and lack new defaults.
        mixed=len(status.get("storedVersions") or ()) > 1 or definition["metadata"].get("generation", 1) > 1,
        terminating="deletionTimestamp" in definition["metadata"],
        fields={path.lstrip("."): path for version in versions.values() for path in _selectable(version)} or None,
        warnings=finalizers.warnings,
        schema={name: (version.get("schema") or {}).get("openAPIV3Schema") or {} for name, version in versions.items()},
    )
    variants = {name: _variant(whole, versions[name], versions.values()) for name in order}
    return replace(variants[order[0]], fields=whole.fields, deprecated="", variants=variants)


def _variant(whole: Resource, version: Object, versions: Iterable[Object]) -> Resource:
    """What only this version has."""
    subresources = version.get("subresources") or {}
    return replace(
        whole,
        subresources=tuple(sorted(name for name in ("scale", "status") if subresources.get(name) is not None)),
        scale=_scale(subresources.get("scale")),
        fields={path.lstrip("."): path for path in _selectable(version)} or None,
        columns=tuple(_columns(version.get("additionalPrinterColumns"))),
        deprecated=_deprecation(whole, version, versions),
    )


def _names(definition: Object) -> Object:
    """The accepted ones; those that are asked for where nothing was accepted yet."""
    accepted: Object = (definition.get("status") or {}).get("acceptedNames") or {}
    wanted: Object = definition["spec"]["names"]
    return accepted if accepted.get("plural") and accepted.get("kind") else wanted


def _selectable(version: Object) -> list[str]:
    return [each["jsonPath"] for each in version.get("selectableFields") or ()]


def _deprecation(whole: Resource, version: Object, versions: Iterable[Object]) -> str:
    """What is said of a deprecated version: its own words, or which better one there is."""
    if not version.get("deprecated"):
        return ""
    if (own := version.get("deprecationWarning")) is not None:
        return str(own)
    mine = priority(version["name"])
    newer = [each["name"] for each in versions if each.get("served") and not each.get("deprecated")]
    best = min((name for name in newer if priority(name) < mine), key=priority, default="")
    instead = f"; use {whole.group}/{best} {whole.kind}" if best else ""
    return f"{whole.group}/{version['name']} {whole.kind} is deprecated{instead}"


def _scale(about: Any) -> Scale | None:
    if not about:
        return None
    return Scale(
        spec_path=about["specReplicasPath"],
        status_path=about["statusReplicasPath"],
        selector_path=about.get("labelSelectorPath") or "",
    )


def _columns(columns: Any) -> list[Column]:
    """The columns up to the first whose path is none, as upstream."""
    found: list[Column] = []
    for each in columns or ():
        path, kind = each["jsonPath"], each.get("type") or "string"
        try:
            cell = cells.declared(path, kind)
        except ValueError:
            return found
        about = each.get("description") or f"Custom resource definition column (in JSONPath format): {path}"
        form, priority = each.get("format") or "", each.get("priority") or 0
        found.append(Column(each["name"], cell, type=kind, format=form, description=about, priority=priority))
    return found or [replace(Column.AGE, type="date")]


Accepted: TypeAlias = tuple[Object, list[Object]]
#: In the order in which they are looked at; the last that somebody else has is told, as upstream does.
_NAMED = ("plural", "singular", "shortNames", "kind", "listKind")


def accept(definition: Object, others: Iterable[Object], now: str) -> Accepted:
    """The names that the definition has from now on, and the conditions NamesAccepted and Established.

    others: accepted names of all definitions of the group. A definition keeps what it has until it gets something
    else, and once it is established it remains so."""
    status = definition.get("status") or {}
    wanted, have = definition["spec"]["names"], status.get("acceptedNames") or {}
    taken = list(others)
    resources = {name for each in taken for name in (each.get("plural"), each.get("singular"))}
    resources |= {name for each in taken for name in each.get("shortNames") or ()}
    kinds = {name for each in taken for name in (each.get("kind"), each.get("listKind"))}
    names: Object = {"plural": "", "kind": ""} | {name: have[name] for name in _NAMED if have.get(name)}
    reason = message = ""
    for what in _NAMED:
        new, old = wanted.get(what), have.get(what)
        asked = [name for name in new or () if name not in (old or ())] if what == "shortNames" else [new]
        used = [name for name in asked if name in (kinds if what in ("kind", "listKind") else resources)]
        if used and new != old:
            reason, message = f"{what[0].upper()}{what[1:]}Conflict", _aggregated(used)
        elif new:
            names[what] = new
        else:
            names.pop(what, None)
    if categories := wanted.get("categories"):
        names["categories"] = categories
    accepted = _condition("NamesAccepted", "False", reason, message, now)
    if not reason:
        accepted = _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
    return names, [accepted, _established(definition, now, accepted=not reason)]


def _aggregated(names: list[str]) -> str:
    """Several errors as upstream shows them as one."""
    texts = list(dict.fromkeys(f'"{name}" is already in use' for name in names))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _established(definition: Object, now: str, *, accepted: bool) -> Object:
    found = (definition.get("status") or {}).get("conditions") or ()
    old: Object | None = next((each for each in found if each.get("type") == "Established"), None)
    if old is not None and (old.get("status") == "True" or not accepted):
        return old
    if accepted:
        return _condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now)
    return _condition("Established", "False", "NotAccepted", "not all names are accepted", now)


def terminating(reason: str, now: str) -> Object:
    """The condition Terminating, for a reason of TERMINATION."""
    status, message = TERMINATION[reason]
    return _condition("Terminating", status, reason, message, now)


def approval(definition: Object, now: str) -> list[Object]:
    """KubernetesAPIApprovalPolicyConformant, in the groups that are the Kubernetes project's."""
    found = approvals.of(definition)
    if found is None:
        return []
    return [_condition("KubernetesAPIApprovalPolicyConformant", found.status, found.reason, found.message, now)]


def _condition(kind: str, status: str, reason: str, message: str, now: str) -> Object:
    return {"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}


def is_established(definition: Object) -> bool:
    """Whether the definition is served."""
    found = (definition.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Established" and each.get("status") == "True" for each in found)


def with_conditions(definition: Object, new: list[Object], names: Object | None = None) -> Object:
    """The definition with these conditions; one whose status has not changed keeps its time."""
    status = definition.setdefault("status", {})
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    for each in new:
        old = conditions.get(each["type"])
        since = old.get("lastTransitionTime") if old is not None and old.get("status") == each["status"] else None
        conditions[each["type"]] = each if since is None else {**each, "lastTransitionTime": since}
    status["conditions"] = list(conditions.values())
    if names is not None:
        status["acceptedNames"] = names
    return definition
