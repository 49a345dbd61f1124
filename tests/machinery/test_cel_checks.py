"""What the compiler says of expressions, in the words of upstream's."""

import pytest

from pynetes.machinery.cel import CompileError, EvalError, program
from pynetes.machinery.cel.typed import Types

_TEXT = {"type": "string"}
TYPES = Types(
    {
        "type": "object",
        "properties": {
            "s": _TEXT, "t": {**_TEXT, "format": "date-time"}, "d": {**_TEXT, "format": "duration"},
            "l": {"type": "array", "items": _TEXT}, "n": {"type": "number"},
        },
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("self.s == null", "1:8: found no matching overload for '_==_' applied to '(string, null)'"),
        ("self.t > 1", "1:8: found no matching overload for '_>_' applied to '(timestamp, int)'"),
        ("self.d == self.t", "1:8: found no matching overload for '_==_' applied to '(duration, timestamp)'"),
        ("self.l.contains('a')", "1:16: found no matching overload for 'contains' applied to 'list(string).(string)'"),
        (
            "quantity('1') == '1'",
            "1:15: found no matching overload for '_==_' applied to '(kubernetes.Quantity, string)'",
        ),
        ("ip('1.1.1.1') == 'a'", "1:15: found no matching overload for '_==_' applied to '(net.IP, string)'"),
        (
            "quantity('1').isGreaterThan(2)",
            "1:28: found no matching overload for 'isGreaterThan' applied to 'kubernetes.Quantity.(int)'",
        ),
        ("self.l.sum() == 1", "1:11: found no matching overload for 'sum' applied to 'list(string).()'"),
        ("self.zz.y == 1", "1:5: undefined field 'zz'"),
        ("has(self)", "1:5: invalid argument to has() macro"),
        ("self.l.all(1, true)", "1:12: argument must be a simple name"),
        ("self.l.map(1, 2) == []", "1:12: argument is not an identifier"),
        ("[1, 'a'] == []", "1:5: expected type 'int' but found 'string'"),
        ("{'a': 1, 'b': 'c'} == {}", "1:15: expected type 'int' but found 'string'"),
        ("self.s.matches('[')", "1:16: invalid matches argument"),
        ("duration('x') == self.d", "1:10: invalid duration argument"),
        ("true &&\n timestamp('x') == self.t", "2:12: invalid timestamp argument"),
        ("self.n && self.s", "1:5: expected type 'bool' but found 'double'"),
        ("true || self.s", "1:13: expected type 'bool' but found 'string'"),
        ("self.l.all(x, x)", "1:15: expected type 'bool' but found 'string'"),
        ("self.s.x == 1", "1:7: type 'string' does not support field selection"),
        (
            "self.n.all(x, true)",
            "1:5: expression of type 'double' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("math.greatest(1, 2) == 2", "1:1: undeclared reference to 'math' (in container '')"),
    ],
)
def test_mistakes_are_told_where_they_are(source: str, text: str) -> None:
    """Types have upstream's names; what follows from another mistake is left out."""
    with pytest.raises(CompileError) as told:
        TYPES.check(source)
    assert str(told.value).startswith(f"ERROR: <input>:{text}\n | ")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 < 2.5 && self.size() >= 2.5", True),
        ("self.all(i, v, i < v)", False),
        ("self.transformList(i, v, v * 2) == [6, 2, 4]", True),
        ("self.transformMap(i, v, v > 1, [v, i]) == {0: [3, 0], 2: [2, 2]}", True),
        ("self.transformMapEntry(i, v, {v: i}).transformMap(k, v, {'n': v}['n'] + k)[3] == 3", True),
        ("{'a': ','}.transformMap(k, v, 'x,)' + v) == {'a': 'x,),'}", True),
        ("self.sort() == [1, 2, 3] && self.slice(0, 1) == [3]", True),
        ("lists.range(3).reverse() == [2, 1, 0]", True),
        ("[1, 1, 2].distinct() == [1, 2] && [[1], [2]].flatten() == [1, 2]", True),
        ("sets.contains(self, [1]) && !sets.intersects(self, [9])", True),
        ("semver('v1.2', true) == semver('1.2.0') && isSemver('01.2.3', true) && !isSemver('v1.2', false)", True),
    ],
)
def test_upstreams_libraries_are_there(source: str, value: bool) -> None:
    """Checked with their types, and evaluated."""
    Types({"type": "array", "items": {"type": "integer"}}).check(source)
    assert program(source, ("self",)).eval({"self": [3, 1, 2]}) is value


def test_a_key_that_comes_again_is_a_mistake() -> None:
    """Of maps made entry by entry."""
    with pytest.raises(EvalError, match="key 1 already exists"):
        program("[1, 1].transformMapEntry(i, v, {v: i}) == {}", ()).eval({})


def test_mistakes_are_told_in_the_order_of_the_text() -> None:
    """Whatever the compiler looks at first."""
    with pytest.raises(CompileError) as told:
        TYPES.check("cel.bind(x, self, x > 1)")
    places = [line.split(":")[3] for line in str(told.value).splitlines() if line.startswith("ERROR")]
    assert places == ["1", "9", "10", "19"]


def test_every_operand_that_is_no_bool_is_told() -> None:
    """Also within others."""
    with pytest.raises(CompileError) as told:
        TYPES.check("self.n && (true || self.s)")
    assert [line.split(" ", 2)[1] for line in str(told.value).splitlines() if line.startswith("ERROR")] == [
        "<input>:1:5:",
        "<input>:1:24:",
    ]
