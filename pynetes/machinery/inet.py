"""IP addresses and blocks as the API takes them, and what it says of those it does not like.

Fields that are older than the rule take any way of writing an IPv6 address, but neither octets with leading zeros nor
IPv4 in the clothes of IPv6 nor blocks with bits behind their prefix: programs disagree about what those mean.
"""

import ipaddress
import re
from collections.abc import Iterator

from pynetes.machinery import field

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Block = ipaddress.IPv4Network | ipaddress.IPv6Network

_BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_BLOCK = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def parse(text: str) -> Address | None:
    """An address, however it is written (leading zeros too); ::ffff:10.0.0.1 is 10.0.0.1. None when it is none."""
    found = _exact(text) or _exact(_without_zeros(text))
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def ip(text: str) -> list[str]:
    """What is wrong with an address in a field that takes any way of writing IPv6."""
    exact = _exact(text)
    if exact is None:
        return [_BAD_IP if parse(text) is None else "must not have leading 0s"]
    if isinstance(exact, ipaddress.IPv6Address) and exact.ipv4_mapped is not None:
        return ["must not be an IPv4-mapped IPv6 address"]
    return []


def canonical_ip(text: str) -> list[str]:
    """What is wrong with an address in a field that takes one way of writing it."""
    if (texts := ip(text)) or str(parse(text)) == text:
        return texts
    return [f"must be in canonical form ({field.quote(str(parse(text)))})"]


def cidr(text: str) -> list[str]:
    """What is wrong with a block in a field that takes any way of writing IPv6."""
    if block(text) is None:
        return [_BAD_BLOCK]
    host, _, length = text.partition("/")
    exact = _exact(host)
    if exact is None or (length != "0" and length.startswith("0")):
        return ["must not have leading 0s in IP or prefix length"]
    if isinstance(exact, ipaddress.IPv6Address) and exact.ipv4_mapped is not None:
        return ["must not have an IPv4-mapped IPv6 address"]
    if exact != ipaddress.ip_network(text, strict=False).network_address:
        return ["must not have bits set beyond the prefix length"]
    return []


def canonical_cidr(text: str) -> list[str]:
    """What is wrong with a block in a field that takes one way of writing it."""
    if (texts := cidr(text)) or str(ipaddress.ip_network(text)) == text:
        return texts
    return [f"must be in canonical form ({field.quote(str(ipaddress.ip_network(text)))})"]


def ip_warnings(text: str, path: str) -> Iterator[str]:
    """An address that is taken, but that somebody may not find again under another way of writing it."""
    exact = _exact(text)
    if isinstance(exact, ipaddress.IPv6Address) and exact.ipv4_mapped is None and str(exact) != text:
        better = field.quote(str(exact))
        yield f"{path}: IPv6 address {field.quote(text)} should be in RFC 5952 canonical format ({better})"


def cidr_warnings(text: str, path: str) -> Iterator[str]:
    """The same for a block."""
    if cidr(text) or ":" not in text:
        return
    better = str(ipaddress.ip_network(text))
    if better != text:
        shown = field.quote(better)
        yield f"{path}: IPv6 CIDR value {field.quote(text)} should be in RFC 5952 canonical format ({shown})"


def _exact(text: str) -> Address | None:
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _without_zeros(text: str) -> str:
    """Octets of IPv4, alone or at the end of IPv6, without zeros before them."""
    head, colon, tail = text.rpartition(":")
    return head + colon + re.sub(r"(^|\.)0+(?=[0-9])", r"\1", tail) if "." in tail else text


def block(text: str) -> Block | None:
    """A block, however it is written, without what its prefix cuts off. None when it is none."""
    host, slash, length = text.partition("/")
    address = _exact(host) or _exact(_without_zeros(host))
    if address is None or not slash or not re.fullmatch("[0-9]+", length) or int(length) > address.max_prefixlen:
        return None
    return ipaddress.ip_network(f"{address}/{int(length)}", strict=False)
