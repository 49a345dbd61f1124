"""Named formats, optionals of our functions, and lists that are searched."""

import pytest

from pynetes.machinery.cel import CompileError, program
from pynetes.machinery.cel.rewriting import evaluable
from pynetes.machinery.cel.typed import Types

TYPES = Types(
    {"type": "object", "properties": {"s": {"type": "string"}, "l": {"type": "array", "items": {"type": "string"}}}}
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("!format.dns1123Label().validate(self.s).hasValue()", True),
        ("format.dns1123Label().validate('A_').value()[0]", LABEL),
        ("format.dns1123Label().validate('a.b').orValue([])", ["must not contain dots"]),
        ("format.named('dns1123Label').hasValue()", True),
        ("format.named('nothing').hasValue()", False),
        ("format.named('labelValue').value().validate('a b').hasValue()", True),
        ("format.dns1123LabelPrefix().validate('a-').hasValue()", False),
        ("format.dns1123Label().validate('a-').hasValue()", True),
        ("format.qualifiedName().validate('example.com/name').hasValue()", False),
        ("format.dns1035Label().validate('9a').hasValue()", True),
        ("format.dns1123Subdomain().validate('a.b').hasValue()", False),
        ("format.uuid().validate('x').orValue(['none'])", ["does not match the UUID format"]),
        ("format.byte().validate('*').orValue(['none'])", ["invalid base64"]),
        ("format.date().validate('2020-02-30').orValue(['none'])", ["invalid date"]),
        ("format.datetime().validate('2020-01-01T00:00:00Z').orValue(['none'])", ["none"]),
        ("format.uri().validate('https://example.com/').orValue(['none'])", ["none"]),
        ("format.uri().validate('example').orValue(['none'])", ['parse "example": invalid URI for request']),
        ("self.l.indexOf('b')", 1),
        ("self.l.lastIndexOf('b')", 2),
        ("self.l.indexOf('z')", -1),
        ("'hello'.indexOf('l')", 2),
        ("'hello'.indexOf('l', 3)", 3),
        ("'hello'.lastIndexOf('l')", 3),
        ("'hello'.lastIndexOf('l', 2)", 2),
        ("'%s has %d'.format([self.s, 2])", "ok has 2"),
        ("['a', 'b'].join('-')", "a-b"),
    ],
)
def test_what_upstream_finds(source: str, value: object) -> None:
    """Checked with types, evaluated without."""
    TYPES.check(source)
    assert program(source, ("self",)).eval({"self": {"s": "ok", "l": ["a", "b", "b"]}}) == value


@pytest.mark.parametrize("source", ["format.nothing()", "self.l.indexOf(1)", "format.uri().validate(1)"])
def test_mistakes_are_found_before(source: str) -> None:
    """Formats that are not there, and arguments of another type."""
    with pytest.raises(CompileError):
        TYPES.check(source)


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("'format.named(x).validate(y)'", "'format.named(x).validate(y)'"),
        ("format.uri().validate((self.s)).hasValue()", "format.uri().validate((self.s))[?0].hasValue()"),
        ("a.format . named('(').value()", "a.format . named('(')[?0].value()"),
        (r"'\'(' + x.indexOf('(')", r"'\'(' + x.positionOf('(')"),
        ("x // .indexOf(\n.indexOf(y)", "x // .indexOf(\n.positionOf(y)"),
    ],
)
def test_texts_and_comments_stay(source: str, made: str) -> None:
    """Only calls are changed."""
    assert evaluable(source) == made
