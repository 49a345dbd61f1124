"""Which addresses the API server's proxies may dial: none that only its own machine could reach.

A pod's address, a node's and an endpoint's are written by whoever may write these objects. Without this, writing
169.254.169.254 would show a cloud's credentials, and 127.0.0.1 what listens on the control plane's loopback alone.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError

_BROADCAST = IPv4Address("255.255.255.255")
#: What a gateway turns into the IPv4 address of the last four bytes (RFC 6052, RFC 2765, RFC 4291).
_EMBEDDING = tuple(IPv6Network(each) for each in ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96"))
#: Metadata services that have no link-local address: those of Amazon and Google over IPv6.
_METADATA = frozenset({IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254")})


def allowed(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is a global unicast address in Go's sense: private networks are, loopback and link-local are not."""
    if (
        address in _METADATA
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address == _BROADCAST
    ):
        return False
    embedded = _embedded(address) if isinstance(address, IPv6Address) else None
    return embedded is None or allowed(embedded)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one may end at."""
    if any(address in each for each in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


async def checked(host: str) -> str:
    """The address to dial for a host. Raises StatusError 400 if it, or any that its name stands for, is not allowed.

    The address that was checked is returned: a name asked for twice may have two answers."""
    try:
        addresses = [ip_address(host)]
    except ValueError:
        addresses = await _resolved(host)
    if not addresses or not all(allowed(address) for address in addresses):
        raise refused()
    return str(addresses[0])


def refused() -> StatusError:
    """As upstream words it."""
    return errors.bad_request("address not allowed")


async def _resolved(host: str) -> list[IPv4Address | IPv6Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise errors.unavailable(f"error trying to reach service: {error}") from error
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
