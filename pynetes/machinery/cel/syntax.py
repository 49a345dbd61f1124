"""The syntax tree of a compiled expression, which the runtime gives as a serialised `cel.expr.CheckedExpr`.

Costs are told by walking it. Only what a walk needs is read: nodes, the types that the checker found, and the overloads
that each call may mean.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pynetes.machinery import wire

_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN = {1: "any", 2: "timestamp", 3: "duration"}
_CONSTANTS = {1: "null", 2: "bool", 3: "int", 4: "uint", 5: "double", 6: "string", 7: "bytes"}
_SIGN = 1 << 63


class Type(NamedTuple):
    """What the checker knows of a node: dyn, null, bool, …, list, map, message, param, optional_type."""

    kind: str
    name: str = ""
    params: "tuple[Type, ...]" = ()


DYN = Type("dyn")


class Fold(NamedTuple):
    """A comprehension: all, exists, map, filter and cel.bind are each one."""

    range: "Node"
    item: str
    second: str
    accumulator: str
    initial: "Node"
    condition: "Node"
    step: "Node"
    result: "Node"


class Node(NamedTuple):
    """kind is const, ident, select, call, list, map, struct or fold.

    name is the identifier's, field's, function's or message's; arguments are a call's, a list's elements, or a map's
    keys and values in turn. target is what a method is called on or a field selected from."""

    id: int
    kind: str
    name: str = ""
    value: Any = None
    target: "Node | None" = None
    arguments: "tuple[Node, ...]" = ()
    tested: bool = False
    fold: Fold | None = None


NOTHING = Node(0, "nothing")


class Tree(NamedTuple):
    """A checked expression."""

    root: Node
    types: Mapping[int, Type]
    overloads: Mapping[int, tuple[str, ...]]
    #: Names of the variables that it reads, and of its functions' namespaces.
    names: frozenset[str]
    #: Where nodes stand in the text, in characters.
    positions: Mapping[int, int]

    def type_of(self, node: Node) -> Type:
        """What is not known may be anything."""
        return self.types.get(node.id, DYN)


def read(serialized: bytes) -> Tree:
    """The tree of what Expression.serialize gives: an Any that holds the CheckedExpr."""
    types: dict[int, Type] = {}
    overloads: dict[int, tuple[str, ...]] = {}
    positions: dict[int, int] = {}
    names, root = set(), NOTHING
    for number, value in _fields(_one(serialized, 2)):
        if number == 2:
            entry = dict(_fields(value))
            name, found = _reference(entry[2])
            if name and not found:
                names.add(name)
            if found:
                overloads[entry[1]] = found
        elif number == 3:
            entry = dict(_fields(value))
            types[entry[1]] = _type(entry.get(2, b""))
        elif number == 4:
            root = _node(value)
        elif number == 5:
            entries = (dict(_fields(each)) for inner, each in _fields(value) if inner == 4)
            positions |= {entry.get(1, 0): entry.get(2, 0) for entry in entries}
    return Tree(root, types, overloads, frozenset(names), positions)


def _reference(data: bytes) -> tuple[str, tuple[str, ...]]:
    name, overloads = "", []
    for number, value in _fields(data):
        if number == 1:
            name = value.decode()
        elif number == 3:
            overloads.append(value.decode())
    return name, tuple(overloads)


def _type(data: bytes) -> Type:
    for number, value in _fields(data):
        match number:
            case 2:
                return Type("null")
            case 3 | 4:
                return Type(_PRIMITIVES.get(value, "dyn"))
            case 5:
                return Type(_WELL_KNOWN.get(value, "dyn"))
            case 6 | 7:
                return Type("list" if number == 6 else "map", params=tuple(_type(each) for _, each in _fields(value)))
            case 9:
                return Type("message", value.decode())
            case 10:
                return Type("param", value.decode())
            case 14:
                parts = list(_fields(value))
                params = tuple(_type(each) for number, each in parts if number == 2)
                return Type("opaque", next((each.decode() for number, each in parts if number == 1), ""), params)
    return DYN


def _node(data: bytes) -> Node:
    identity, made = 0, NOTHING
    for number, value in _fields(data):
        match number:
            case 2:
                identity = value
            case 3:
                made = Node(0, "const", value=_constant(value))
            case 4:
                made = Node(0, "ident", _one(value, 1).decode())
            case 5:
                parts = dict(_fields(value))
                made = Node(0, "select", parts[2].decode(), target=_node(parts[1]), tested=bool(parts.get(3)))
            case 6:
                made = _call(value)
            case 7:
                elements = tuple(_node(each) for number, each in _fields(value) if number == 1)
                made = Node(0, "list", arguments=elements)
            case 8:
                made = _struct(value)
            case 9:
                made = _comprehension(value)
    return made._replace(id=identity)


def _constant(data: bytes) -> Any:
    for number, value in _fields(data):
        match _CONSTANTS.get(number):
            case "null":
                return None
            case "bool":
                return bool(value)
            case "int":
                return value - (value & _SIGN) * 2
            case "string":
                return value.decode()
            case "double" | "uint" | "bytes":
                return value
    return None


def _call(data: bytes) -> Node:
    target, name, arguments = None, "", []
    for number, value in _fields(data):
        if number == 1:
            target = _node(value)
        elif number == 2:
            name = value.decode()
        elif number == 3:
            arguments.append(_node(value))
    return Node(0, "call", name, target=target, arguments=tuple(arguments))


def _struct(data: bytes) -> Node:
    """A map has no name; of a message's entries only the values are kept."""
    name, arguments = "", []
    for number, value in _fields(data):
        if number == 1:
            name = value.decode()
        elif number == 2:
            parts = dict(_fields(value))
            arguments += [_node(parts[each]) for each in (3, 4) if each in parts]
    return Node(0, "struct" if name else "map", name, arguments=tuple(arguments))


def _comprehension(data: bytes) -> Node:
    parts = dict(_fields(data))
    fold = Fold(
        range=_node(parts[2]),
        item=parts.get(1, b"").decode(),
        second=parts.get(8, b"").decode(),
        accumulator=parts.get(3, b"").decode(),
        initial=_node(parts[4]),
        condition=_node(parts[5]),
        step=_node(parts[6]),
        result=_node(parts[7]),
    )
    return Node(0, "fold", fold=fold)


def _one(data: bytes, wanted: int) -> Any:
    return next((value for number, value in _fields(data) if number == wanted), b"")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    return ((number, value) for number, _, value in wire.fields(data))
