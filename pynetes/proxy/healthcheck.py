"""Tells load balancers whether this node has endpoints of a Service with externalTrafficPolicy Local.

Each such Service has a port of its own on every node (healthCheckNodePort). 200 means: send here; 503: there is nobody
here, and what is sent would be dropped.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple

import orjson
from aiohttp import web

from pynetes.component import logs, serving
from pynetes.machinery.meta import Key
from pynetes.proxy.model import Forward
from pynetes.proxy.tracker import PortKey

_LOG = logging.getLogger(__name__)


class Local(NamedTuple):
    """A Service and how many of its endpoints are on this node."""

    service: Key
    endpoints: int


def wanted(forwards: Mapping[Key, Mapping[PortKey, Forward]]) -> dict[int, Local]:
    """Health check node port → what to say there. An endpoint with several ports counts once."""
    found: dict[int, Local] = {}
    for key, ports in forwards.items():
        for number in {each.health_check_node_port for each in ports.values() if each.external_local} - {0}:
            found[number] = Local(key, len({target.ip for each in ports.values() for target in each.local}))
    return found


class HealthChecks:
    """The servers; `sync` after each change, `close` in the end."""

    def __init__(self, healthy: Callable[[], bool], *, host: str = "0.0.0.0") -> None:
        self._healthy, self._host = healthy, host
        self._now: dict[int, Local] = {}
        self._stacks: dict[int, AsyncExitStack] = {}

    async def sync(self, forwards: Mapping[Key, Mapping[PortKey, Forward]]) -> None:
        """Serve on the ports that are wanted now. One that is taken is logged, and tried again at the next change."""
        self._now = wanted(forwards)
        for number in self._stacks.keys() - self._now.keys():
            await self._stacks.pop(number).aclose()
        for number in self._now.keys() - self._stacks.keys():
            app = web.Application()
            app.router.add_get("/{tail:.*}", self._handler(number))
            stack = AsyncExitStack()
            try:
                await stack.enter_async_context(serving.serve(app, host=self._host, port=number))
            except OSError as error:
                service = self._now[number].service
                _LOG.error(logs.fact("cannot serve a health check", service=service, port=number, error=error))
                continue
            self._stacks[number] = stack

    def _handler(self, number: int) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            local = self._now[number]
            healthy = self._healthy()
            document = {
                "service": {"namespace": local.service.namespace, "name": local.service.name},
                "localEndpoints": local.endpoints,
                "serviceProxyHealthy": healthy,
            }
            headers = {"X-Load-Balancing-Endpoint-Weight": str(local.endpoints)}
            status = 200 if local.endpoints and healthy else 503
            body = orjson.dumps(document, option=orjson.OPT_INDENT_2)
            return web.Response(status=status, body=body, content_type="application/json", headers=headers)

        return answer

    async def close(self) -> None:
        """Stop serving."""
        while self._stacks:
            await self._stacks.popitem()[1].aclose()
