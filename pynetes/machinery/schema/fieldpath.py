"""Paths to a field of a custom resource's schema, as rules and selectable fields name it: .a.b, .a['b.c']."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]]+", re.DOTALL)


class Found(NamedTuple):
    """The field's schema, and its path as errors show it."""

    schema: Mapping[str, Any]
    path: str


def resolve(schema: Mapping[str, Any], path: str, *, brackets: bool = True) -> Found:
    """ValueError, with the reason in upstream's words, if it leads nowhere. Lists cannot be gone into."""
    tokens = iter(_TOKEN.findall(path))
    node, shown = schema, ""
    for token in tokens:
        if token == "[":
            if not brackets:
                raise ValueError("array notation is not allowed")
            name = _quoted(_next(tokens))
        elif token == ".":
            name = _next(tokens)
        else:
            raise ValueError(f"expected [ or . but got: {token}")
        named = bool(node.get("properties"))
        inner = node["properties"].get(name) if named else node.get("additionalProperties")
        if not isinstance(inner, Mapping):
            raise ValueError("does not refer to a valid field")
        shown += (f".{name}" if shown else name) if named else f"[{name}]"
        node = inner
        if token == "[" and (closing := _next(tokens)) != "]":
            raise ValueError(f"expected ] but got {closing}")
    return Found(node, shown)


def _next(tokens: Iterator[str]) -> str:
    token = next(tokens, "")
    if not token:
        raise ValueError("unexpected end of JSON path")
    return token


def _quoted(token: str) -> str:
    if len(token) < 2 or token[0] != "'" or token[-1] != "'":
        raise ValueError(f"expected single quoted string but got {token}")
    return re.sub(r"\\(.)", r"\1", token[1:-1])
