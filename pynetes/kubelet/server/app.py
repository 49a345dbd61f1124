"""The routes of the kubelet's server."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from pynetes.component import files, serving, tls
from pynetes.component.health import Checks
from pynetes.kubelet import certificate, metrics
from pynetes.kubelet.config import FILE_FIELDS
from pynetes.kubelet.metrics import Stateful
from pynetes.kubelet.server import auth, containerlogs, streams, summary

if TYPE_CHECKING:
    from pynetes.kubelet.kubelet import Kubelet


@asynccontextmanager
async def serve(kubelet: "Kubelet", checks: Checks) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port."""
    config = kubelet.config
    application = serving.application(checks, more=(Stateful(kubelet).registry,))
    application.middlewares.append(metrics.count)
    application.middlewares.append(auth.middleware(kubelet.ctx.client, config, kubelet.name, kubelet.clock))

    async def listed(_request: web.Request) -> web.Response:
        items = [worker.pod for worker in kubelet.workers.values()]
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def configz(_request: web.Request) -> web.Response:
        shown = {name: getattr(config, field) for name, field in FILE_FIELDS.items()}
        body = {"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", **shown}
        return web.Response(body=orjson.dumps({"kubeletconfig": body}), content_type="application/json")

    application.router.add_get("/pods", listed)
    application.router.add_get("/configz", configz)
    containerlogs.add(application, kubelet)
    streams.add(application, kubelet)
    summary.add(application, kubelet)
    async with serving.serve(application, host=config.address, port=config.port, context=_context(kubelet)) as port:
        yield port


def _context(kubelet: "Kubelet") -> ssl.SSLContext:
    """The certificate given, the one that was asked for (none at first), or one of its own making."""
    config = kubelet.config
    authorities = (Path(config.client_ca_file),) if config.client_ca_file else ()
    if config.tls_cert_file:
        given = Path(config.tls_cert_file), Path(config.tls_private_key_file)
        return tls.server_context(*given, client_cas=authorities)
    own = Path(config.cert_dir) / certificate.SERVING.current
    alone = None if config.server_tls_bootstrap else tls.self_signed((kubelet.name,))

    def make() -> ssl.SSLContext:
        context = tls.listening()
        for path in authorities:
            context.load_verify_locations(path)
            context.verify_mode = ssl.CERT_OPTIONAL
            tls.note_expiry(path)
        if alone is not None:
            tls.load(context, alone)
        elif own.exists():
            context.load_cert_chain(own)
            tls.note_expiry(own)
        return context

    watched = (*authorities, own) if alone is None else authorities
    return tls.serving(tls.Remade(make, lambda: files.stamp(path for path in watched if path.exists())))
