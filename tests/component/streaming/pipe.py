"""Two connected ends of a socket, for protocols that stand on a connection."""

import asyncio
import socket
from typing import TypeAlias

End: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def pipe() -> tuple[End, End]:
    """Bytes written to one end are read from the other."""
    one, other = socket.socketpair()
    return await asyncio.open_connection(sock=one), await asyncio.open_connection(sock=other)
