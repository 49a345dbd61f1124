"""Servers outside that this one asks or tells, named by a kubeconfig: reviews of tokens and access, audit events."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

#: POSTs JSON and returns the body of the answer. Raises OSError, also for answers that are no success.
Send = Callable[[bytes], Awaitable[bytes]]


def sender(path: str) -> Send:
    """To the server of this kubeconfig, path and all, over TLS only. Raises ValueError, KubeconfigError."""
    # Its HTTP library is loaded by those servers only that ask somebody.
    from dataclasses import replace

    from pynetes.client import kubeconfig
    from pynetes.client.transport import Call, NetworkTransport

    credentials = kubeconfig.load(path)
    parts = urlsplit(credentials.server)
    if parts.scheme != "https":
        raise ValueError(f"{path}: the server must be https: what is sent there is secret")
    # Not read again as a whole: the address would be the one with the path.
    transport = NetworkTransport(replace(credentials, server=f"https://{parts.netloc}", source=""))
    headers = {"Content-Type": "application/json", "Accept": "application/json"}

    async def send(body: bytes) -> bytes:
        answer = await transport.request(Call(method="POST", target=parts.path or "/", headers=headers, body=body))
        if not 200 <= answer.status < 300:
            raise OSError(f"{parts.netloc} answered {answer.status}")
        return answer.body

    return send
