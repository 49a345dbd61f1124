"""What CEL's functions say of texts that they cannot read: the words of Go's parsers."""

import pytest

from pynetes.machinery.cel import EvalError
from pynetes.machinery.cel.runtime import untyped

NETWORK = "network address parse error during conversion from string: "
TEXTS = {
    "duration('1x')": "type conversion error from 'string' to 'google.protobuf.Duration'",
    "timestamp('x')": "type conversion error from 'string' to 'google.protobuf.Timestamp'",
    "int('x')": "type conversion error from 'string' to 'int'",
    "bool('x')": "type conversion error from 'string' to 'bool'",
    "ip('1.2.3')": 'IP Address "1.2.3" parse error during conversion from string: '
    'ParseAddr("1.2.3"): IPv4 address too short',
    "ip('abc')": 'IP Address "abc" parse error during conversion from string: ParseAddr("abc"): unable to parse IP',
    "ip('1.2.3.x')": 'IP Address "1.2.3.x" parse error during conversion from string: '
    'ParseAddr("1.2.3.x"): unexpected character (at "x")',
    "ip('::ffff:1.2.3.4')": 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed',
    "cidr('1.2.3.4/77')": f'{NETWORK}{NETWORK}netip.ParsePrefix("1.2.3.4/77"): prefix length out of range',
    "cidr('x')": f"{NETWORK}{NETWORK}netip.ParsePrefix(\"x\"): no '/'",
    "cidr('::ffff:1.2.3.4/100')": f'{NETWORK}IPv4-mapped IPv6 address "::ffff:1.2.3.4/100" is not allowed',
    "semver('1')": "No Major.Minor.Patch elements found",
    "semver('1.x.2')": 'Invalid character(s) found in minor number "x"',
    "semver('01.2.3')": 'Major number must not contain leading zeroes "01"',
    "url('a b')": 'URL parse error during conversion from string: parse "a b": invalid URI for request',
    "url(':x')": 'URL parse error during conversion from string: parse ":x": missing protocol scheme',
}


@pytest.mark.parametrize("expression", TEXTS)
def test_a_text_that_cannot_be_read_is_told_in_gos_words(expression: str) -> None:
    """Word by word, since it is answered to who wrote the object."""
    with pytest.raises(EvalError) as raised:
        untyped((), expression).eval({})
    assert str(raised.value) == TEXTS[expression]


@pytest.mark.parametrize("expression", ["string(cidr('10.0.0.1/8').masked())", "string(ip('::1'))"])
def test_what_can_be_read_is(expression: str) -> None:
    """Host bits behind a prefix are none of its business."""
    assert untyped((), expression).eval({}) in ("10.0.0.0/8", "::1")
