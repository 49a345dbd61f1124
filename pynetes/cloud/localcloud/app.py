"""Runs the local cloud: its API over HTTPS, and one metadata service per instance on the instance's own wire."""

import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from aiohttp import web
from pyroute2 import netns

from pynetes.cloud.localcloud import api
from pynetes.cloud.localcloud.cloud import RUNNING, Cloud, Refusal
from pynetes.cloud.localcloud.config import ROLE, Config, Machine
from pynetes.cloud.localcloud.plumbing import Plumbing
from pynetes.cloud.localcloud.state import State
from pynetes.cloud.metadata.credentials import Issuer
from pynetes.cloud.metadata.service import Facts, Service
from pynetes.cloud.metadata.sessions import Sessions
from pynetes.component import logs, serving, tls
from pynetes.component.clock import Clock
from pynetes.component.health import Checks

_LOG = logging.getLogger(__name__)
METADATA = "169.254.169.254"


async def serve(config: Config, plumbing: Plumbing, clock: Clock, stack: AsyncExitStack) -> tuple[Cloud, int]:
    """Serve until the stack closes; the cloud and the API's port."""
    secret = _secret(config.state / "signing.key")
    issuer = Issuer(secret, seconds=config.credentials_seconds, clock=clock)
    cloud = Cloud(config, State(config.state / "state.json"), plumbing, clock)
    await cloud.restore()
    app = serving.application(Checks())
    api.add_routes(app, cloud, issuer)
    context = tls.server_context(config.certificate, config.key)
    port = await _site(stack, app, listening(config.namespace, config.host, config.port), context)
    sessions = Sessions(secret, clock)
    for machine in config.instances:
        if machine.metadata_interface:
            service = Service(partial(facts, cloud, machine), issuer=issuer, sessions=sessions)
            channel = listening(config.namespace, METADATA, 80, device=machine.metadata_interface)
            await _site(stack, service.application(), channel)
    _LOG.info(logs.fact("the cloud is there", cluster=config.cluster, instances=len(config.instances), port=port))
    return cloud, port


def facts(cloud: Cloud, machine: Machine) -> Facts | None:
    """What the instance may know; None once it does not run."""
    try:
        document = cloud.instance(cloud.machine(machine.id))
    except Refusal:
        return None
    if document["state"] != RUNNING:
        return None
    return Facts(
        id=machine.id,
        name=machine.name,
        type=machine.type,
        zone=machine.zone,
        region=cloud.config.region,
        address=machine.address,
        tags=document["tags"],
        user_data=machine.user_data,
        role=ROLE,
        hop_limit=document["metadataOptions"]["hopLimit"],
    )


async def _site(
    stack: AsyncExitStack, app: web.Application, channel: socket.socket, context: ssl.SSLContext | None = None
) -> int:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, channel, ssl_context=context).start()
    return int(runner.addresses[0][1])


def listening(namespace: str, host: str, port: int, *, device: str = "") -> socket.socket:
    """A listening socket that lives in a network namespace, whatever namespace this process is in."""
    made: list[socket.socket] = []
    failure: list[OSError] = []

    def make() -> None:
        try:
            if namespace:
                netns.setns(namespace, flags=0)
            channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if device:
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            channel.bind((host, port))
            channel.setblocking(False)
            made.append(channel)
        except OSError as error:
            failure.append(error)

    _in_thread(make)
    if failure:
        raise failure[0]
    return made[0]


def _in_thread(work: Callable[[], None]) -> None:
    """A thread of its own: setns changes the calling thread for good."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _secret(path: Path) -> bytes:
    """The signing key, made when it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(32))
    return path.read_bytes()
