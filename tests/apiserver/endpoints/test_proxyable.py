"""Which addresses proxies may dial."""

from ipaddress import ip_address

import pytest

from pynetes.apiserver.endpoints import proxyable
from pynetes.machinery.errors import StatusError


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.1", True),
        ("192.168.1.1", True),
        ("8.8.8.8", True),
        ("fd00::1", True),
        ("2001:db8::1", True),
        ("::ffff:10.0.0.1", True),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("239.1.1.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("::ffff:0:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("::1%lo", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
    ],
)
def test_addresses(address: str, allowed: bool) -> None:
    """Private networks are where pods live; loopback and link-local, however written, are the control plane's own."""
    assert proxyable.allowed(ip_address(address)) is allowed


async def test_names_are_resolved_before_they_are_judged() -> None:
    """A name for loopback is loopback, and what was checked is what is dialled."""
    # The resolver of the C library reads the last five as addresses.
    for name in ("localhost", "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1"):
        with pytest.raises(StatusError, match="address not allowed"):
            await proxyable.checked(name)
    assert await proxyable.checked("10.1.2.3") == "10.1.2.3"
