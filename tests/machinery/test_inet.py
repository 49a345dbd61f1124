"""Addresses and blocks: what is refused, what is warned of."""

import pytest

from pynetes.machinery import inet

_ZEROS, _MAPPED = "must not have leading 0s", "must not be an IPv4-mapped IPv6 address"
_BAD = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", []),
        ("FE80::0001", []),
        ("010.0.0.1", [_ZEROS]),
        ("10.0.0.00", [_ZEROS]),
        ("::ffff:1.2.3.4", [_MAPPED]),
        ("::ffff:01.2.3.4", [_ZEROS]),
        ("fe80::1%eth0", [_BAD]),
        ("256.0.0.1", [_BAD]),
        ("1.2.3", [_BAD]),
        ("", [_BAD]),
    ],
)
def test_addresses(text: str, expected: list[str]) -> None:
    """Zeros before octets and IPv4 in the clothes of IPv6 mean different things to different programs."""
    assert inet.ip(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/8", []),
        ("FD00::/64", []),
        ("10.0.0.0/08", ["must not have leading 0s in IP or prefix length"]),
        ("010.0.0.0/8", ["must not have leading 0s in IP or prefix length"]),
        ("10.0.0.1/8", ["must not have bits set beyond the prefix length"]),
        ("::ffff:10.0.0.0/104", ["must not have an IPv4-mapped IPv6 address"]),
        ("10.0.0.0/255.0.0.0", ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
        ("10.0.0.0/33", ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
        ("10.0.0.0", ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
    ],
)
def test_blocks(text: str, expected: list[str]) -> None:
    """The same for blocks, and bits that the prefix cuts off."""
    assert inet.cidr(text) == expected


def test_canonical_forms() -> None:
    """Fields that came later take one way of writing each."""
    assert inet.canonical_ip("2001:DB8::1") == ['must be in canonical form ("2001:db8::1")']
    assert inet.canonical_cidr("FD00::/64") == ['must be in canonical form ("fd00::/64")']
    assert inet.canonical_ip("10.0.0.1") == inet.canonical_cidr("10.0.0.0/8") == []


def test_other_ways_of_writing_are_warned_of() -> None:
    """IPv6 that others write in another way."""
    end = "should be in RFC 5952 canonical format"
    assert list(inet.ip_warnings("FE80::1", "a.b")) == [f'a.b: IPv6 address "FE80::1" {end} ("fe80::1")']
    assert list(inet.cidr_warnings("FD00::/64", "a")) == [f'a: IPv6 CIDR value "FD00::/64" {end} ("fd00::/64")']
    assert [*inet.ip_warnings("10.0.0.1", "a"), *inet.cidr_warnings("10.0.0.0/8", "a")] == []
