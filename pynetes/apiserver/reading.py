"""From the bytes of a body to an object: what is wrong with them in upstream's words, and keys given twice.

The parsers keep the last of two equal keys without a word. Whether there were two is found out only where the object
written anew is shorter than what came: clients write JSON without spaces, so that is nearly never.
"""

import json
from typing import Any, Final

import orjson
import yaml

from pynetes.machinery import errors, go_json
from pynetes.machinery.meta import Object

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ABOUT = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_SHOWN: Final = 30
#: Levels of a YAML document; orjson reads as many.
_DEEPEST: Final = 1000
#: Values that aliases may make of a document.
_EXPANDED: Final = 400_000
_YAML_ERRORS: Final = "yaml: unmarshal errors:\n"


class Unreadable(ValueError):
    """The bytes are no object."""


def json_object(body: bytes, twice: list[str] | None = None) -> Object:
    """Parse JSON; appends a text to `twice` for every key that comes again. Raises Unreadable."""
    try:
        obj = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"couldn't get version/kind; json parse error: {_problem(body, error)}") from None
    found = _checked(obj)
    if twice is not None:
        twice += duplicates(obj, body)
    return found


def duplicates(parsed: Any, body: bytes) -> list[str]:
    """A text for every key that comes again in the body; `parsed` is what was read of it."""
    if len(orjson.dumps(parsed)) == len(body):
        return []
    return [f'duplicate field "{path}"' for path in _duplicates(body)]


def _problem(body: bytes, error: ValueError) -> str:
    # What Go reads and orjson does not (invalid UTF-8, surrogates) has no words of Go's.
    return go_json.problem(body) or str(error)


def _checked(obj: Any) -> Object:
    """An object whose kind and apiVersion are texts; null is an empty one."""
    if obj is None:
        return {}
    if not isinstance(obj, dict):
        shown = go_json.kind_of(obj)
        text = f"json: cannot unmarshal {shown} into Go value of type {_ABOUT}"
        raise Unreadable(f"couldn't get version/kind; json parse error: {text}")
    for name in ("apiVersion", "kind"):
        if not isinstance(obj.get(name) or "", str):
            shown = go_json.kind_of(obj[name])
            text = f"json: cannot unmarshal {shown} into Go struct field .{name} of type string"
            raise Unreadable(f"couldn't get version/kind; json parse error: {text}")
    version = obj.get("apiVersion") or ""
    if version.count("/") > 1:
        raise Unreadable(f"unexpected GroupVersion string: {version}")
    return obj


class _Twice(dict[str, Any]):
    """An object with keys that came more than once."""

    __slots__ = ("keys_again",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.keys_again: dict[str, None] = {}
        for key, _ in pairs:
            if key in seen:
                self.keys_again[key] = None
            seen.add(key)


def _duplicates(body: bytes) -> list[str]:
    """The paths of keys that come again in their object."""
    found = False

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        made = dict(given)
        if len(made) == len(given):
            return made
        found = True
        return _Twice(given)

    try:
        obj = json.loads(body, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return []
    return list(dict.fromkeys(_paths(obj, ""))) if found else []


def _paths(value: Any, path: str) -> list[str]:
    paths: list[str] = []
    if isinstance(value, dict):
        again = value.keys_again if isinstance(value, _Twice) else {}
        for key, item in value.items():
            place = f"{path}.{key}" if path else key
            paths += [place] if key in again else []
            paths += _paths(item, place)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            paths += _paths(item, f"{path}[{index}]")
    return paths


class Loader(_Loader):  # type: ignore[misc]
    """YAML 1.1 as upstream reads it, without its timestamps; notes keys that come again."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.again: list[tuple[int, str]] = []
        self._depth = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Called for every node: libyaml's composer calls itself in C, where nobody counts, until the stack is full."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"exceeded max depth of {_DEEPEST}", None)

    def ascend_resolver(self) -> None:
        """The way back."""
        self._depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping; the last of two equal keys counts."""
        seen: set[str] = set()
        for key, _ in getattr(node, "value", ()):
            text = getattr(key, "value", "")
            if isinstance(text, str) and key.tag != "tag:yaml.org,2002:merge":
                if text in seen:
                    self.again.append((key.start_mark.line + 1, text))
                seen.add(text)
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def yaml_object(body: bytes, twice: list[str] | None = None) -> Object:
    """Parse YAML; times stay text, as in JSON. Raises Unreadable."""
    if body.startswith(b"{") and (found := _as_json(body, twice is not None)) is not None:
        return _checked(found)
    try:
        loader = Loader(body)
        try:
            obj = loader.get_single_data()
        finally:
            loader.dispose()
        if b"*" in body and b"&" in body and _expanded(obj, {}) > _EXPANDED:
            raise yaml.composer.ComposerError(None, None, "document contains excessive aliasing", None)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unreadable(f"yaml: {_yaml_problem(error)}") from None
    if twice is not None and loader.again:
        lines = [f'  line {line}: key "{key}" already set in map' for line, key in sorted(loader.again)]
        twice.append(_YAML_ERRORS + "\n".join(lines))
    return _checked(obj)


def _as_json(body: bytes, strict: bool) -> Any:
    """What clients call YAML is JSON mostly, read in a tenth of the time; None for what is not, or has keys twice."""
    try:
        obj = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return obj if not strict or len(orjson.dumps(obj)) == len(body) else None


def _expanded(value: Any, known: dict[int, int]) -> int:
    """How many values a document is with every alias written out. Raises ValueError for one within itself."""
    if not isinstance(value, dict | list):
        return 1
    found = known.get(id(value))
    if found is None:
        known[id(value)] = 0
        members = value.values() if isinstance(value, dict) else value
        found = known[id(value)] = 1 + sum(_expanded(member, known) for member in members)
    elif not found:
        raise ValueError("anchor value contains itself")
    return found


def _yaml_problem(error: Exception) -> str:
    """libyaml's words, with Go's way to count lines."""
    text = getattr(error, "problem", None) or (str(error) if isinstance(error, ValueError) else "")
    text = text or "unknown problem parsing YAML content"
    for mark in (getattr(error, "context_mark", None), getattr(error, "problem_mark", None)):
        if mark is not None and mark.line:
            return f"line {mark.line + isinstance(error, yaml.scanner.ScannerError)}: {text}"
    return str(text)


def each_warning(text: str) -> list[str]:
    """One strict error as warnings: YAML's come several in one."""
    if not text.startswith(_YAML_ERRORS):
        return [text]
    return [line.strip() for line in text.removeprefix(_YAML_ERRORS).splitlines()]


def unrecognized(kind: str, problem: str, body: bytes) -> errors.StatusError:
    """400 for a body whose kind could not even be found out."""
    must = f" (must be of type {kind})" if kind else ""
    return errors.bad_request(f"the object provided is unrecognized{must}: {problem} ({summary(body)})")


def summary(body: bytes) -> str:
    """The beginning of a body: as it is where it looks like JSON, else in hexadecimal."""
    if not body:
        return "<empty>"
    shown = body[:_SHOWN].decode(errors="replace") if body.startswith(b"{") else body[:_SHOWN].hex()
    return f"{shown} ..." if len(body) > _SHOWN else shown
