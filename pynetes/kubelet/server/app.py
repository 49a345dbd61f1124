"""The routes of the kubelet's server."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from pynetes.component import serving, tasks, tls
from pynetes.component.clock import Clock
from pynetes.component.health import Checks
from pynetes.kubelet.config import FILE_FIELDS
from pynetes.kubelet.server import auth, containerlogs, streams, summary

if TYPE_CHECKING:
    from pynetes.kubelet.kubelet import Kubelet

log = logging.getLogger(__name__)

#: Seconds between looks at whether the certificate's files have changed.
RENEW = 60.0


@asynccontextmanager
async def serve(kubelet: "Kubelet", checks: Checks) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port."""
    config = kubelet.config
    application = serving.application(checks)
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
    context, renewed = _context(kubelet)
    async with (
        tasks.Group() as group,
        serving.serve(application, host=config.address, port=config.port, context=context) as port,
    ):
        if renewed:
            group.start(_renew(renewed, kubelet.clock))
        yield port


async def _renew(certificate: tls.Reloading, clock: Clock) -> None:
    """Read a renewed certificate without a restart."""
    while True:
        await clock.sleep(RENEW)
        if certificate.refresh():
            log.info("serving certificate read again")


def _context(kubelet: "Kubelet") -> tuple[ssl.SSLContext, tls.Reloading | None]:
    config = kubelet.config
    if not config.tls_cert_file:
        context = tls.self_signed_context((kubelet.name,))
        if config.client_ca_file:
            context.load_verify_locations(config.client_ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context, None
    authorities = Path(config.client_ca_file) if config.client_ca_file else None
    files = Path(config.tls_cert_file), Path(config.tls_private_key_file)
    renewed = tls.server_context(*files, client_ca=authorities)
    return renewed.context, renewed
