"""Which addresses the API server's proxies may dial: none that only its own machine could reach.

A pod's address, a node's and an endpoint's are written by whoever may write these objects. Without this, writing
169.254.169.254 would show a cloud's credentials, and 127.0.0.1 what listens on the control plane's loopback alone.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError

_BROADCAST = IPv4Address("255.255.255.255")


def allowed(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is a global unicast address in Go's sense: private networks are, loopback and link-local are not."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is not None:
            return allowed(embedded)
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address == _BROADCAST
    )


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
