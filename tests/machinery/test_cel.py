"""CEL with Kubernetes' libraries."""

import pytest

from pynetes.machinery import cel
from pynetes.machinery.cel import typed


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", True),
        ("quantity('500m').add(quantity('500m')) == quantity('1')", True),
        ("isQuantity('zz')", False),
        ("ip('::1').isLoopback()", True),
        ("cidr('10.0.0.0/8').containsIP('10.1.1.1')", True),
        ("cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))", True),
        ("url('https://a:80/x?y=1').getHostname()", "a"),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", True),
        ("sets.equivalent([1], [1, 1])", True),
        ("[1, 3, 2].isSorted()", False),
        ("'abc1'.find('[0-9]')", "1"),
        ("self.?missing.orValue(3)", 3),
    ],
)
def test_libraries(expression: str, value: object) -> None:
    """Each library answers as upstream's does."""
    assert cel.program(expression, ("self",)).eval({"self": {}}) == value


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("self.a.b == 1", "no such key: a"),
        ("10 / self.zero > 1", "division by zero"),
        ("[1][5] == 1", "index out of bounds: 5"),
    ],
)
def test_errors_are_worded_as_upstream(expression: str, error: str) -> None:
    """What goes wrong is told in upstream's words."""
    with pytest.raises(cel.EvalError, match=error):
        cel.program(expression, ("self",)).eval({"self": {"zero": 0}})


def test_compile_errors_point_at_the_place() -> None:
    """The compiler's message has line, column and a marker."""
    with pytest.raises(cel.CompileError, match="<input>:1:9: Syntax error"):
        cel.program("self.a >", ("self",))


def test_authorizer_asks() -> None:
    """The authorizer's builder collects a question and asks it."""
    asked: list[dict[str, object]] = []

    def check(question: object) -> tuple[bool, str]:
        assert isinstance(question, dict)
        asked.append(question)
        return True, ""

    source = "authorizer.group('apps').resource('deployments').namespace('x').check('get').allowed()"
    assert cel.program(source, ("authorizer",)).eval({"authorizer": {}}, check) is True
    assert asked == [{"group": "apps", "resource": "deployments", "namespace": "x", "verb": "get"}]


def test_maps_with_names_of_several_words() -> None:
    """A schema with a map below, of whatever name, is a type that rules can look into."""
    words = {"type": "object", "additionalProperties": {"type": "string"}}
    item = {"type": "object", "properties": {"matchLabels": words, "a_bC2d": words, "port": {"type": "integer"}}}
    rules = {"self": {"type": "array", "items": item}}
    typed.Declared(rules).check("self.all(each, each.port > 0 && each.matchLabels['a'] == 'b')")
