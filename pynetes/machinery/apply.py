"""Server-side apply: merge a partial object into the live one, by who owns what (KEP-555).

A manager owns every field its configuration names. Fields it named the last time and no longer does go away unless
somebody else owns them. Changing another's field is a conflict, unless forced.
"""

import copy
from collections.abc import Iterable, Set
from datetime import datetime
from typing import Any, NamedTuple

from pynetes.machinery import errors, fieldset, lastapplied, managedfields, time
from pynetes.machinery.fieldset import FieldSet, Misfit, Path
from pynetes.machinery.managedfields import Entry, Manager, Managers
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import ANY, Type


class Applied(NamedTuple):
    """The merged object with its managers written in; changed is False when nothing at all would differ."""

    obj: Object
    changed: bool


def apply(
    live: Object | None,
    config: Object,
    *,
    type_: Type,
    manager: str,
    now: datetime,
    force: bool = False,
    subresource: str = "",
    reset: Iterable[Path] = (),
) -> Applied:
    """Apply a configuration to the live object (None creates).

    StatusError 409 with every conflict when another manager's field would change and force is not set; 400 when the
    configuration carries managedFields; 500, as upstream, when list items cannot be told apart.
    """
    if (config.get("metadata") or {}).get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    self = Manager(manager, "Apply", "", subresource)
    version = config.get("apiVersion", "")
    before: Object = live if live is not None else {}
    managers = managedfields.read(live)
    if live is not None and not managers:
        _adopt(managers, live, type_, now, reset)
    former = dict(managers)
    try:
        named = managedfields.owned(fieldset.of_object(type_, config), reset)
        merged = merge(type_, before, config)
    except Misfit as error:
        raise errors.failure(500, "", f"failed to create typed patch object ({_shown(config)}): {error}") from None
    last = managers.get(self)
    managers[self] = Entry(named, version, last.time if last else None)
    merged = _pruned(type_, merged, last.paths if last else set(), managers)
    difference = fieldset.compare(type_, before if live is not None else managedfields.empty_of(type_), merged)
    written = managedfields.owned(difference.written, reset)
    if not force and live is not None:
        # Whoever goes over from the client's apply to the server's does not conflict with himself.
        mine = lastapplied.upgraded(live, type_) if manager == lastapplied.MANAGER else set()
        _refuse_conflicts(managers, self, written - mine)
    managedfields.release(managers, written | difference.removed, keep=self)
    changed = bool(difference.written or difference.removed or live is None)
    if changed:
        managers[self] = Entry(named, version, time.rfc3339(now))
    # Who owns something may change where nothing else does; that leaves no time, as upstream.
    changed = changed or _paths(managers) != _paths(former)
    if not named:
        del managers[self]
    merged["metadata"] = dict(merged.get("metadata") or {})
    managedfields.write(merged, managers)
    if manager == lastapplied.MANAGER:
        before_annotations = merged["metadata"].get("annotations")
        lastapplied.follow(merged, config)
        changed = changed or merged["metadata"].get("annotations") != before_annotations
    return Applied(merged, changed)


def _leaves_first(path: Path) -> tuple[tuple[bool, Any], ...]:
    """Upstream walks a set so: at each level its members, then what lies below others."""
    return tuple((step < len(path) - 1, element) for step, element in enumerate(path))


def _paths(managers: Managers) -> dict[Manager, tuple[str, Set[Path]]]:
    return {manager: (entry.api_version, entry.paths) for manager, entry in managers.items() if entry.paths}


def _shown(config: Object) -> str:
    metadata, version = config.get("metadata") or {}, config.get("apiVersion", "")
    group_version = version if "/" in version else f"/{version}"
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {group_version}, Kind={config.get('kind', '')}"


def _adopt(managers: Managers, live: Object, type_: Type, now: datetime, reset: Iterable[Path]) -> None:
    """What was there before anybody was recorded belongs to a manager of its own, so that changing it is a conflict."""
    paths = managedfields.owned(fieldset.compare(type_, managedfields.empty_of(type_), live).written, reset)
    if paths:
        version = live.get("apiVersion", "")
        owner = Manager(managedfields.BEFORE_FIRST_APPLY, "Update", version)
        managers[owner] = Entry(paths, version, time.rfc3339(now))


def _pruned(type_: Type, merged: Object, last: Set[Path], managers: Managers) -> Object:
    """Without what this manager named before, names no more, and nobody else owns."""
    if not last:
        return merged
    kept: FieldSet = set()
    for entry in managers.values():
        kept |= entry.paths
    # Nobody owns what the server keeps, so it never goes, not even with the last label in metadata.
    gone = managedfields.owned(fieldset.with_parents(last) - fieldset.with_parents(kept))
    if not gone:
        return merged
    result: Object = fieldset.without(type_, merged, gone)
    return result


def _refuse_conflicts(managers: Managers, self: Manager, written: FieldSet) -> None:
    conflicts = [
        (manager, entry, path)
        for manager, entry in managers.items()
        if manager != self
        for path in sorted(entry.paths & written, key=_leaves_first)
    ]
    if not conflicts:
        return
    lines: dict[str, list[str]] = {}
    causes = []
    for manager, entry, path in conflicts:
        who = describe(manager, entry)
        lines.setdefault(who, []).append(fieldset.dotted(path))
        causes.append(
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": fieldset.dotted(path)}
        )
    count = len(conflicts)
    noun = "conflict" if count == 1 else "conflicts"
    if count == 1:
        parts = [f"conflict with {who}: {paths[0]}" for who, paths in lines.items()]
    else:
        parts = [f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in paths) for who, paths in lines.items()]
    message = f"Apply failed with {count} {noun}: " + "\n".join(parts)
    raise errors.failure(409, "Conflict", message, causes=causes)


def describe(manager: Manager, entry: Entry) -> str:
    """A manager as conflicts name it: "kubectl" with subresource "scale" using apps/v1."""
    text = f'"{manager.name}"'
    if manager.subresource:
        text += f' with subresource "{manager.subresource}"'
    if manager.operation == "Update":
        text += f" using {entry.api_version}"
    return text


# --- merging


def merge(type_: Type, live: Any, config: Any) -> Any:
    """The live value with the configuration laid over it; granular lists merge item by item."""
    if isinstance(config, dict) and isinstance(live, dict) and fieldset.granular(type_, config):
        result = dict(live)
        for name, value in config.items():
            inner = fieldset.member_type(type_, name)
            result[name] = merge(inner, live[name], value) if name in live else copy.deepcopy(value)
        return result
    if isinstance(config, list) and isinstance(live, list) and fieldset.granular(type_, config):
        return _merge_lists(type_, live, config)
    return copy.deepcopy(config)


def _merge_lists(type_: Type, live: list[Any], config: list[Any]) -> list[Any]:
    """Items of both; the configuration's order holds among its items, the others keep their places before and after."""
    items = type_.items or ANY
    left = fieldset.items_by_element(type_, live)
    right = fieldset.items_by_element(type_, config)
    left_order, right_order = list(left), list(right)
    shared = [element for element in right_order if element in left]
    result: list[Any] = []
    merged: set[str] = set()

    def take(element: str) -> None:
        result.append(merge(items, left[element], right[element]) if element in left else copy.deepcopy(right[element]))
        merged.add(element)
        if shared and shared[0] == element:
            shared.pop(0)

    i = j = 0
    while i < len(left_order) or j < len(right_order):
        if i < len(left_order):
            element = left_order[i]
            if element not in right:
                result.append(left[element])
                i += 1
                continue
            if j < len(right_order) and element == right_order[j]:
                take(element)
                i, j = i + 1, j + 1
                continue
            if element in merged or (shared and shared[0] != element):
                i += 1
                continue
        if j < len(right_order):
            if right_order[j] not in merged:
                take(right_order[j])
            j += 1
    return result
