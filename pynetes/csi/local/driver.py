"""The driver as a whole: its services on their sockets, over one folder of volumes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pynetes.component import logs
from pynetes.csi.local import NAME
from pynetes.csi.local.controller import Controller
from pynetes.csi.local.identity import Identity
from pynetes.csi.local.node import Node
from pynetes.csi.local.registration import Registration
from pynetes.csi.local.store import Store
from pynetes.rpc import server
from pynetes.rpc.csi import csi_pb2
from pynetes.rpc.pluginregistration import api_pb2

_LOG = logging.getLogger(__name__)
_CSI = csi_pb2.DESCRIPTOR.services_by_name
_REGISTRATION = api_pb2.DESCRIPTOR.services_by_name["Registration"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where a driver serves and keeps."""

    socket: Path
    volumes: Path
    node: str
    #: The kubelet's folder of plugin sockets; None: nobody is told.
    registry: Path | None = None
    #: How many volumes the node may have; 0 is any number.
    most: int = 0


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Store]:
    """Serve while the block runs; what a crash has left is put in order before."""
    store = await asyncio.to_thread(Store, config.volumes)
    store.add_node(config.node)
    controller = Controller(store)
    removed = await asyncio.to_thread(store.recover)
    await asyncio.to_thread(controller.thaw)
    node = Node(store, controller, name=config.node, most=config.most)
    services = {_CSI["Identity"]: Identity(), _CSI["Controller"]: controller, _CSI["Node"]: node}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server.serving(config.socket, services, path=15, target=NAME))
        if config.registry is not None:
            socket = config.registry / f"{NAME}-reg.sock"
            registration = {_REGISTRATION: Registration(str(config.socket))}
            await stack.enter_async_context(server.serving(socket, registration, path=15, target=NAME))
        _LOG.info(logs.fact("serving", socket=config.socket, machine=store.machine, removed_half_made=removed))
        yield store
