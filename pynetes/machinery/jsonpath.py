"""The part of JSONPath that Kubernetes uses in columns, scale paths and selectable fields.

Supported: .a.b, ['a.b'], [0], [-1], [*], .*, and [?(@.type=="Ready")]. A path compiles once to a function.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

Step: TypeAlias = Callable[[Any], Iterator[Any]]

_STEP = re.compile(
    r"""\.?\*|\.(?P<name>(?:[^.\[\]\\]|\\.)+)|\[\*\]|\[['"](?P<quoted>[^'"]+)['"]\]|\[(?P<index>-?\d+)\]"""
    r"""|\[\?\(\s*@\.(?P<key>[\w./-]+)\s*(?P<operator>==|!=)\s*["']?(?P<wanted>[^"')]*)["']?\s*\)\]"""
)


def _member(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _item(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _filter(key: str, wanted: str, *, equal: bool) -> Step:
    def text(item: Any) -> str | None:
        for part in key.split("."):
            item = item.get(part) if isinstance(item, dict) else None
        return {True: "true", False: "false"}.get(item, str(item)) if item is not None else None

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from (item for item in value if (text(item) == wanted) is equal)

    return step


def _steps(path: str) -> Iterator[Step]:
    text = path.strip()
    text = text.removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    position = 0
    while position < len(text) and text != ".":
        if not (found := _STEP.match(text, position)):
            raise ValueError(f"{path!r} is no JSON path from {text[position:]!r} on")
        position = found.end()
        if found["name"] is not None:
            yield _member(re.sub(r"\\(.)", r"\1", found["name"]))
        elif found["quoted"] is not None:
            yield _member(found["quoted"])
        elif found["index"] is not None:
            yield _item(int(found["index"]))
        elif found["key"] is not None:
            yield _filter(found["key"], found["wanted"], equal=found["operator"] == "==")
        else:
            yield _children


@lru_cache(maxsize=2048)
def compile(path: str) -> Callable[[Any], list[Any]]:  # noqa: A001 - as re.compile
    """The function that finds every value at the path, in order. ValueError if the path is outside the grammar."""
    steps = tuple(_steps(path))

    def find(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = [result for item in found for result in step(item)]
        return found

    return find


def first(path: str, obj: Any, default: Any = None) -> Any:
    """The first value at the path."""
    found = compile(path)(obj)
    return found[0] if found else default
