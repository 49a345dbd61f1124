"""What calls cost at most: Kubernetes' functions, CEL's own operators, and its library of sets.

The rules are those of upstream's estimators; a function that is not here costs one unit.
"""

import math
from typing import NamedTuple, Protocol

from pynetes.machinery.cel.ranges import LIST, MOST, REGEX, STRUCT, TEXT, UNIT, UNKNOWN, ZERO, Range, fixed
from pynetes.machinery.cel.sizes import Path
from pynetes.machinery.cel.syntax import Node, Type

#: Two authorization checks fit into an expression.
CHECK = 350_000
FORMAT_REGEX = 128
COMPARED = frozenset(
    {"equals", "not_equals"} | {f"{how}_{what}" for what in ("string", "bytes") for how in ("less", "greater")}
    | {f"{how}_equals_{what}" for what in ("string", "bytes") for how in ("less", "greater")}
)  # fmt: skip
ONE = frozenset(
    {"serviceAccount", "path", "group", "resource", "subresource", "namespace", "name", "allowed", "reason", "error"}
    | {"errored", "masked", "prefixLength", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast"}
    | {"isLinkLocalUnicast", "isGlobalUnicast", "format.named", "sign", "asInteger", "isInteger", "asApproximateFloat"}
    | {"isGreaterThan", "isLessThan", "compareTo", "add", "sub", "major", "minor", "patch", "getScheme", "getHostname"}
    | {"getHost", "getPort", "getEscapedPath", "getQuery"}
)
TRAVERSING = frozenset({"isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"})
PARSING = frozenset({"cidr", "isIP", "isCIDR", "ip", "quantity", "isQuantity", "semver", "isSemver"})
_TEXTS = frozenset({"replace", "join", "split", "find", "findAll", "lowerAscii", "upperAscii", "substring", "trim"})
#: The address of a CIDR, and its comparison with another.
_ADDRESS = Range(4, 16)
_MAKERS = frozenset({"quantity", "ip", "cidr", "masked", "semver", "add", "sub"})


class Known(NamedTuple):
    """What a function's cost depends on: an argument's size, or None, its type and its path."""

    node: Node
    size: Range | None
    type: Type
    path: Path


class Call(NamedTuple):
    """What a call costs beside its arguments, and the size of what it makes."""

    cost: Range
    size: Range | None = None


class Sizes(Protocol):
    """What is known of an expression's values while its cost is told."""

    #: The size of what nothing is known of.
    unknown: Range

    def known_size(self, known: Known) -> Range:
        """As the operators see it: what was computed, or anything."""
        ...

    def looked_up(self, known: Known) -> Range:
        """As functions see it: what was computed, or what the schema allows."""
        ...

    def allowed(self, path: Path) -> Range | None:
        """What the schema allows there."""
        ...

    def join_entries(self, node: Node, one: Node, other: Node) -> None:
        """The elements of what is made of two are those of both, if both are known."""
        ...


def of(about: Sizes, node: Node, overload: str, target: Known | None, arguments: list[Known]) -> Call:
    """The price of a call by this overload, without that of its arguments."""
    if node.name.startswith("sets.") and len(arguments) == 2:
        one, other = map(about.looked_up, arguments)
        twice = 2 if node.name == "sets.equivalent" else 1
        return Call(one.times(other).scaled(twice).plus(UNIT))
    found = _library(about, node, target, arguments)
    return found if found is not None else _own(about, node, overload, target, arguments)


def _library(about: Sizes, node: Node, target: Known | None, arguments: list[Known]) -> Call | None:
    name = node.name
    if name in ONE:
        return Call(UNIT)
    if name == "check":
        return Call(fixed(CHECK))
    if target is not None and name in TRAVERSING:
        return Call(_traversed(about, target, name))
    if target is not None and name in _TEXTS:
        return _text(about, name, target, arguments)
    # The address of a CIDR, `cidr(x).ip()`, has no argument.
    return _parsed(name, arguments, about.looked_up(arguments[0])) if arguments else None


def _parsed(name: str, arguments: list[Known], size: Range) -> Call | None:
    """Functions that go through their argument; size is the first one's."""
    if name == "_==_" and all(_is_object(each.node) for each in arguments):
        return Call(UNIT)
    if name in PARSING:
        return Call(size.scaled(TEXT))
    match name:
        case "url" | "jsonpatch.escapeKey":
            return Call(size.scaled(TEXT), size)
        case "ip.isCanonical":
            return Call(size.scaled(2 * TEXT))
        case "containsIP" | "containsCIDR":
            return Call(_contained(name, arguments[0], size))
        case "validate":
            return Call(size.scaled(TEXT).scaled(FORMAT_REGEX * REGEX))
        case "fieldSelector" | "labelSelector":
            requirements = size.scaled(0.5).scaled(LIST + STRUCT)
            return Call(fixed(LIST).plus(size.scaled(TEXT)).plus(requirements))
    return None


def _is_object(node: Node) -> bool:
    """Whether the value is one of Kubernetes' own types upstream; they are carried as texts here."""
    return node.kind == "call" and node.name in _MAKERS


def _traversed(about: Sizes, target: Known, name: str) -> Range:
    size = about.looked_up(target)
    if not target.type.params:
        return size if name == "includes" else size.scaled(TEXT)
    each, item = UNIT, target.type.params[0]
    if item.kind in ("string", "bytes"):
        each = each.plus(_element(about, target, size).scaled(TEXT))
    return size.times(each)


def _element(about: Sizes, target: Known, size: Range) -> Range:
    """The size of a list's element as the schema has it. Where only the size of all values is known, the elements that
    were made of them share it."""
    if target.path.names() and (allowed := about.allowed(target.path.add("@items"))) is not None:
        return allowed
    if about.unknown == UNKNOWN:
        return UNKNOWN
    return Range(0, about.unknown.most // max(size.most, 1) + 1)


def _contained(name: str, argument: Known, size: Range) -> Range:
    cost = _ADDRESS.plus(_ADDRESS).scaled(TEXT)
    if name == "containsCIDR":
        cost = cost.plus(_ADDRESS.scaled(TEXT)).plus(UNIT)
    if _is_object(argument.node):
        return cost
    return cost.plus(size.scaled(TEXT))


def _text(about: Sizes, name: str, target: Known, arguments: list[Known]) -> Call | None:
    size = about.looked_up(target)
    match name, arguments:
        case "replace", [old, new, *_]:
            return Call(size.scaled(2 * TEXT), _replaced(size, about.looked_up(old), about.looked_up(new)))
        case "replace", _:
            return None
        case "split", _:
            limit = arguments[1].node.value if len(arguments) > 1 else None
            return Call(size.scaled(2 * TEXT), Range(0, limit % (MOST + 1) if isinstance(limit, int) else size.most))
        case "join", _:
            return _joined(about, target, size, arguments)
        case (("find" | "findAll"), [pattern, *_]):
            cost = size.plus(UNIT).scaled(TEXT).times(about.looked_up(pattern).scaled(REGEX))
            return Call(cost, Range(0, size.most))
        case (("find" | "findAll"), _):
            return None
    return Call(size.scaled(TEXT), size)


def _joined(about: Sizes, target: Known, size: Range, arguments: list[Known]) -> Call:
    length = size.times(_element(about, target, size)) if target.type.params else ZERO
    if arguments:
        gaps = Range(max(size.least - 1, 0), max(size.most - 1, 0))
        length = length.plus(about.looked_up(arguments[0]).times(gaps))
    return Call(length.scaled(TEXT), length)


def _replaced(size: Range, old: Range, new: Range) -> Range:
    """The length of a text once pieces of it are replaced; an empty piece is around every character."""
    most = _pieces(size.most, old.least, grows=new.most > old.least)
    least = _pieces(size.least, old.most, grows=new.least < old.most)
    counts, kept = Range(least[0], most[0]), Range(least[1], most[1])
    return counts.times(new).plus(kept)


def _pieces(size: int, piece: int, *, grows: bool) -> tuple[int, int]:
    """How many pieces are replaced, and how much of the text is kept."""
    if piece == 0:
        return min(size + 1, MOST), size
    return (min(math.ceil(size / piece), MOST), 0) if grows else (0, size)


def _own(about: Sizes, node: Node, overload: str, target: Known | None, arguments: list[Known]) -> Call:
    sizes = [about.known_size(each) for each in arguments]
    on = about.known_size(target) if target is not None else UNKNOWN
    match overload, sizes:
        case "string_format", _ if target is not None:
            return Call(on.scaled(TEXT))
        case "string_to_bytes", [size]:
            return Call(size.scaled(TEXT), Range(size.least, size.most * 4 % (MOST + 1)))
        case "bytes_to_string", [size]:
            return Call(size.scaled(TEXT), Range(size.least // 4, size.most))
        case "strings_quote", [size]:
            return Call(size.scaled(TEXT), Range(size.least + 2, (size.most * 2 + 2) % (MOST + 1)))
        case (("starts_with_string" | "ends_with_string"), [size]):
            return Call(size.scaled(TEXT))
        case "in_list", [_, size]:
            return Call(size.scaled(1))
        case "matches_string", [size] if target is not None:
            return Call(on.plus(UNIT).scaled(TEXT).times(size.scaled(REGEX)))
        case "contains_string", [size] if target is not None:
            return Call(on.scaled(TEXT).times(size.scaled(TEXT)))
        case (("add_string" | "add_bytes" | "add_list"), [one, other]):
            about.join_entries(node, *node.arguments)
            both = one.plus(other)
            return Call(UNIT if overload == "add_list" else both.scaled(TEXT), both)
        case _, [one, other] if overload in COMPARED:
            smaller = min(one.most, other.most)
            return Call(Range(1 if smaller else 0, smaller).scaled(TEXT))
    return Call(UNIT)
