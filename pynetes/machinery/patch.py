"""The three classic patches: JSON Patch (RFC 6902), merge patch (RFC 7386) and strategic merge.

All take the object and the patch and return a new object; neither argument is changed. What a client did wrong is a
PatchError with upstream's text; the caller makes the Status of it. Server-side apply is in `apply`.
"""

import copy
from collections.abc import Callable
from typing import Any

import orjson

from pynetes.machinery import go_print
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import ANY, Field, Type


class PatchError(ValueError):
    """The patch cannot be applied to this object. Upstream answers with `code`; 500 where it has no better word."""

    def __init__(self, text: str, code: int = 500) -> None:
        super().__init__(text)
        self.code = code


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
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"


def strategic_merge(original: Object, patch: Object, schema: Type) -> Object:
    """Merge a patch whose lists merge by the schema's keys. Custom resources have no such schema and no such patch."""
    return _merge_object(original, patch, schema)


def _merge_object(original: Any, patch: Object, type_: Type) -> Object:
    if (directive := patch.get(_DIRECTIVE)) is not None or _DIRECTIVE in patch:
        if directive == "replace":
            return {name: value for name, value in patch.items() if name != _DIRECTIVE}
        if directive == "delete":
            # Not nothing: what is there is empty now.
            return {}
        raise _unknown_type(directive, patch)
    result = dict(original) if isinstance(original, dict) else {}
    left = dict(patch)
    _retain(result, left)
    _merge_ordered(result, left, type_)
    for name, value in left.items():
        if name.startswith(_DELETE_PRIMITIVES):
            _delete_primitives(result, _named(name, _DELETE_PRIMITIVES), value)
        else:
            _merge_member(result, name, value, type_)
    return result


def _retain(result: Object, patch: Object) -> None:
    """Take $retainKeys out of the patch and what it does not name out of the object."""
    if _RETAIN not in patch:
        return
    kept = patch.pop(_RETAIN)
    given = (name for name, value in patch.items() if value is not None)
    named = [name for name in given if not name.startswith((_DELETE_PRIMITIVES, _ORDER))]
    if not isinstance(kept, list) or any(name not in kept for name in named):
        raise PatchError("invalid patch format of retainKeys", 400)
    for name in [name for name in result if name not in kept]:
        del result[name]


def _merge_ordered(result: Object, patch: Object, type_: Type) -> None:
    """Merge the lists whose order the patch gives, and take them out of the patch."""
    for directive in [name for name in patch if name.startswith(_ORDER)]:
        order = _listed(patch.pop(directive))
        name = _named(directive, _ORDER)
        items = _listed(result[name]) if name in result else []
        given = _listed(patch[name]) if name in patch else []
        field = _field(type_, name)
        _check_order(given, order, field.merge_key)
        if name in patch:
            merged = _merge_list(items, given, field) if name in result else _stripped(patch[name])
        elif name in result:
            merged = items
        else:
            continue
        patch.pop(name, None)
        if field.merge_key:
            result[name] = _ordered(
                merged, [_key_of(entry, field.merge_key) for entry in order], field.merge_key, items
            )
        else:
            result[name] = _ordered_primitives(merged, order, items)


def _delete_primitives(result: Object, name: str, value: Any) -> None:
    if value is None:
        result.pop(name, None)
    elif isinstance(value, list) and isinstance(result.get(name), list):
        result[name] = [item for item in result[name] if item not in value]


def _field(type_: Type, name: str) -> Field:
    if type_.kind == "map":
        return Field(type_.items or ANY)
    return type_.fields.get(name) or Field(ANY)


def _merge_member(result: Object, name: str, value: Any, type_: Type) -> None:
    field, before = _field(type_, name), result.get(name)
    if value is None:
        result.pop(name, None)
    elif isinstance(value, dict) and isinstance(before, dict):
        result[name] = value if "replace" in field.strategy else _merge_object(before, value, field.type)
    elif isinstance(value, list) and isinstance(before, list):
        result[name] = _merge_list(before, value, field) if "merge" in field.strategy else value
    elif isinstance(value, dict) and _DIRECTIVE in value:
        result.pop(name, None)
    else:
        result[name] = _stripped(value)


def _stripped(value: Any) -> Any:
    """A value that is new as a whole: without nulls, and without what carries a directive."""
    if isinstance(value, dict):
        return {
            name: _stripped(inner)
            for name, inner in value.items()
            if inner is not None and not (isinstance(inner, dict) and _DIRECTIVE in inner)
        }
    if isinstance(value, list):
        return [_stripped(item) for item in value if not (isinstance(item, dict) and _DIRECTIVE in item)]
    return value


def _merge_list(original: list[Any], patch: list[Any], field: Field) -> list[Any]:
    if not original and not patch:
        return original
    if not _are_objects(original, patch):
        if field.merge_key:
            raise _bad_type({}, [*original, *patch][0])
        merged = list({orjson.dumps(item): item for item in (*original, *patch)}.values())
        return _ordered_primitives(merged, patch, original)
    if not (key := field.merge_key):
        raise PatchError(f"cannot merge lists without merge key for {field.type.name}")
    items, wanted = _special(original, patch, key)
    for item in wanted:
        value = _key_of(item, key)
        position = next((index for index, found in enumerate(items) if found.get(key) == value), None)
        if position is None:
            items.append(item)
        else:
            items[position] = _merge_object(items[position], item, field.type.items or ANY)
    for item in items:
        _key_of(item, key)
    return _ordered(items, [item[key] for item in wanted], key, original)


def _special(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """The list with the directives among the patch's items carried out, and the items that are none."""
    items, plain = list(original), [item for item in patch if _DIRECTIVE not in item]
    for item in (item for item in patch if _DIRECTIVE in item):
        match item[_DIRECTIVE]:
            case "delete":
                value = _key_of(item, key)
                items = [found for found in items if found.get(key) != value]
            case "replace":
                pass
            case "merge":
                raise PatchError("merging lists cannot yet be specified in the patch")
            case other:
                raise _unknown_type(other, item)
    if any(item.get(_DIRECTIVE) == "replace" for item in patch):
        return plain, []
    return items, plain


def _are_objects(*lists: list[Any]) -> bool:
    """Whether the lists hold objects. Raises PatchError if they hold lists, or not all of one type."""
    wanted: str | None = None
    for items in lists:
        for item in items:
            found = _go_type(item)
            if wanted is None and isinstance(item, list):
                text = "lists of lists are not supported"
                raise PatchError(text, 422)
            if wanted is not None and found != wanted:
                raise PatchError(f"list element types are not identical: {go_print.plain(items)}")
            wanted = found
    return wanted == _go_type({})


def _named(directive: str, prefix: str) -> str:
    """The field that $prefix/FIELD is about."""
    start, slash, name = directive.partition("/")
    if start != prefix or not slash:
        what = "primitive" if prefix == _DELETE_PRIMITIVES else "setElementOrder"
        raise PatchError(f"invalid patch format of {what} list", 400)
    return name


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _bad_type([], value)
    return value


def _key_of(item: Any, key: str) -> Any:
    """What identifies an item of a list."""
    if not isinstance(item, dict):
        raise _bad_type({}, item)
    if key not in item or isinstance(item[key], dict | list):
        raise PatchError(f"map: {go_print.plain(item)} does not contain declared merge key: {key}")
    return item[key]


def _unknown_type(directive: Any, patch: Object) -> PatchError:
    return PatchError(f"unknown patch type: {go_print.plain(directive)} in map: {go_print.plain(patch)}")


def _bad_type(wanted: Any, found: Any) -> PatchError:
    return PatchError(f"expected a {_go_type(wanted)}, but received a {_go_type(found)}")


def _go_type(value: Any) -> str:
    """What Go calls the type of a value from JSON."""
    return _GO_TYPES.get(type(value), "%!s(<nil>)")


_GO_TYPES = {
    dict: "map[string]interface {}",
    list: "[]interface {}",
    str: "string",
    bool: "bool",
    int: "int64",
    float: "float64",
}


def _check_order(patch: list[Any], order: list[Any], key: str) -> None:
    """The items of a patch must stand in the order that it declares."""
    if not order or not patch:
        return
    given = [item for item in patch if not (isinstance(item, dict) and _DIRECTIVE in item)]
    place = 0
    for entry in order:
        if place < len(given):
            same = _key_of(given[place], key) == _key_of(entry, key) if key else given[place] == entry
            place += same
    if place < len(given):
        given_text, order_text = go_print.plain(patch), go_print.plain(order)
        raise PatchError(f"The order in patch list:\n{given_text}\n doesn't match {_ORDER} list:\n{order_text}\n")


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
