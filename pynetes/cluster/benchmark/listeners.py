"""Where a process listens, as the kernel has it."""

import ipaddress
import re
import sys
from pathlib import Path

_LISTEN = "0A"


def listening(pid: int, proc: Path = Path("/proc")) -> list[str]:
    """address:port of its TCP sockets that other machines reach, in order. Raises OSError when it is gone."""
    home = proc / str(pid)
    own = set()
    for descriptor in (home / "fd").iterdir():
        try:
            found = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
        except FileNotFoundError:
            continue
        if found:
            own.add(found[1])
    shown = set()
    for table in ("tcp", "tcp6"):
        for line in (home / "net" / table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTEN and words[9] in own:
                address, port = _parsed(words[1])
                if not address.is_loopback:
                    shown.add(f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}")
    return sorted(shown)


def _parsed(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """0100007F:1F90 → 127.0.0.1, 8080: words of four bytes, each in the machine's own order."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    if sys.byteorder == "little":
        raw = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return ipaddress.ip_address(raw), int(port, 16)
