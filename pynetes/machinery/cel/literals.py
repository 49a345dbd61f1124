"""What upstream's compiler refuses in literals and the one used here lets pass: lists and maps of several types, and
texts that are no regular expression, time or duration.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from pynetes.machinery import regexp
from pynetes.machinery.cel.syntax import Node, Tree, Type
from pynetes.machinery.schema.rules import duration


def _pattern(text: str) -> None:
    if wrong := regexp.problem(text):
        raise ValueError(wrong)


_READ: dict[str, Callable[[str], Any]] = {
    "matches": _pattern,
    "duration": duration,
    "timestamp": lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")),
}


def problems(tree: Tree, source: str) -> list[str]:
    """The compiler's lines, as it would say it."""
    return [line(tree, source, node, text) for node, text in _all(tree, tree.root)]


def _all(tree: Tree, node: Node, mixed: bool = False) -> Iterator[tuple[Node, str]]:
    """mixed: within what format() is given, which may be of several types."""
    mixed = mixed or (node.kind == "call" and node.name == "format")
    fold = node.fold
    inner = [node.target, *node.arguments]
    if fold is not None:
        inner += [fold.range, fold.initial, fold.condition, fold.step, fold.result]
    for each in inner:
        if each is not None:
            yield from _all(tree, each, mixed)
    if node.kind == "list" and not mixed:
        yield from _mixed(tree, node.arguments)
    elif node.kind == "map" and not mixed:
        yield from _mixed(tree, node.arguments[::2])
        yield from _mixed(tree, node.arguments[1::2])
    elif node.kind == "call" and node.name in _READ and node.arguments:
        last = node.arguments[-1]
        if last.kind == "const" and isinstance(last.value, str) and not _readable(node.name, last.value):
            yield last, f"invalid {node.name} argument"


def _mixed(tree: Tree, members: Sequence[Node]) -> Iterator[tuple[Node, str]]:
    first: Type | None = None
    for each in members:
        found = tree.type_of(each)
        if found.kind in ("dyn", "null", "param", "opaque"):
            continue
        first = first or found
        if found.kind != first.kind:
            yield each, f"expected type '{_name(first)}' but found '{_name(found)}'"


def _name(type_: Type) -> str:
    inner = ", ".join(map(_name, type_.params))
    return f"{type_.name or type_.kind}({inner})" if inner else type_.name or type_.kind


def _readable(name: str, text: str) -> bool:
    try:
        _READ[name](text)
    except ValueError:
        return False
    return True


def line(tree: Tree, source: str, node: Node, text: str) -> str:
    """A mistake at a node, as the compiler tells it.

    Positions count characters from the beginning; lines and columns from one."""
    before = source[: tree.positions.get(node.id, 0)]
    row, column = before.count("\n"), len(before) - (before.rfind("\n") + 1)
    shown = source.split("\n")[row]
    return f"ERROR: <input>:{row + 1}:{column + 1}: {text}\n | {shown}\n | {'.' * column}^"
