"""Operands of && and || that are no bool: upstream's compiler names each of them, where it stands; the one used here
says of the operator that it has no overload for them.
"""

import re
from collections.abc import Callable, Iterator

from pynetes.machinery.cel import CompileError, literals
from pynetes.machinery.cel.syntax import Node, Tree

_WRONG = re.compile(r"ERROR: <input>:(\d+):(\d+): found no matching overload for '(_&&_|_\|\|_)' applied to '\((.*)\)'")
#: What may be a bool, or is told elsewhere.
_FINE = ("bool", "dyn", "any", "*error*")


def worded(mistake: str, source: str, parse: Callable[[], Tree]) -> list[str]:
    """What upstream says instead of one mistake; the mistake itself where it is another. parse gives the expression's
    tree with no types checked, and may raise CompileError."""
    found = _WRONG.match(mistake)
    types = _two(found[4]) if found is not None else ()
    if found is None or not types:
        return [mistake]
    lines = source.split("\n")
    position = sum(len(line) + 1 for line in lines[: int(found[1]) - 1]) + int(found[2]) - 1
    try:
        tree = parse()
    except CompileError:
        return [mistake]
    for node in _nodes(tree.root):
        if node.kind == "call" and node.name == found[3] and tree.positions.get(node.id) == position:
            return [
                literals.line(tree, source, operand, f"expected type 'bool' but found '{type_}'")
                for operand, type_ in zip(node.arguments, types, strict=True)
                if type_ not in _FINE
            ]
    return [mistake]


def _two(types: str) -> tuple[str, ...]:
    """Two types that a comma parts, which may have commas of their own."""
    depth = 0
    for index, each in enumerate(types):
        depth += (each == "(") - (each == ")")
        if each == "," and not depth:
            return types[:index], types[index + 2 :]
    return ()


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    inner = [node.target, *node.arguments]
    if (fold := node.fold) is not None:
        inner += [fold.range, fold.initial, fold.condition, fold.step, fold.result]
    for each in inner:
        if each is not None:
            yield from _nodes(each)
