"""Registers the plugins whose sockets lie in plugins_registry, and lets go of those whose socket is gone.

Every socket has a task of its own: it asks the plugin who it is, hands it to the part of the kubelet that knows its
type, tells the plugin how that went, and tries again with back-off until it went well. A plugin that hangs therefore
holds up nobody else.
"""

import asyncio
import logging
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pynetes.component import inotify, logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.component.tasks import Group
from pynetes.rpc import channel
from pynetes.rpc.pluginregistration import api_pb2 as pb
from pynetes.rpc.pluginregistration import api_pb2_grpc as stubs

log = logging.getLogger(__name__)

TIMEOUT = 10.0
RETRY_FIRST, RETRY_LAST = 0.5, 30.0
TOTAL = REGISTRY.gauge("plugin_manager_total_plugins", "Number of plugins in Plugin Manager.", "socket_path", "state")


class Refused(Exception):
    """The kubelet does not take the plugin; the message tells it why."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What a plugin says of itself. endpoint is the socket that serves it, by default the one it registered with."""

    type: str
    name: str
    endpoint: str
    versions: tuple[str, ...]
    socket: str


class Handler(Protocol):
    """The part of the kubelet that works with plugins of one type."""

    async def register(self, plugin: Plugin) -> None:
        """Begin to use the plugin. Raises Refused, or whatever its calls raise; it is tried again."""

    async def deregister(self, plugin: Plugin) -> None:
        """The plugin's socket is gone."""


class Plugins:
    """Follows one folder; `run` it."""

    def __init__(self, folder: Path, handlers: Mapping[str, Handler], clock: Clock) -> None:
        self._folder, self._handlers, self._clock = folder, handlers, clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        #: By the socket's name, what has been handed over, or is about to be: its end must be told.
        self.registered: dict[str, Plugin] = {}

    async def run(self) -> None:
        """Follow the folder until cancelled."""
        async with Group() as group:
            async for change in inotify.changes(self._folder):
                if (before := self._tasks.get(change.name)) is not None:
                    before.cancel()
                work = self._follow(self._folder / change.name)
                self._tasks[change.name] = group.start(work, name=f"plugin {change.name}")

    async def _follow(self, path: Path) -> None:
        """What was there ends first, in whatever it is; then what is there now."""
        async with self._turns.setdefault(path.name, asyncio.Lock()):
            await self._forget(path)
            if _is_socket(path):
                await self._register(path)

    async def _forget(self, path: Path) -> None:
        plugin = self.registered.get(path.name)
        delay = RETRY_FIRST
        while plugin is not None:
            TOTAL.remove(plugin.socket, "actual_state_of_world")
            try:
                await self._handlers[plugin.type].deregister(plugin)
            except Exception as error:
                log.warning(logs.fact("plugin not deregistered", name=plugin.name, error=error))
                await self._clock.sleep(delay)
                delay = min(delay * 2, RETRY_LAST)
                continue
            log.info(logs.fact("plugin deregistered", name=plugin.name, type=plugin.type))
            del self.registered[path.name]
            plugin = None

    async def _register(self, path: Path) -> None:
        delay = RETRY_FIRST
        while True:
            try:
                plugin = await self._once(path)
            except (Refused, channel.RpcError, TimeoutError) as error:
                text = error.details() if isinstance(error, channel.RpcError) else str(error)
                log.warning(logs.fact("plugin not registered", socket=path, error=text or type(error).__name__))
                await self._clock.sleep(delay)
                delay = min(delay * 2, RETRY_LAST)
                continue
            TOTAL.set(1, plugin.socket, "actual_state_of_world")
            log.info(logs.fact("plugin registered", name=plugin.name, type=plugin.type, endpoint=plugin.endpoint))
            return

    async def _once(self, path: Path) -> Plugin:
        connection = channel.unix_channel(path, path=0, source="kubelet", target=f"plugin {path.name}")
        try:
            stub: Any = stubs.RegistrationStub(connection)  # type: ignore[no-untyped-call] # generated
            info = await stub.GetInfo(pb.InfoRequest(), timeout=TIMEOUT, wait_for_ready=True)
            plugin = Plugin(
                type=info.type,
                name=info.name,
                endpoint=info.endpoint or str(path),
                versions=tuple(info.supported_versions),
                socket=str(path),
            )
            self.registered[path.name] = plugin
            try:
                await self._hand_over(plugin)
            except Exception as failure:
                del self.registered[path.name]
                status = pb.RegistrationStatus(plugin_registered=False, error=str(failure))
                await stub.NotifyRegistrationStatus(status, timeout=TIMEOUT)
                raise Refused(str(failure)) from failure
            await stub.NotifyRegistrationStatus(pb.RegistrationStatus(plugin_registered=True), timeout=TIMEOUT)
            return plugin
        finally:
            await connection.close()

    async def _hand_over(self, plugin: Plugin) -> None:
        handler = self._handlers.get(plugin.type)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            raise Refused(f"no handler for plugins of type {plugin.type!r}; there are {known}")
        if not plugin.name:
            raise Refused("the plugin has no name")
        await handler.register(plugin)


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
