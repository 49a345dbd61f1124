"""Expressions of policies and match conditions: compiled when they are written, so that mistakes are told at once."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pynetes.machinery import cel, field
from pynetes.machinery.cel.constructors import as_maps
from pynetes.machinery.cel.typed import PLAIN, Declared

_TEXT: dict[str, Any] = {"type": "string"}
_ANY: dict[str, Any] = {}
_TEXTS = {"type": "array", "items": _TEXT}
_TEXT_MAP = {"type": "object", "additionalProperties": _TEXT}


def _object(texts: Iterable[str], **others: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**dict.fromkeys(texts, _TEXT), **others}, PLAIN: True}


_KIND, _RESOURCE = _object(("group", "version", "kind")), _object(("group", "version", "resource"))
_USER = _object(("username", "uid"), groups=_TEXTS, extra={"type": "object", "additionalProperties": _ANY})
_REQUEST = _object(
    ("subResource", "requestSubResource", "name", "namespace", "operation"),
    kind=_KIND,
    resource=_RESOURCE,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    userInfo=_USER,
    dryRun={"type": "boolean"},
    options=_ANY,
)
_TIME, _NUMBER = {"type": "string", "format": "date-time"}, {"type": "integer"}
_METADATA = _object(
    ("name", "generateName", "namespace", "UID", "resourceVersion"),
    labels=_TEXT_MAP,
    annotations=_TEXT_MAP,
    creationTimestamp=_TIME,
    deletionTimestamp=_TIME,
    deletionGracePeriodSeconds=_NUMBER,
    generation=_NUMBER,
    finalizers=_TEXTS,
)
_NAMESPACE = _object((), metadata=_METADATA, spec=_object((), finalizers=_TEXTS), status=_object(("phase",)))
_GO_NAMES = {"TIMESTAMP": "timestamp", "DURATION": "duration", "NULL": "null_type"}


class Environment:
    """What an expression sees: the request, and of a policy its parameters and the variables before it.

    Objects and parameters may be anything, or are about a kind with a schema."""

    def __init__(
        self, *, params: bool, about: Mapping[str, Any] | None = None, params_about: Mapping[str, Any] | None = None
    ) -> None:
        self._variables: dict[str, Any] = {}
        self._base: dict[str, Any] = {"object": about, "oldObject": about}
        self._base |= {"request": _REQUEST, "namespaceObject": _NAMESPACE}
        if params:
            self._base["params"] = params_about
        self._kept: dict[bool, Declared] = {}

    def declare(self, name: str) -> None:
        """A variable that later expressions may use."""
        self._variables[name] = _ANY
        self._kept.clear()

    def _declared(self, *, authorizer: bool) -> Declared:
        if authorizer not in self._kept:
            schemas = dict(self._base)
            if authorizer:
                schemas["authorizer"] = None
            if self._variables:
                schemas["variables"] = {"type": "object", "properties": dict(self._variables)}
            self._kept[authorizer] = Declared(schemas)
        return self._kept[authorizer]

    def check(
        self, source: str, path: str, kinds: tuple[str, ...] = (), *, authorizer: bool = True
    ) -> Iterator[field.Error]:
        """What is wrong with an expression that must have one of these types; any if there are none."""
        try:
            program = self._declared(authorizer=authorizer).check(source)
        except cel.CompileError as error:
            yield field.invalid(path, source, f"compilation failed: {error}")
            return
        found = go_name(program.kind)
        if kinds and found not in kinds:
            wanted = kinds[0] if len(kinds) == 1 else f"one of [{' '.join(kinds)}]"
            yield field.invalid(path, source, f"must evaluate to {wanted} but got {found}")

    def wrong(self, source: str) -> str:
        """What the compiler says of an expression, "" if it is right."""
        try:
            self._declared(authorizer=True).check(source)
        except cel.CompileError as error:
            return str(error)
        return ""

    def check_made(self, source: str, path: str, patch: str) -> Iterator[field.Error]:
        """What is wrong with an expression that makes a patch: a list of steps, or an object to be applied."""
        try:
            program = self._declared(authorizer=True).check(as_maps(source), mixed=True)
        except cel.CompileError as error:
            yield field.invalid(path, source, f"compilation failed: {error}")
            return
        found = go_name(program.kind)
        outer, wanted = ("list", "list(JSONPatch)") if patch == "JSONPatch" else ("map", "Object")
        if found.partition("(")[0] != outer:
            yield field.invalid(path, source, f"must evaluate to {wanted} but got {found}")

    def condition(self, source: str, path: str) -> Iterator[field.Error]:
        """A match condition."""
        yield from self.check(source, path, ("bool",))


def go_name(kind: str) -> str:
    """A type as messages name it: list(string)."""
    outer, _, inner = kind.removesuffix(">").partition("<")
    outer = _GO_NAMES.get(outer, outer.lower() if outer.isupper() else outer)
    if not inner:
        return outer
    parts = inner.split(", ", 1) if outer == "map" else [inner]
    return f"{outer}({', '.join(map(go_name, parts))})"
