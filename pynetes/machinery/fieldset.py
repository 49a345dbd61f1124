"""Sets of field paths: what an object consists of, what differs between two, and what a manager owns.

A path is a tuple of elements in the notation of FieldsV1: `f:name` for a member, `k:{"name":"web"}` for an item of a
list with keys, `v:"x"` for one of a set. The rules are those of structured-merge-diff (KEP-555): atomic lists and maps
are one field, members of granular ones are fields of their own.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import orjson

from pynetes.machinery import go_print
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import ANY, Type

Path: TypeAlias = tuple[str, ...]
FieldSet: TypeAlias = set[Path]

#: List keys that may be left out, with the value that then counts.
KEY_DEFAULTS = {"protocol": "TCP"}


class Difference(NamedTuple):
    """What it takes to get from one object to another."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet

    @property
    def written(self) -> FieldSet:
        """Paths that have a new value."""
        return self.added | self.modified


class Misfit(ValueError):
    """The value does not fit its type: list items that cannot be told apart, or a field that is not declared."""


# --- FieldsV1


def encode(paths: Iterable[Path]) -> Object:
    """The set as FieldsV1: a trie in which {} is a member and "." marks one that has others below."""
    root: Object = {}
    for path in sorted(paths):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _tidy(root)


def _tidy(node: Object) -> Object:
    if len(node) == 1 and "." in node:
        return {}
    return {name: {} if name == "." else _tidy(child) for name, child in node.items()}


def decode(fields: Object | None) -> FieldSet:
    """Read FieldsV1 back."""
    return set(_walk(fields or {}, ()))


def _walk(node: Object, path: Path) -> Iterator[Path]:
    for name, child in node.items():
        if name == ".":
            yield path
        elif child:
            yield from _walk(child, (*path, name))
        else:
            yield (*path, name)


def with_parents(paths: Iterable[Path]) -> FieldSet:
    """The set with every named member above its paths; list items are not implied by what is in them."""
    found: FieldSet = set()
    for path in paths:
        found.add(path)
        found.update(path[:end] for end in range(1, len(path)) if path[end - 1].startswith("f:"))
    return found


def dotted(path: Path) -> str:
    """The path as conflicts name it: .spec.template.spec.containers[name="web"].image."""
    text = ""
    for element in path:
        kind, value = element[:2], element[2:]
        if kind == "f:":
            text += f".{value}"
        elif kind == "k:":
            keys = orjson.loads(value)
            text += "[" + ",".join(f"{name}={orjson.dumps(item).decode()}" for name, item in sorted(keys.items())) + "]"
        else:
            text += f"[={value}]" if kind == "v:" else f"[{value}]"
    return text


# --- elements


def item_element(list_type: Type, item: Any, index: int) -> str:
    """How an item of a granular list is named. Misfit if it lacks a key."""
    if list_type.list_type == "set":
        return f"v:{orjson.dumps(item).decode()}"
    keys: Object = {}
    for key in list_type.keys:
        value = item.get(key) if isinstance(item, dict) else None
        if value is None:
            value = _key_default(list_type, key)
        if value is not None:
            keys[key] = value
    if not keys:
        names = " ".join(f'"{key}"' for key in list_type.keys)
        text = f"associative list with keys has an element that omits all key fields [{names}]"
        raise Misfit(f"element {index}: {text} (and doesn't have default values for any key fields)")
    return f"k:{orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()}"


def _key_default(list_type: Type, key: str) -> Any:
    field = list_type.items.fields.get(key) if list_type.items else None
    if field is not None and field.default is not None:
        return field.default
    if key in KEY_DEFAULTS:
        return KEY_DEFAULTS[key]
    # A key that upstream's type always writes counts as empty when it is left out.
    return {"integer": 0}.get(field.type.kind, "") if field and field.unset == "a" else None


def granular(type_: Type, value: Any) -> bool:
    """Whether members or items of the value are fields of their own."""
    if isinstance(value, dict):
        return not type_.atomic and (type_.kind in ("object", "map") or type_.preserve)
    if isinstance(value, list):
        return type_.kind == "array" and type_.list_type in ("set", "map")
    return False


def member_type(type_: Type, name: str) -> Type:
    """The type of a member."""
    if type_.kind == "map":
        return type_.items or ANY
    field = type_.fields.get(name)
    return field.type if field else type_.items or ANY


def items_by_element(type_: Type, items: list[Any]) -> dict[str, Any]:
    """Items of a granular list by name, the first of each."""
    found: dict[str, Any] = {}
    for index, item in enumerate(items):
        found.setdefault(item_element(type_, item, index), item)
    return found


_ABSENT: Any = object()


# --- the fields of one object


def of_object(type_: Type, obj: Object) -> FieldSet:
    """Every field that an applied configuration names. Misfit if list items cannot be told apart."""
    found: FieldSet = set()
    _collect(type_, obj, (), found)
    return found


def _collect(type_: Type, value: Any, path: Path, found: FieldSet) -> None:
    if not granular(type_, value):
        found.add(path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            place = (*path, f"f:{name}")
            if type_.kind == "object" and name not in type_.fields and not (type_.preserve or type_.items):
                raise Misfit(f"{dotted(place)}: field not declared in schema")
            if inner is None or inner == {} or name not in type_.fields:
                found.add(place)
            if inner is not None and inner != {}:
                _collect(member_type(type_, name), inner, place, found)
    else:
        seen: set[str] = set()
        for index, item in enumerate(value):
            try:
                element = item_element(type_, item, index)
            except Misfit as error:
                raise Misfit(f"{dotted(path)}: {error}") from None
            if element in seen:
                raise Misfit(f"{dotted(path)}: duplicate entries for key {dotted((element,))}")
            seen.add(element)
            found.add((*path, element))
            if isinstance(item, dict):
                _collect(type_.items or ANY, item, (*path, element), found)


def misfits(type_: Type, value: Any, path: Path = ()) -> Iterator[str]:
    """What is not of its type, not declared, or cannot be told apart, as upstream says it: values are shown as Go
    prints them."""
    if value is None:
        return
    match type_.kind:
        case "object" | "map":
            if not isinstance(value, dict) and type_.preserve and not type_.fields:
                # Nothing is said of the value: it may be anything.
                return
            if not isinstance(value, dict):
                yield f"{dotted(path)}: expected map, got &{{{go_print.plain(value)}}}"
                return
            for name, inner in value.items():
                place = (*path, f"f:{name}")
                if type_.kind == "object" and name not in type_.fields and not (type_.preserve or type_.items):
                    yield f"{dotted(place)}: field not declared in schema"
                else:
                    yield from misfits(member_type(type_, name), inner, place)
        case "array":
            yield from _misfit_items(type_, value, path)
        case "string" if not isinstance(value, str):
            yield f"{dotted(path)}: expected string, got &value.valueUnstructured{{Value:{go_print.syntax(value)}}}"
        case "boolean" if not isinstance(value, bool):
            yield f"{dotted(path)}: expected boolean, got &{{{go_print.plain(value)}}}"
        case "integer" | "number" if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{dotted(path)}: expected numeric (int or float), got {_go_type(value)}"


def _misfit_items(type_: Type, value: Any, path: Path) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{dotted(path)}: expected list, got &{{{go_print.plain(value)}}}"
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        element = f"i:{index}"
        if type_.list_type in ("map", "set"):
            try:
                element = item_element(type_, item, index)
            except Misfit as error:
                yield f"{dotted(path)}: {error}"
                return
            if element in seen:
                yield f"{dotted(path)}: duplicate entries for key {dotted((element,))}"
            seen.add(element)
        yield from misfits(type_.items or ANY, item, (*path, element))


def _go_type(value: Any) -> str:
    names = {str: "string", bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}
    return names.get(type(value), "int64")


def trie_of_new(type_: Type, empty: Any, new: Any) -> Object:
    """FieldsV1 of what a create writes, the same as encode(compare(...).written), in a fraction of the time.

    empty is what the type has when nothing is set; what equals it was not written.
    """
    node: Object = {}
    if isinstance(new, dict):
        before = empty if isinstance(empty, dict) else {}
        for name in sorted(new):
            value = new[name]
            if name in before:
                if before[name] == value:
                    continue
                below = _trie_of_value(member_type(type_, name), before[name], value)
            else:
                below = _trie_of_value(member_type(type_, name), _ABSENT, value)
            node[f"f:{name}"] = below
        return node
    named = {item_element(type_, item, index): item for index, item in enumerate(new)}
    for element in sorted(named):
        node[element] = _trie_of_value(type_.items or ANY, _ABSENT, named[element])
    return node


def _trie_of_value(type_: Type, empty: Any, value: Any) -> Object:
    if not value or not granular(type_, value):
        return {}
    below = trie_of_new(type_, empty, value)
    return {".": {}, **below} if empty is _ABSENT and below else below


# --- the difference between two


def compare(type_: Type, old: Any, new: Any) -> Difference:
    """What was added, modified and removed from old to new."""
    difference = Difference(set(), set(), set())
    if old != new:
        _compare(type_, old, new, (), difference)
    return difference


def _compare(type_: Type, old: Any, new: Any, path: Path, out: Difference) -> None:
    """Only of what differs."""
    leaf = not (granular(type_, old) or granular(type_, new)) or _both_empty(old, new)
    if leaf or not _alike(old, new):
        (out.added if old is _ABSENT else out.removed if new is _ABSENT else out.modified).add(path)
        return
    if old is _ABSENT:
        out.added.add(path)
    elif new is _ABSENT:
        out.removed.add(path)
    if isinstance(old, dict) or isinstance(new, dict):
        before, after = _dict(old), _dict(new)
        for name in before.keys() | after.keys():
            one, other = before.get(name, _ABSENT), after.get(name, _ABSENT)
            if one != other:
                _compare(member_type(type_, name), one, other, (*path, f"f:{name}"), out)
        return
    items, later = _named_items(type_, old), _named_items(type_, new)
    for element in items.keys() | later.keys():
        one, other = items.get(element, _ABSENT), later.get(element, _ABSENT)
        if one != other:
            _compare(type_.items or ANY, one, other, (*path, element), out)


def _alike(old: Any, new: Any) -> bool:
    """null and absence take the form of what they are compared with."""
    return old is _ABSENT or new is _ABSENT or old is None or new is None or type(old) is type(new)


def _both_empty(old: Any, new: Any) -> bool:
    return (old is _ABSENT or old is None or old in ({}, [])) and (new is _ABSENT or new is None or new in ({}, []))


def _dict(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _named_items(type_: Type, value: Any) -> dict[str, Any]:
    if not isinstance(value, list):
        return {}
    try:
        return items_by_element(type_, value)
    except Misfit:
        return {f"i:{index}": item for index, item in enumerate(value)}


# --- taking fields out


def without(type_: Type, value: Any, paths: FieldSet) -> Any:
    """A copy of the value without these fields; what is left empty stays."""
    heads: dict[str, FieldSet] = {}
    for path in paths:
        if path:
            heads.setdefault(path[0], set()).add(path[1:])
    if not heads:
        return value
    if isinstance(value, dict):
        result: Object = {}
        for name, inner in value.items():
            below = heads.get(f"f:{name}")
            if below is None:
                result[name] = inner
            elif () not in below:
                result[name] = without(member_type(type_, name), inner, below)
        return result
    if isinstance(value, list) and granular(type_, value):
        kept = []
        for index, item in enumerate(value):
            below = heads.get(item_element(type_, item, index))
            if below is None:
                kept.append(item)
            elif () not in below:
                kept.append(without(type_.items or ANY, item, below))
        return kept
    return value
