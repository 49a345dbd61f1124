"""What an expression can cost at most, told from its tree and the sizes that a schema allows; nothing is evaluated.

Upstream refuses a CustomResourceDefinition whose rules could cost too much, and says by which factor, so that the
arithmetic is exactly its own: the rules of cel-go's checker here, those for single calls in `prices`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pynetes.machinery.cel import prices
from pynetes.machinery.cel.prices import Known
from pynetes.machinery.cel.ranges import LIST, MAP, MOST, STRUCT, UNIT, UNKNOWN, ZERO, Range, fixed
from pynetes.machinery.cel.sizes import NOWHERE, Path, Shape
from pynetes.machinery.cel.syntax import NOTHING, Fold, Node, Tree, Type

_SCALARS = frozenset({"bool", "double", "duration", "int", "timestamp", "uint"})


class Entries(NamedTuple):
    """The sizes of a list's elements, or of a map's keys and values."""

    kind: str
    key: Range
    value: Range


class Local(NamedTuple):
    """A variable of a comprehension."""

    path: Path
    size: Range | None
    entries: Entries | None


def most(tree: Tree, shape: Shape | None) -> int:
    """What the expression costs at most, where its variables have this shape."""
    return Estimate(tree, shape).cost(tree.root).most


def most_for(tree: Tree, size: int, shapes: Mapping[str, Shape] | None = None) -> int:
    """The same where variables have these shapes, or any; what is not known of them has at most this size."""
    return Estimate(tree, None, size, shapes).cost(tree.root).most


class Estimate:
    """One walk through a tree. All variables have the shape, or each its own, or they are of a size that is known."""

    def __init__(
        self, tree: Tree, shape: Shape | None, size: int | None = None, shapes: Mapping[str, Shape] | None = None
    ) -> None:
        self._tree, self._shape, self._shapes = tree, shape, shapes
        self._any = Shape(size, 0) if size is not None and shapes is None else None
        self.unknown = UNKNOWN if size is None else Range(0, size)
        self._paths: dict[int, Path] = {}
        self._sizes: dict[int, Range] = {}
        self._entries: dict[int, Entries] = {}
        self._locals: dict[str, list[Local]] = {}

    def cost(self, node: Node) -> Range:
        """Of a node with all that is below it."""
        match node.kind:
            case "ident":
                found = self._local(node.name)
                self._paths[node.id] = found.path if found else NOWHERE.add(node.name)
                return UNIT
            case "select":
                return self._select(node)
            case "call":
                return self._call(node)
            case "list":
                return self._made(node, "list", [(each,) for each in node.arguments], LIST)
            case "map":
                pairs = list(zip(node.arguments[::2], node.arguments[1::2], strict=True))
                return self._made(node, "map", pairs, MAP)
            case "struct":
                return _sum([self.cost(each) for each in node.arguments]).plus(fixed(STRUCT))
            case "fold":
                assert node.fold is not None
                return self._bind(node, node.fold) if _binds(node.fold) else self._fold(node, node.fold)
        return ZERO

    def _select(self, node: Node) -> Range:
        operand = node.target or NOTHING
        total = self.cost(operand)
        if node.tested:
            return total
        self._paths[node.id] = self.path(operand).add(node.name)
        steps = self._kind(operand) in ("map", "message", "param")
        return total.plus(UNIT) if steps else total

    def _made(self, node: Node, kind: str, members: Sequence[Sequence[Node]], base: int) -> Range:
        total, ranges = ZERO, [Range(MOST if members else 0, 0)] * 2
        for member in members:
            for each in member:
                total = total.plus(self.cost(each))
            ranges = [known.union(self.size(each)) for known, each in zip(ranges, (member[0], member[-1]), strict=True)]
        key, value = ranges
        self._entries[node.id] = Entries(kind, UNIT if kind == "list" else key, value)
        return total.plus(fixed(base))

    def _fold(self, node: Node, fold: Fold) -> Range:
        total = self.cost(fold.range).plus(self.cost(fold.initial))
        self._push(fold.accumulator, self._bound(fold.initial))
        for name, local in self._items(fold):
            self._push(name, local)
        step = self.cost(fold.condition).plus(self.cost(fold.step))
        for name in filter(None, (fold.item, fold.second)):
            self._locals[name].pop()
        total = total.plus(self.cost(fold.result))
        self._locals[fold.accumulator].pop()
        count = self.size(fold.range)
        if fold.initial.kind == "const":
            self._keep(node, self._computed(fold.initial))
        elif fold.initial.kind in ("list", "map"):
            self._keep(node, count)
            if entries := self.entries(fold.step):
                self._entries[node.id] = entries
        return total.plus(count.times(step))

    def _items(self, fold: Fold) -> list[tuple[str, Local]]:
        entries, path = self.entries(fold.range), self.path(fold.range)
        listed = (entries.kind if entries else self._kind(fold.range)) == "list"
        size = entries.value if entries else None
        if size is None and self.unknown != UNKNOWN and not path.names():
            # The elements of what was made of the values share their size.
            size = Range(0, self.unknown.most // max(self.size(fold.range).most, 1) + 1)
        value = Local(path.add("@items" if listed else "@values"), size, None)
        if fold.second:
            key = Local(path.add("@indices" if listed else "@keys"), entries and entries.key, None)
            return [(fold.item, key), (fold.second, value)]
        return [(fold.item, value if listed else Local(path.add("@keys"), entries and entries.key, None))]

    def _bind(self, node: Node, fold: Fold) -> Range:
        total = self.cost(fold.range).plus(self.cost(fold.initial))
        self._push(fold.accumulator, self._bound(fold.initial))
        total = total.plus(self.cost(fold.result))
        self._locals[fold.accumulator].pop()
        self._copy(node, fold.result)
        return total

    def _call(self, node: Node) -> Range:
        if node.name == "dyn":
            total = self.cost(node.arguments[0]).plus(UNIT)
            self._copy(node, node.arguments[0])
            return total
        costs, arguments = [], []
        for each in node.arguments:
            costs.append(self.cost(each))
            arguments.append(self._known(each))
        overloads = self._tree.overloads.get(node.id, ())
        if not overloads:
            return ZERO
        total, target = ZERO, None
        if node.target is not None:
            total, target = self.cost(node.target), self._known(node.target)
        found, size = Range(MOST, 0), None
        for overload in overloads:
            cost, made = self._priced(node, overload, target, arguments, costs)
            found = found.union(cost)
            if made is not None:
                size = made if size is None else size.union(made)
            if overload in ("index_list", "index_map"):
                entries = self.entries(node.arguments[0])
                size = entries.value if entries else None
                step = "@items" if overload == "index_list" else "@values"
                self._paths[node.id] = self.path(node.arguments[0]).add(step)
            size = self._computed(node) if size is None else size
        self._keep(node, size)
        return total.plus(found)

    def _priced(
        self, node: Node, overload: str, target: Known | None, arguments: list[Known], costs: list[Range]
    ) -> tuple[Range, Range | None]:
        """The cost with that of the arguments, and the size of the result."""
        match overload:
            case "logical_or" | "logical_and":
                # The right side need not be looked at.
                return Range(costs[0].least, costs[0].plus(costs[1]).most), None
            case "conditional":
                return self._conditional(node, arguments, costs)
        call = prices.of(self, node, overload, target, arguments)
        return call.cost.plus(_sum(costs)), call.size

    def _conditional(self, node: Node, arguments: list[Known], costs: list[Range]) -> tuple[Range, Range]:
        self.join_entries(node, *node.arguments[1:])
        size = self.known_size(arguments[1]).union(self.known_size(arguments[2]))
        return costs[0].plus(costs[1].union(costs[2])), size

    def join_entries(self, node: Node, one: Node, other: Node) -> None:
        """The elements of what is made of two are those of both, if both are known."""
        left, right = self.entries(one), self.entries(other)
        if left and right:
            self._entries[node.id] = Entries(left.kind, left.key.union(right.key), left.value.union(right.value))

    def known_size(self, known: Known) -> Range:
        """As the operators see it: what was computed, or anything."""
        return self.unknown if known.size is None else known.size

    def looked_up(self, known: Known) -> Range:
        """As functions see it: what was computed, or what the schema allows."""
        if known.size is not None:
            return known.size
        return self.allowed(known.path) or self.unknown

    def _kind(self, node: Node) -> str:
        """The kind of a node's type. Lists of lists have none in the compiler's types, but in the schema."""
        kind = self._tree.type_of(node).kind
        if kind == "dyn" and self._any is not None:
            return "map"
        found = self._at(self.path(node)) if kind == "dyn" else None
        if found is None or not (found.item or found.fields):
            return kind
        return "message" if found.fields else "list" if found.key is None else "map"

    def allowed(self, path: Path) -> Range | None:
        """What the schema allows there."""
        found = self._at(path)
        return None if found is None else Range(0, found.elements)

    def _at(self, path: Path) -> Shape | None:
        names = path.names()
        if not names or self._any is not None:
            return self._any
        found: Shape | None = self._shapes.get(names[0]) if self._shapes is not None else self._shape
        for name in names[1:]:
            if found is None:
                return None
            if name in ("@items", "@values"):
                found = found.item
            else:
                found = found.key if name == "@keys" else found.fields.get(name)
        return found

    def path(self, node: Node) -> Path:
        """Where the node's value stands."""
        local = self._local(node.name) if node.kind == "ident" else None
        return local.path if local else self._paths.get(node.id, NOWHERE)

    def size(self, node: Node) -> Range:
        """Of the node's value; it may be anything."""
        found = self._computed(node)
        return self.unknown if found is None else found

    def entries(self, node: Node) -> Entries | None:
        """The sizes of the elements of the node's value, if they are known."""
        if node.id in self._entries:
            return self._entries[node.id]
        local = self._local(node.name) if node.kind == "ident" else None
        return local.entries if local else None

    def _computed(self, node: Node) -> Range | None:
        if node.id in self._sizes:
            return self._sizes[node.id]
        if (written := _written(node)) is not None:
            return fixed(written)
        if (allowed := self.allowed(self.path(node))) is not None:
            self._sizes[node.id] = allowed
            return allowed
        if _scalar(self._tree.type_of(node)):
            return UNIT
        local = self._local(node.name) if node.kind == "ident" else None
        return local.size if local else None

    def _known(self, node: Node) -> Known:
        path = self.path(node)
        if path.names()[:1] in (["@result"], ["__result__"]):
            path = NOWHERE
        return Known(node, self._computed(node), self._tree.type_of(node), path)

    def _bound(self, node: Node) -> Local:
        return Local(self.path(node), self._computed(node), self.entries(node))

    def _copy(self, node: Node, source: Node) -> None:
        self._keep(node, self._computed(source))
        if entries := self.entries(source):
            self._entries[node.id] = entries

    def _keep(self, node: Node, size: Range | None) -> None:
        if size is not None:
            self._sizes[node.id] = size

    def _push(self, name: str, local: Local) -> None:
        self._locals.setdefault(name, []).append(local)

    def _local(self, name: str) -> Local | None:
        stack = self._locals.get(name)
        return stack[-1] if stack else None


def _sum(costs: Sequence[Range]) -> Range:
    total = ZERO
    for each in costs:
        total = total.plus(each)
    return total


def _binds(fold: Fold) -> bool:
    """cel.bind, which goes through nothing."""
    empty = fold.range.kind == "list" and not fold.range.arguments
    never = fold.condition.kind == "const" and fold.condition.value is False
    return empty and never and fold.accumulator != "@result"


def _written(node: Node) -> int | None:
    """The size of what is written out: characters, elements, one for any other constant."""
    if node.kind == "const":
        return len(node.value) if isinstance(node.value, str | bytes) else 1
    if node.kind == "list":
        return len(node.arguments)
    return len(node.arguments) // 2 if node.kind == "map" else None


def _scalar(type_: Type) -> bool:
    if type_.kind == "opaque" and type_.name == "optional_type":
        return _scalar(type_.params[0])
    return type_.kind in _SCALARS
