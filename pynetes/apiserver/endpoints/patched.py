"""Patches that cannot be read or do not lead to an object, in upstream's words.

Upstream decodes what a JSON or merge patch made of the object's JSON, and refuses it quoting all of that; a strategic
merge patch works on maps, and is refused quoting the patch as Go prints a map.
"""

import re
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from pynetes import apis
from pynetes.apis.core import secrets
from pynetes.apiserver import reading
from pynetes.apiserver.api import Scope
from pynetes.apiserver.endpoints import decode
from pynetes.machinery import errors, field, go_json, go_print, schema
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import Type

_CANNOT = re.compile(r"^.* cannot be handled as a \w+: (?P<why>.*)$", re.DOTALL)
_UNMARSHAL = re.compile(r"json: cannot unmarshal (?P<found>\w+).* of type (?P<wanted>\S+)$", re.DOTALL)
#: Instead of what a Secret holds.
WITHHELD = "(withheld)"
_STRICT = "strict decoding error"
_BAD_MERGE = "Invalid JSON Patch"
#: Members of an operation of a JSON Patch.
_MEMBERS = ("op", "path", "from", "value")
#: Which objects a patch takes apart on its way through JSON: a dict by name of what is below, ALL of it, or what the
#: client has GIVEN as it stands; None for what it does not look into.
ALL: Final = "all"
GIVEN: Final = "given"
Touched: TypeAlias = Any
_KINDS = {"number": "int64", "array": "slice", "object": "map"}


class Parsed(NamedTuple):
    """A patch, and what strict readers have against it: keys given twice, members that no operation has."""

    document: Any
    strict: list[str]


def parse(body: bytes, *, json_patch: bool, strategic: bool, strict: bool = True) -> Parsed:
    """The patch document. Raises StatusError 400; where nobody asks for strict reading, upstream's other readers do."""
    wanted = "[]handlers.jsonPatchOp" if json_patch else "map[string]interface {}"
    prefix = "" if strategic else "error decoding patch: "
    if not strict and not strategic:
        prefix, wanted = "", "jsonpatch.Patch" if json_patch else wanted
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = prefix + (go_json.problem(body) or str(error))
        raise errors.bad_request(text if strict or json_patch or strategic else _BAD_MERGE) from None
    if document is None and (json_patch or strategic):
        # Go reads null as nothing, and nothing changes nothing.
        document = [] if json_patch else {}
    if not isinstance(document, list if json_patch else dict):
        text = f"{prefix}json: cannot unmarshal {go_json.kind_of(document)} into Go value of type {wanted}"
        unread = document is None or not (strict or json_patch or strategic)
        raise errors.bad_request(_BAD_MERGE if unread else text)
    if json_patch:
        _check_operations(document, prefix, strict=strict)
    if not strict:
        return Parsed(document, [])
    found = reading.duplicates(document, body)
    if json_patch:
        found = [f"json patch {text}" for text in (*found, *_unknown_members(document))]
    return Parsed(document, found)


def _check_operations(document: Any, prefix: str, *, strict: bool) -> None:
    for operation in (each for each in document if each is not None):
        if not isinstance(operation, dict):
            wanted = "handlers.jsonPatchOp" if strict else "jsonpatch.Operation"
            text = f"json: cannot unmarshal {go_json.kind_of(operation)} into Go value of type {wanted}"
            raise errors.bad_request(prefix + text)
        for name in ("op", "path", "from") if strict else ():
            if not isinstance(operation.get(name) or "", str):
                kind = go_json.kind_of(operation[name])
                text = f"json: cannot unmarshal {kind} into Go struct field jsonPatchOp.{name} of type string"
                raise errors.bad_request(prefix + text)


def _unknown_members(document: Any) -> list[str]:
    members = ((index, name) for index, operation in enumerate(document) for name in operation or ())
    return [f'unknown field "[{index}].{name}"' for index, name in members if name not in _MEMBERS]


def refused(error: StatusError, old: Object, document: Any, new: Object, *, scope: Scope, media: str) -> StatusError:
    """The answer when what came out is no object of the kind; other errors stay what they are.

    A Secret is not quoted, whatever upstream does: errors are written into the audit log."""
    found = _CANNOT.match(str(error))
    if error.code != 400 or found is None:
        return error
    why, strategic = found["why"], "strategic" in media
    if scope.resource is secrets.RESOURCE:
        value: Any = WITHHELD
    elif strategic:
        value = go_print.plain(document)
    else:
        touched = _operated(document) if isinstance(document, list) else _merged(old, document)
        value = orjson.dumps(_ordered(schema.of(scope.resource, scope.version).type, new, touched)).decode()
    if strategic and not why.startswith(_STRICT):
        why = _restored(why)
    return errors.invalid("", "", "", [field.invalid("patch", value, why)])


def _operated(operations: list[Any]) -> Touched:
    """What a JSON Patch takes apart: every object on the way to what it names; values stay as they were given."""
    found: dict[str, Touched] = {}
    for operation in operations:
        for pointer in (operation.get("path"), operation.get("from")):
            at: Any = found
            *way, last = [part.replace("~1", "/").replace("~0", "~") for part in (pointer or "/").split("/")[1:]]
            for part in way:
                at = at.setdefault(part, {}) if isinstance(at, dict) else at
            if isinstance(at, dict) and pointer is operation.get("path") and operation.get("op") in ("add", "replace"):
                at[last] = GIVEN
    return found


def _merged(old: Any, document: Any) -> Touched:
    """What a merge patch takes apart: objects that both have, and all of what only the patch has."""
    if not isinstance(document, dict) or not isinstance(old, dict):
        return ALL
    return {name: _merged(old.get(name), member) for name, member in document.items()}


def _ordered(type_: Type | None, value: Any, touched: Touched) -> Any:
    """A value as upstream's JSON has it: objects that were taken apart by name, the others by their declaration."""
    if touched == GIVEN:
        return value
    if touched is None:
        return value if type_ is None else _declared(type_, value)
    if isinstance(value, list):
        below = touched if isinstance(touched, dict) else {}
        items = type_.items if type_ is not None else None
        return [
            _ordered(items, item, ALL if touched == ALL else below.get(str(place))) for place, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    fields = type_.fields if type_ is not None else {}
    return {
        name: _ordered(
            fields[name].type if name in fields else None,
            value[name],
            touched.get(name) if isinstance(touched, dict) else ALL,
        )
        for name in sorted(value)
    }


def _declared(type_: Type, value: Any) -> Any:
    if isinstance(value, dict) and type_.fields:
        numbers = {name: member.number for name, member in type_.fields.items()}
        names = sorted(value, key=lambda name: [int(part or 0) for part in numbers.get(name, "0").split("/")])
        return {
            name: _declared(type_.fields[name].type, value[name]) if name in numbers else value[name] for name in names
        }
    if isinstance(value, list) and type_.items is not None:
        return [_declared(type_.items, item) for item in value]
    return value


def check_kind(new: Object, scope: Scope) -> None:
    """Upstream decodes what a patch leads to as the kind it says it is, and only then finds it to be another."""
    if not scope.built_in:
        if all(isinstance(new.get(name), str) for name in ("kind", "apiVersion")):
            decode.check_custom_kind(new, scope)
        else:
            decode.check_kind(new, scope)
        return
    other = apis.by_kind(str(new.get("apiVersion") or ""), str(new.get("kind") or ""))
    if other is not None and other is not scope.resource and other.schema is None:
        copy = orjson.loads(orjson.dumps(new))
        schema.of(other, copy["apiVersion"].rpartition("/")[2]).decode(copy)
    decode.check_kind(new, scope)


def _restored(why: str) -> str:
    """A wrong type in the words of the converter from maps."""
    found = _UNMARSHAL.search(why)
    if found is None:
        return why
    kind, wanted = _KINDS.get(found["found"], found["found"]), found["wanted"]
    if wanted.startswith("[]"):
        return f"cannot restore slice from {kind}"
    if wanted.startswith("map["):
        return f"cannot restore map from {kind}"
    if "." in wanted:
        return f"cannot restore struct from: {kind}"
    return f"cannot convert {kind} to {wanted}"
