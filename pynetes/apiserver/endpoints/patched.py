"""Patches that cannot be read or do not lead to an object, in upstream's words.

Upstream decodes what a JSON or merge patch made of the object's JSON, and refuses it quoting all of that; a strategic
merge patch works on maps, and is refused quoting the patch as Go prints a map.
"""

import re
from typing import Any

import orjson

from pynetes import apis
from pynetes.apis.core import secrets
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
_KINDS = {"number": "int64", "array": "slice", "object": "map"}


def parse(body: bytes, *, json_patch: bool, strategic: bool) -> Any:
    """The patch document. Raises StatusError 400."""
    prefix = "" if strategic else "error decoding patch: "
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(prefix + (go_json.problem(body) or str(error))) from None
    if not isinstance(document, list if json_patch else dict):
        wanted = "[]handlers.jsonPatchOp" if json_patch else "map[string]interface {}"
        text = f"json: cannot unmarshal {go_json.kind_of(document)} into Go value of type {wanted}"
        raise errors.bad_request(prefix + text)
    return document


def refused(error: StatusError, document: Any, new: Object, *, scope: Scope, strategic: bool) -> StatusError:
    """The answer when what came out is no object of the kind; other errors stay what they are.

    A Secret is not quoted, whatever upstream does: errors are written into the audit log."""
    found = _CANNOT.match(str(error))
    if error.code != 400 or found is None or found["why"].startswith(_STRICT):
        return error
    why = found["why"]
    if scope.resource is secrets.RESOURCE:
        value: Any = WITHHELD
    elif strategic:
        value = go_print.plain(document)
    else:
        value = orjson.dumps(_ordered(schema.of(scope.resource, scope.version).type, new)).decode()
    if strategic:
        why = _restored(why)
    return errors.invalid("", "", "", [field.invalid("patch", value, why)])


def _ordered(type_: Type, new: Object) -> Object:
    """The object as upstream's JSON has it: its members by name, what is in them by their declaration."""
    fields = type_.fields
    return {name: _declared(fields[name].type, new[name]) if name in fields else new[name] for name in sorted(new)}


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
