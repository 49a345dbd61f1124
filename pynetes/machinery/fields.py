"""Field selectors: "status.phase=Running,spec.nodeName!=" over the few fields that a kind indexes."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

_ESCAPES = re.compile(r"\\([\\,=])")


class Term(NamedTuple):
    """One comparison; equal is False for !=."""

    path: str
    value: str
    equal: bool


class Selector:
    """All terms must hold. A field the object does not have counts as ""."""

    __slots__ = ("terms",)

    def __init__(self, terms: tuple[Term, ...] = ()) -> None:
        self.terms = terms

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether an object whose indexed fields are these is selected."""
        return all((fields.get(path, "") == value) is equal for path, value, equal in self.terms)

    @property
    def everything(self) -> bool:
        """Whether there is no condition."""
        return not self.terms

    def exact(self, path: str) -> str | None:
        """The one value the field must have, None if the selector does not say."""
        return next((term.value for term in self.terms if term.path == path and term.equal), None)

    def check(self, known: Collection[str]) -> None:
        """ValueError for a field that the kind does not index, worded as for metadata-only kinds upstream."""
        for term in self.terms:
            if term.path not in known and term.path not in ("metadata.name", "metadata.namespace"):
                raise ValueError(
                    f'"{term.path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
                    if not known
                    else f"field label not supported: {term.path}"
                )

    def __str__(self) -> str:
        return ",".join(f"{term.path}{'=' if term.equal else '!='}{escape(term.value)}" for term in self.terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)


EVERYTHING = Selector()


def escape(value: str) -> str:
    """Make a value safe to stand in a selector."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def parse(text: str) -> Selector:
    """Read a selector. ValueError with upstream's text."""
    terms = []
    for part in _split(text):
        if not part:
            continue
        found = re.match(r"((?:[^\\=!]|\\.)*)(!=|==|=)(.*)", part, re.DOTALL)
        if not found:
            raise ValueError(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, value = found.groups()
        terms.append(Term(path, _unescape(value, part), operator != "!="))
    return Selector(tuple(terms)) if terms else EVERYTHING


def _split(text: str) -> list[str]:
    parts, start, index = [], 0, 0
    while index < len(text):
        if text[index] == "\\":
            index += 1
        elif text[index] == ",":
            parts.append(text[start:index])
            start = index + 1
        index += 1
    return [*parts, text[start:]]


def _unescape(value: str, part: str) -> str:
    if re.search(r"(?:^|[^\\])(?:\\\\)*=", value):
        raise ValueError(f"invalid field selector: unescaped character in value: {part}")
    return _ESCAPES.sub(r"\1", value)
