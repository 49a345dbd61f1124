"""Schemas of custom resources: structural OpenAPI v3 as a CustomResourceDefinition has it.

Pruning, defaulting and value validation walk the schema itself; patches and apply read the Type made of it. metadata is
decoded as every object's is.
"""

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pynetes.machinery import errors, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import decode, embedded, listtype, rules, scaling, types
from pynetes.machinery.schema.inspect import WrongType, inspect
from pynetes.machinery.schema.rules import ABSENT
from pynetes.machinery.schema.types import ANY, METADATA, Field, Type
from pynetes.machinery.schema.values import problems

_OWN = ("apiVersion", "kind", "metadata")
_BLOCKING = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete"
    " validation"
)
PRESERVE, EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"


class CustomSchema:
    """Answers what Schema answers, for one version of a custom resource."""

    def __init__(self, resource: Resource, version: str, source: Mapping[str, Any]) -> None:
        self.resource = resource
        self.version = version
        self._source = source
        self._ruled = rules.present(source)
        self._embeds = _embeds(source)
        self.type = type_of(source)
        self.type.fields |= {
            "apiVersion": Field(Type("string")),
            "kind": Field(Type("string")),
            "metadata": Field(types.named(METADATA)),
        }

    def decode(self, obj: Object) -> list[str]:
        """Drop what the schema does not know and nulls that it does not allow; the paths of what is gone.

        StatusError 400 for a wrong type in metadata.
        """
        metadata = obj.get("metadata")
        unknown_there = self._inspected(metadata)
        own = {name: obj.pop(name) for name in _OWN if name in obj}
        if self._embeds and (wrong := embedded.misfit(self._source, obj, "", _misread)):
            raise self._unfit(str(wrong))
        within: list[str] = []
        gone = prune(self._source, obj, "", within)
        unknown = [*(f"metadata.{path}" for path in unknown_there), *sorted(gone), *sorted(within)]
        if metadata is not None:
            own["metadata"] = decode.decoder_of(types.named(METADATA))(metadata)
        rest = dict(obj)
        obj.clear()
        obj |= {name: own[name] for name in ("kind", "apiVersion", "metadata") if name in own} | rest
        return unknown

    def _inspected(self, metadata: Any) -> list[str]:
        try:
            return inspect(types.named(METADATA), metadata)
        except WrongType as error:
            raise self._unfit(str(error)) from None

    def _unfit(self, why: str) -> errors.StatusError:
        kind = self.resource.kind
        return errors.bad_request(f'{kind} in version "{self.version}" cannot be handled as a {kind}: {why}')

    def prune(self, obj: Object) -> list[str]:
        """The same as decode."""
        return self.decode(obj)

    def default(self, obj: Object) -> None:
        """The schema's defaults, where nothing is set."""
        default(self._source, obj)

    def validate(
        self,
        obj: Object,
        old: Object | None = None,
        warnings: list[str] | None = None,
        *,
        metadata: embedded.Metadata | None = None,
        status: bool = False,
    ) -> Iterator[field.Error]:
        """Every value that the schema or its rules forbid; an update answers for what it changes, and is warned of
        rules that fail for the rest. Of an update of status only the status is looked at, but all rules are.

        metadata says what is wrong with the metadata of objects within the object."""
        shown = {name: value for name, value in obj.items() if name not in _OWN}
        before = {name: value for name, value in old.items() if name not in _OWN} if old is not None else ABSENT
        found = self._status(shown, before) if status else list(problems(self._source, shown, "", before))
        found += scaling.problems(self.resource.scale, shown, status=status)
        if self._embeds and metadata is not None and not status:
            found += embedded.problems(self._source, shown, "", metadata)
        if before is ABSENT or next(listtype.problems(self._source, before, ""), None) is None:
            found += listtype.problems(self._source, shown, "")
        yield from found
        if not self._ruled:
            return
        if any(error.reason in _BLOCKING for error in found):
            yield field.invalid("<nil>", None, _UNCHECKED)
            return
        before = _seen(old) if old is not None else ABSENT
        yield from rules.problems(self._source, _seen(obj), before, "", warnings)

    def _status(self, shown: Object, before: Any) -> list[field.Error]:
        schema = (self._source.get("properties") or {}).get("status")
        if schema is None or "status" not in shown:
            return []
        was = before.get("status", ABSENT) if isinstance(before, dict) else ABSENT
        return list(problems(schema, shown["status"], "", was, below="status"))


def _embeds(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(_embeds, schema))
    return isinstance(schema, dict) and (bool(schema.get(EMBEDDED)) or any(map(_embeds, schema.values())))


def _misread(metadata: Any) -> str:
    """What is wrong with the types in the metadata of an object within the object."""
    try:
        inspect(types.named(METADATA), copy.deepcopy(metadata))
    except WrongType as error:
        return str(error)
    return ""


def _seen(obj: Object) -> Object:
    """What rules at the root see of the object: of metadata only the name."""
    metadata = obj.get("metadata") or {}
    return {**obj, "metadata": {name: metadata[name] for name in ("name", "generateName") if name in metadata}}


_KEPT: dict[tuple[str, str, str], CustomSchema] = {}


def of(resource: Resource, version: str) -> CustomSchema:
    """The schema, kept until the definition changes (which makes a new record)."""
    key = (resource.group, resource.plural, version)
    kept = _KEPT.get(key)
    if kept is None or kept.resource is not resource:
        source = (resource.schema or {}).get(version) or {"type": "object", PRESERVE: True}
        kept = _KEPT[key] = CustomSchema(resource, version, source)
    return kept


def type_of(schema: Mapping[str, Any]) -> Type:
    """The Type that patches and apply walk."""
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        inner = schema.get("additionalProperties")
        if isinstance(inner, dict) and not schema.get("properties"):
            found = Type("map")
            found.items = type_of(inner)
        else:
            found = Type("object")
            found.fields = {name: _field(member) for name, member in (schema.get("properties") or {}).items()}
            found.preserve = bool(schema.get(PRESERVE))
            found.items = _deduced() if found.preserve else None
        found.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        return found
    if kind == "array":
        found = Type("array")
        found.items = type_of(schema.get("items") or {})
        found.list_type = schema.get("x-kubernetes-list-type") or "atomic"
        found.keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        return found
    if not kind and schema.get(PRESERVE):
        return _deduced()
    return Type(str(kind)) if kind in ("string", "integer", "number", "boolean") else ANY


def _field(schema: Mapping[str, Any]) -> Field:
    found = Field(type_of(schema))
    found.default = schema.get("default")
    return found


@cache
def _deduced() -> Type:
    """Of what no schema describes: objects are granular all the way down, lists are atomic."""
    found = Type("object")
    found.preserve, found.items = True, found
    return found


def prune(schema: Any, value: Any, path: str, within: list[str] | None = None) -> list[str]:
    """Take out members that the schema does not name, and nulls that it allows nowhere and has no default for; the
    paths of the members. Those of the metadata of objects within the object are added to `within`."""
    known: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, list):
        items = known.get("items")
        items = {PRESERVE: True} if items is None and known.get(PRESERVE) else items
        return [gone for at, item in enumerate(value) for gone in prune(items, item, f"{path}[{at}]", within)]
    if not isinstance(value, dict):
        return []
    properties, extra = known.get("properties") or {}, known.get("additionalProperties")
    gone: list[str] = []
    for name in list(value):
        place = f"{path}.{name}" if path else name
        member = properties.get(name, extra)
        if known.get(EMBEDDED) and name in _OWN:
            if name == "metadata" and isinstance(value[name], dict):
                lost = inspect(types.named(METADATA), value[name])
                (gone if within is None else within).extend(f"{place}.{each}" for each in lost)
                value[name] = decode.decoder_of(types.named(METADATA))(value[name])
        elif value[name] is None and isinstance(member, Mapping) and not member.get("nullable"):
            # One with a default waits for it.
            if "default" not in member:
                del value[name]
        elif name in properties or extra is not None:
            gone += prune(member, value[name], place, within)
        elif not known.get(PRESERVE):
            del value[name]
            gone.append(place)
    return gone


def default(schema: Any, value: Any) -> None:
    """Fill in defaults, in place, outer ones first so that what they bring is completed too; also for nulls that are
    not allowed."""
    if not isinstance(schema, Mapping):
        return
    if isinstance(value, list):
        items = schema.get("items")
        for index, item in enumerate(value):
            value[index] = _instead(items, item)
            default(items, value[index])
    elif isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, member in properties.items():
            if "default" in member and (name not in value or (value[name] is None and not member.get("nullable"))):
                value[name] = copy.deepcopy(member["default"])
        for name in value:
            if name not in properties:
                value[name] = _instead(extra, value[name])
            default(properties.get(name, extra), value[name])


def _instead(schema: Any, value: Any) -> Any:
    if value is None and isinstance(schema, Mapping) and not schema.get("nullable"):
        return copy.deepcopy(schema.get("default"))
    return value
