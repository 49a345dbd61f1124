"""Types of schemas for the CEL compiler, so that a rule about a field that is not there is refused when it is written.

The compiler knows the types of messages only; a schema's objects become messages, and what has no such type may be
anything. What a schema leaves untyped expressions cannot see, as upstream; {} stands for what may be anything. Values
are not carried in them: evaluation is untyped.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from cel_expr_python import cel
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

from pynetes.machinery.cel import CompileError, literals, logic, sizes
from pynetes.machinery.cel.runtime import Program, checking, compiled, place, untyped
from pynetes.machinery.cel.syntax import Tree
from pynetes.machinery.schema.rules import escaped

_F = descriptor_pb2.FieldDescriptorProto
_WELL_KNOWN = (struct_pb2, wrappers_pb2, timestamp_pb2, duration_pb2, any_pb2)
_SCALARS = {"string": _F.TYPE_STRING, "integer": _F.TYPE_INT64, "number": _F.TYPE_DOUBLE, "boolean": _F.TYPE_BOOL}
_CEL = {"string": cel.Type.STRING, "integer": cel.Type.INT, "number": cel.Type.DOUBLE, "boolean": cel.Type.BOOL}
_FORMATS = {"date": "Timestamp", "date-time": "Timestamp", "duration": "Duration"}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTIONAL = "variables:\n"
_NO_OVERLOAD = re.compile(
    r"(ERROR: <input>:(\d+):(\d+): found no matching overload for '([\w.]+)' applied to ')\((.*)\)'"
)
_ERROR = re.compile(r"(?m)^(?=ERROR: )")
_OTHER_WORDS = (
    (
        re.compile(r"expression of (type '[^']*') cannot be the operand of a select operation"),
        r"\1 does not support field selection",
    ),
    (re.compile(r"cannot be the range of a comprehension"), "cannot be range of a comprehension"),
    (re.compile(r"(undefined field '\w+') not found in struct '\w+'"), r"\1"),
    (re.compile(r"has\(\) argument must be a field selection"), "invalid argument to has() macro"),
    (re.compile(r"(?:map|filter)\(\) variable name must be a simple identifier"), "argument is not an identifier"),
    (re.compile(r"\w+\(\) variable name must be a simple identifier"), "argument must be a simple name"),
)
_TYPE_NAMES = {"null_type": "null", "google.protobuf.Timestamp": "timestamp", "google.protobuf.Duration": "duration"}
_GO_TYPES = re.compile(r"\bnull_type\b|\bgoogle\.protobuf\.(?:Timestamp|Duration)\b")


class Declared:
    """An environment whose variables have the types of schemas; None stands for any type."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any] | None], optional: Collection[str] = ()) -> None:
        self._file = descriptor_pb2.FileDescriptorProto(name="self.proto", syntax="proto3")
        self._file.dependency.extend(each.DESCRIPTOR.name for each in _WELL_KNOWN)
        self._count = 0
        self._names = tuple(schemas)
        # Variables of one schema are of one type, or they could not be compared.
        made = {id(schema): cel.Type.DYN if schema is None else self._type(schema) for schema in schemas.values()}
        types = {name: made[id(schema)] for name, schema in schemas.items()}
        pool = descriptor_pool.DescriptorPool()
        for known in _WELL_KNOWN:
            file = descriptor_pb2.FileDescriptorProto()
            known.DESCRIPTOR.CopyToProto(file)
            pool.Add(file)
        pool.Add(self._file)
        config = _OPTIONAL + "".join(_optional(name, types.pop(name)) for name in optional) if optional else ""
        self._environment = checking(types, pool, config)

    def check(self, source: str, *, mixed: bool = False) -> Program:
        """The program, compiled with these types; mixed lets literals have members of several types, as maps have that
        stand for objects. Raises CompileError."""
        try:
            program = compiled(self._environment, source)
        except CompileError as error:
            raise CompileError(_worded(str(error), source, lambda: untyped(self._names, source).tree())) from error
        if not mixed and (wrong := literals.problems(program.tree(), source)):
            raise CompileError("\n".join(wrong))
        return program

    def _type(self, schema: Mapping[str, Any]) -> Any:
        kind, extra = schema.get("type"), schema.get("additionalProperties")
        if schema.get("x-kubernetes-int-or-string"):
            return cel.Type.DYN
        if kind == "string" and schema.get("format") in _FORMATS:
            return cel.Type.TIMESTAMP if _FORMATS[schema["format"]] == "Timestamp" else cel.Type.DURATION
        if kind in _CEL:
            return cel.Type.BYTES if schema.get("format") == "byte" else _CEL[kind]
        if kind == "array":
            return cel.Type.List(self._type(schema.get("items") or {}))
        if kind == "object" and isinstance(extra, dict):
            return cel.Type.Map(cel.Type.STRING, self._type(extra))
        if kind == "object":
            return cel.Type(self._message(schema))
        return cel.Type.DYN

    def _message(self, schema: Mapping[str, Any]) -> str:
        self._count += 1
        name = f"selfType{self._count}"
        message = descriptor_pb2.DescriptorProto(name=name)
        if schema.get("x-kubernetes-embedded-resource"):
            schema = sizes.with_meta(schema)
        for member, inner in (schema.get("properties") or {}).items():
            written = member if schema.get(PLAIN) else escaped(member)
            if _IDENTIFIER.fullmatch(written) and (not inner or sizes.shape(inner) is not None):
                self._field(message, written, inner)
        self._file.message_type.append(message)
        return name

    def _field(self, message: Any, name: str, schema: Mapping[str, Any]) -> None:
        number = len(message.field) + 1
        made = message.field.add(name=name, number=number, json_name=f"j{number}", label=_F.LABEL_OPTIONAL)
        extra = schema.get("additionalProperties")
        if schema.get("type") == "array":
            made.label = _F.LABEL_REPEATED
            self._single(made, schema.get("items") or {})
        elif schema.get("type") == "object" and isinstance(extra, dict):
            # protobuf derives this name itself and refuses any other: only first letters change.
            words = (part[:1].upper() + part[1:] for part in name.split("_"))
            entry = message.nested_type.add(name=f"{''.join(words)}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=_F.TYPE_STRING, label=_F.LABEL_OPTIONAL)
            self._single(entry.field.add(name="value", number=2, label=_F.LABEL_OPTIONAL), extra)
            made.label, made.type, made.type_name = _F.LABEL_REPEATED, _F.TYPE_MESSAGE, f".{message.name}.{entry.name}"
        else:
            self._single(made, schema)

    def _single(self, made: Any, schema: Mapping[str, Any]) -> None:
        """What is no list and no map."""
        kind, form = schema.get("type"), schema.get("format") or ""
        if schema.get("x-kubernetes-int-or-string"):
            kind = None
        if kind in _SCALARS and form not in _FORMATS:
            made.type = _F.TYPE_BYTES if form == "byte" and kind == "string" else _SCALARS[kind]
            return
        made.type = _F.TYPE_MESSAGE
        if kind == "string" and form in _FORMATS:
            made.type_name = f".google.protobuf.{_FORMATS[form]}"
        elif kind == "object" and not isinstance(schema.get("additionalProperties"), dict):
            made.type_name = f".{self._message(schema)}"
        else:
            made.type_name = ".google.protobuf.Value"


#: A schema whose members have their names in expressions, also where these are CEL's own words.
PLAIN = "x-plain-names"


class Types:
    """The types of one schema for its rules; `self` and `oldSelf` have the schema's own."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._plain: Declared | None = None
        self._optional: Declared | None = None

    def check(self, source: str, *, optional: bool = False) -> Program:
        """The program; with optional, oldSelf may be absent. Raises CompileError."""
        if optional:
            self._optional = self._optional or Declared({"self": self._schema, "oldSelf": self._schema}, ("oldSelf",))
            return self._optional.check(source)
        self._plain = self._plain or Declared({"self": self._schema, "oldSelf": self._schema})
        return self._plain.check(source)


def _optional(name: str, type_: Any) -> str:
    return f"- name: {name}\n  type_name: optional_type\n  params: [{_yaml(type_.name())}]\n"


def _yaml(name: str) -> str:
    """A type's name, such as LIST<selfType1>, as the environment's configuration has it."""
    outer, _, inner = name.removesuffix(">").partition("<")
    if not inner:
        return f"{{type_name: {name.lower() if name.isupper() else name}}}"
    params = inner.split(", ", 1) if outer == "MAP" else [inner]
    return f"{{type_name: {outer.lower()}, params: [{', '.join(map(_yaml, params))}]}}"


def _worded(text: str, source: str, parse: Callable[[], Tree]) -> str:
    """The compiler's lines in the words of upstream's; what follows from an earlier error is not told."""
    mistakes = [each.rstrip("\n") for each in _ERROR.split(text) if each]
    told = [mistake for each in mistakes for mistake in logic.worded(each, source, parse) if "'*error*'" not in mistake]
    shown = [_no_overload(_GO_TYPES.sub(_go_type, each), source) for each in told if "*error*" not in each]
    return "\n".join(sorted(shown, key=place))


def _go_type(found: re.Match[str]) -> str:
    return _TYPE_NAMES[found[0]]


def _no_overload(text: str, source: str) -> str:
    for pattern, written in _OTHER_WORDS:
        text = pattern.sub(written, text)
    found = _NO_OVERLOAD.match(text)
    if found is None:
        return text
    before = source.splitlines()[int(found[2]) - 1][: int(found[3]) - 1].rstrip()
    if not before.endswith(f".{found[4]}"):
        return text
    receiver, rest = _split(found[5])
    return f"{found[1]}{receiver}.({rest})'{text[found.end() :]}"


def _split(types: str) -> tuple[str, str]:
    """The first of several types, and the others."""
    depth = 0
    for index, each in enumerate(types):
        depth += (each == "(") - (each == ")")
        if each == "," and not depth:
            return types[:index], types[index + 2 :]
    return types, ""
