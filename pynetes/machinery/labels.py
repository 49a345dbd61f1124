"""Label selectors: parsing, matching, and the LabelSelector objects of specs.

The grammar and the error texts are those of upstream's labels.Parse. A selector compiles its requirements to one
predicate each, because the watch cache asks it about every object of a list.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from pynetes.machinery import field, names

Labels: TypeAlias = Mapping[str, str]

_OPERATORS = {"=": "=", "==": "=", "!=": "!=", "in": "in", "notin": "notin", ">": "gt", "<": "lt"}
_TOKEN = re.compile(r"\s*(==|!=|[=(),!<>]|[^\s=(),!<>]+)|\s+")
_EXPRESSION_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


class Requirement(NamedTuple):
    """One condition; operator is exists, !, =, !=, in, notin, gt or lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
            case _:
                return f"{self.key}{ {'gt': '>', 'lt': '<'}.get(self.operator, self.operator) }{self.values[0]}"


def _predicate(requirement: Requirement) -> Callable[[Labels], bool]:
    key, operator, values = requirement
    match operator:
        case "exists":
            return lambda labels: key in labels
        case "!":
            return lambda labels: key not in labels
        case "=":
            (value,) = values
            return lambda labels: labels.get(key) == value
        case "in":
            allowed = frozenset(values)
            return lambda labels: labels.get(key) in allowed
        case "!=" | "notin":
            denied = frozenset(values)
            return lambda labels: labels.get(key) not in denied
        case _:
            return lambda labels: _compare(labels.get(key), operator, int(values[0]))


def _compare(text: str | None, operator: str, bound: int) -> bool:
    try:
        number = int(text or "")
    except ValueError:
        return False
    return number > bound if operator == "gt" else number < bound


class Selector:
    """All requirements must hold. `nothing` matches no object at all, which an empty list of them cannot say."""

    __slots__ = ("_predicates", "nothing", "requirements")

    def __init__(self, requirements: tuple[Requirement, ...] = (), *, nothing: bool = False) -> None:
        self.requirements = requirements
        self.nothing = nothing
        self._predicates = tuple(_predicate(requirement) for requirement in requirements)

    def matches(self, labels: Labels | None) -> bool:
        """Whether an object with these labels is selected."""
        if self.nothing:
            return False
        labels = labels or {}
        return all(predicate(labels) for predicate in self._predicates)

    @property
    def everything(self) -> bool:
        """Whether there is no condition, so that a caller may skip the check."""
        return not self.requirements and not self.nothing

    def exact(self) -> dict[str, str]:
        """The labels that a selected object must have with exactly this value."""
        return {
            key: values[0]
            for key, operator, values in self.requirements
            if operator in ("=", "in") and len(values) == 1
        }

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in sorted(self.requirements))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Selector)
            and sorted(self.requirements) == sorted(other.requirements)
            and self.nothing == other.nothing
        )

    def __hash__(self) -> int:
        return hash((frozenset(self.requirements), self.nothing))


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


class _Parser:
    """Recursive descent over the tokens; end of text is the token ""."""

    def __init__(self, text: str) -> None:
        self.tokens = [token for token in _TOKEN.findall(text) if token]
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def requirements(self) -> Iterator[Requirement]:
        while token := self.peek():
            if not _is_word(token) and token != "!":
                raise ValueError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                yield self.requirement()
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            match self.take():
                case "":
                    return
                case ",":
                    if not _is_word(self.peek()) and self.peek() != "!":
                        raise ValueError(f"found '{self.peek()}', expected: identifier after ','")
                case other:
                    raise ValueError(f"found '{other}', expected: ',' or 'end of string'")

    def requirement(self) -> Requirement:
        token = self.take()
        negated = token == "!"
        key = self.take() if negated else token
        if not _is_word(key):
            raise ValueError(f"found '{key}', expected: identifier")
        if problems := names.qualified_name(key):
            raise ValueError(f"<nil>: Invalid value: {field.quote(key)}: {'; '.join(problems)}")
        if negated:
            return Requirement(key, "!")
        if self.peek() in ("", ","):
            return Requirement(key, "exists")
        operator = _OPERATORS.get(literal := self.take())
        if operator is None:
            raise ValueError(f"found '{literal}', expected: in, notin, =, ==, !=, gt, lt")
        values = self.set_values() if operator in ("in", "notin") else (self.exact_value(),)
        return checked(Requirement(key, operator, values))

    def exact_value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        if not _is_word(token := self.take()):
            raise ValueError(f"found '{token}', expected: identifier")
        return token

    def set_values(self) -> tuple[str, ...]:
        if (token := self.take()) != "(":
            raise ValueError(f"found '{token}' expected: '('")
        values: list[str] = []
        expects_value = True
        while (token := self.take()) != ")":
            if token == ",":
                if expects_value:
                    values.append("")
                expects_value = True
            elif _is_word(token):
                if not expects_value:
                    raise ValueError(f"found '{token}', expected: ',' or ')'")
                values.append(token)
                expects_value = False
            else:
                raise ValueError(f"found '{token}', expected: ',', ')' or identifier")
        if expects_value:
            values.append("")
        return tuple(sorted(set(values)))


def _is_word(token: str) -> bool:
    return bool(token) and token[0] not in "=(),!<>"


def checked(requirement: Requirement) -> Requirement:
    """Return the requirement; ValueError when a value is no label value, or no integer where one is compared."""
    for index, value in enumerate(requirement.values):
        if requirement.operator in ("gt", "lt"):
            try:
                int(value)
            except ValueError:
                detail = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise ValueError(f"values[{index}]: Invalid value: {field.quote(value)}: {detail}") from None
        if problems := names.label_value(value):
            place = f"values[{index}][{requirement.key}]"
            raise ValueError(f"{place}: Invalid value: {field.quote(value)}: {'; '.join(problems)}")
    return requirement


def parse(text: str) -> Selector:
    """Read "env=prod,tier in (web,api),!canary,count>3". ValueError with upstream's text."""
    return Selector(tuple(_Parser(text).requirements())) if text.strip() else EVERYTHING


def from_labels(labels: Labels | None) -> Selector:
    """What a map selector (ReplicationController, Service) selects: everything if it is empty."""
    return Selector(tuple(Requirement(key, "=", (value,)) for key, value in sorted((labels or {}).items())))


def from_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """Compile a LabelSelector: None selects nothing, {} everything. ValueError on an unknown operator."""
    if selector is None:
        return NOTHING
    requirements = list(from_labels(selector.get("matchLabels")).requirements)
    for expression in selector.get("matchExpressions") or ():
        operator = _EXPRESSION_OPERATORS.get(expression["operator"])
        if operator is None:
            raise ValueError(f'"{expression["operator"]}" is not a valid label selector operator')
        requirements.append(Requirement(expression["key"], operator, tuple(expression.get("values") or ())))
    return Selector(tuple(requirements))
