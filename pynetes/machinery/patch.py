"""The three classic patches: JSON Patch (RFC 6902), merge patch (RFC 7386) and strategic merge.

All take the object and the patch and return a new object; neither argument is changed. What a client did wrong is a
PatchError with upstream's text; the caller makes the Status of it. Server-side apply is in `apply`.
"""

import copy
from collections.abc import Callable
from typing import Any

from pynetes.machinery import go_print
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import ANY, Field, Type


class PatchError(ValueError):
    """The patch cannot be applied to this object."""


# --- JSON Patch


def json_patch(obj: Object, operations: list[Object]) -> Object:
    """Apply a JSON Patch as a whole. PatchError says which operation failed; the API answers 422 without the text."""
    result: Any = copy.deepcopy(obj)
    for number, operation in enumerate(operations):
        try:
            result = _OPERATIONS[operation["op"]](result, _tokens(operation["path"]), operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise PatchError(f"operation {number} ({operation}) does not apply: {error!r}") from None
    if not isinstance(result, dict):
        raise PatchError("the patched value is no object")
    return result


def _tokens(pointer: str) -> list[str]:
    if pointer == "":
        return []
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _get(root: Any, tokens: list[str]) -> Any:
    for token in tokens:
        root = root[_index(root, token)] if isinstance(root, list) else root[token]
    return root


def _index(items: list[Any], token: str, *, end: int = 0) -> int:
    number = int(token)
    if not -len(items) <= number < len(items) + end:
        raise IndexError(token)
    return number


def _insert(root: Any, tokens: list[str], value: Any) -> Any:
    if not tokens:
        return value
    holder, token = _get(root, tokens[:-1]), tokens[-1]
    if isinstance(holder, list):
        holder.insert(len(holder) if token == "-" else _index(holder, token, end=1), value)
    else:
        holder[token] = value
    return root


def _add(root: Any, tokens: list[str], operation: Object) -> Any:
    return _insert(root, tokens, copy.deepcopy(operation["value"]))


def _remove(root: Any, tokens: list[str], _: Object | None = None) -> Any:
    holder, token = _get(root, tokens[:-1]), tokens[-1]
    del holder[_index(holder, token) if isinstance(holder, list) else token]
    return root


def _replace(root: Any, tokens: list[str], operation: Object) -> Any:
    value = copy.deepcopy(operation["value"])
    if not tokens:
        return value
    holder, token = _get(root, tokens[:-1]), tokens[-1]
    # Upstream's library lets replace make a member that is not there, so clients may rely on it.
    holder[_index(holder, token) if isinstance(holder, list) else token] = value
    return root


def _move(root: Any, tokens: list[str], operation: Object) -> Any:
    source = _tokens(operation["from"])
    value = _get(root, source)
    return _insert(_remove(root, source), tokens, value)


def _copy(root: Any, tokens: list[str], operation: Object) -> Any:
    return _insert(root, tokens, copy.deepcopy(_get(root, _tokens(operation["from"]))))


def _test(root: Any, tokens: list[str], operation: Object) -> Any:
    try:
        found = _get(root, tokens)
    except KeyError:
        found = None
    if found != operation.get("value"):
        raise ValueError("the value is another")
    return root


_OPERATIONS: dict[str, Callable[[Any, list[str], Object], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


# --- merge patch


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: null deletes, objects merge, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merge_patch(result.get(name), value)
        else:
            result[name] = value
    return result


# --- strategic merge patch

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(original: Object, patch: Object, schema: Type) -> Object:
    """Merge a patch whose lists merge by the schema's keys. Custom resources have no such schema and no such patch."""
    result = _merge_object(original, patch, schema)
    return result if result is not None else {}


def _merge_object(original: Any, patch: Object, type_: Type) -> Object | None:
    """The merged object, None if the patch deletes it."""
    match patch.get(_DIRECTIVE):
        case "replace":
            return {name: value for name, value in patch.items() if name != _DIRECTIVE}
        case "delete":
            return None
        case None | "merge":
            pass
        case other:
            raise PatchError(f"unknown patch type: {other} in map: {go_print.plain(patch)}")
    result = dict(original) if isinstance(original, dict) else {}
    if (retain := patch.get(_RETAIN)) is not None:
        result = {name: value for name, value in result.items() if name in retain}
    for name, value in patch.items():
        if name in (_DIRECTIVE, _RETAIN) or name.startswith(_ORDER):
            continue
        if name.startswith(_DELETE_PRIMITIVES):
            target = name.removeprefix(_DELETE_PRIMITIVES)
            if isinstance(result.get(target), list):
                result[target] = [item for item in result[target] if item not in value]
            continue
        _merge_member(result, name, value, patch, type_)
    _reorder_untouched(result, patch, type_)
    return result


def _field(type_: Type, name: str) -> Field:
    if type_.kind == "map":
        return Field(type_.items or ANY)
    return type_.fields.get(name) or Field(ANY)


def _merge_member(result: Object, name: str, value: Any, patch: Object, type_: Type) -> None:
    field = _field(type_, name)
    if value is None:
        result.pop(name, None)
    elif isinstance(value, dict) and "replace" not in field.strategy:
        merged = _merge_object(result.get(name), value, field.type)
        if merged is None:
            result.pop(name, None)
        else:
            result[name] = merged
    elif isinstance(value, list) and "merge" in field.strategy:
        result[name] = _merge_list(result.get(name), value, patch.get(_ORDER + name), field)
    else:
        result[name] = _stripped(value)


def _stripped(value: Any) -> Any:
    """A value that is new as a whole, without the directives in it."""
    if isinstance(value, dict):
        return {
            name: _stripped(inner)
            for name, inner in value.items()
            if inner is not None
            and not (name in (_DIRECTIVE, _RETAIN) or name.startswith((_ORDER, _DELETE_PRIMITIVES)))
        }
    return [_stripped(item) for item in value] if isinstance(value, list) else value


def _merge_list(original: Any, patch: list[Any], order: list[Any] | None, field: Field) -> list[Any]:
    items = list(original) if isinstance(original, list) else []
    if not field.merge_key:
        return _ordered_primitives([*items, *(item for item in patch if item not in items)], order or patch, items)
    key = field.merge_key
    item_type = field.type.items or ANY
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [_stripped(item) for item in patch if not (isinstance(item, dict) and _DIRECTIVE in item)]
    _check_order(patch, order, key)
    touched: list[Any] = []
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise PatchError(f"map: {go_print.plain(item)} does not contain declared merge key: {key}")
        position = next((index for index, found in enumerate(items) if found.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            items = [found for found in items if found.get(key) != item[key]]
            continue
        touched.append(item[key])
        if position is None:
            items.append(_stripped(_merge_object({}, item, item_type) or {}))
        else:
            items[position] = _merge_object(items[position], item, item_type) or {}
    return _ordered(items, [entry.get(key) for entry in order] if order else touched, key, original)


def _check_order(patch: list[Any], order: list[Any] | None, key: str) -> None:
    """The items of a patch must stand in the order that it declares."""
    if order is None:
        return
    declared = [entry.get(key) for entry in order]
    given = [item.get(key) for item in patch if isinstance(item, dict) and item.get(_DIRECTIVE) != "delete"]
    positions = [declared.index(name) for name in given if name in declared]
    if len(positions) != len(given) or positions != sorted(positions):
        raise PatchError(
            f"The order in patch list:\n[{' '.join(map(go_print.plain, patch))}]\n doesn't match {_ORDER[:-1]} list:\n"
            f"[{' '.join(map(go_print.plain, order))}]\n"
        )


def _ordered(items: list[Any], order: list[Any], key: str, original: Any) -> list[Any]:
    """Items in the patch's order; those it does not name stay where they stood among the others."""
    rank = {value: index for index, value in enumerate(order)}
    named = sorted((item for item in items if item.get(key) in rank), key=lambda item: rank[item.get(key)])
    rest = [item for item in items if item.get(key) not in rank]
    if not rest:
        return named
    before = {item.get(key): index for index, item in enumerate(original or ())}
    return _interleave(named, rest, lambda item: before.get(item.get(key)))


def _ordered_primitives(items: list[Any], order: list[Any] | None, original: list[Any]) -> list[Any]:
    if not order:
        return items
    named = [item for item in order if item in items]
    rest = [item for item in items if item not in order]
    return _interleave(named, rest, lambda item: original.index(item) if item in original else None)


def _interleave(named: list[Any], rest: list[Any], before: Callable[[Any], int | None]) -> list[Any]:
    """Merge two ordered lists; where both came from the original, its order decides."""
    result: list[Any] = []
    waiting = list(rest)
    for item in named:
        place = before(item)
        while waiting and place is not None and (other := before(waiting[0])) is not None and other < place:
            result.append(waiting.pop(0))
        result.append(item)
    return result + waiting


def _reorder_untouched(result: Object, patch: Object, type_: Type) -> None:
    """$setElementOrder orders a list even when the patch does not otherwise touch it."""
    for directive, order in patch.items():
        if not directive.startswith(_ORDER):
            continue
        name = directive.removeprefix(_ORDER)
        if name in patch or not isinstance(result.get(name), list):
            continue
        field = _field(type_, name)
        items = result[name]
        if field.merge_key:
            result[name] = _ordered(items, [entry.get(field.merge_key) for entry in order], field.merge_key, items)
        else:
            result[name] = _ordered_primitives(items, order, items)
