"""A webhook's server, with a certificate of its own authority."""

import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from pynetes.component import serving
from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, Leaf, names


@asynccontextmanager
async def hooked(
    folder: Path, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> AsyncIterator[dict[str, str]]:
    """Answers while the block runs, which gets the clientConfig."""
    authority = issue.authority("hook-ca", datetime.now(UTC))
    leaf = Leaf("hook", CLUSTER_CA, "hook", server=True, names=names("127.0.0.1"))
    pair = issue.leaf(leaf, authority, datetime.now(UTC))
    (folder / "crt").write_bytes(pair.certificate_pem)
    (folder / "key").write_bytes(pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    app = web.Application()
    app.router.add_post("/hook", answer)
    async with serving.serve(app, context=context) as port:
        bundle = base64.b64encode(authority.certificate_pem).decode()
        yield {"url": f"https://127.0.0.1:{port}/hook", "caBundle": bundle}
