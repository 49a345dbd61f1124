"""The discovery as a component: informers, and one URL per role.

GET /ROLE answers with all target groups of a role as JSON. Prometheus asks every few seconds; an answer is made anew
only after one of the objects it was made from has changed.
"""

import contextlib
import logging
from dataclasses import dataclass

import orjson
from aiohttp import web

from pynetes.apis.core import endpoints, nodes, pods, services
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import ingresses
from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.component import logs, serving, tasks
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.machinery.meta import Object
from pynetes.prometheus_sd.targets import ROLES, Known

_LOG = logging.getLogger(__name__)
#: Fields of Known.
RESOURCES = {
    "nodes": nodes.RESOURCE,
    "services": services.RESOURCE,
    "pods": pods.RESOURCE,
    "endpoints": endpoints.RESOURCE,
    "endpointslices": endpointslices.RESOURCE,
    "ingresses": ingresses.RESOURCE,
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it."""

    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    bind_address: str = option(
        "--bind-address", "127.0.0.1", "The address that is listened on; Prometheus is beside it."
    )
    port: int = option("--port", 9099, "The port of the roles, of health and of metrics.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


class Answers:
    """What each role's URL answers."""

    def __init__(self, informers: InformerFactory) -> None:
        self._stale = set(ROLES)
        self._made: dict[str, bytes] = {}
        stores = {}
        for field, resource in RESOURCES.items():
            informer = informers.informer(resource)
            stores[field] = informer.store
            dependent = {role for role, (_, fields) in ROLES.items() if field in fields}

            def changed(_obj: Object, _old: Object | None, _gone: bool, roles: set[str] = dependent) -> None:
                self._stale |= roles

            informer.handle(changed)
        self._known = Known(**stores)

    def of(self, role: str) -> bytes:
        """The JSON."""
        if role in self._stale:
            self._stale.discard(role)
            self._made[role] = orjson.dumps(list(ROLES[role][0](self._known)))
        return self._made[role]


async def run(config: Config, *, client: Client | None = None, clock: Clock | None = None) -> None:
    """Serve until cancelled."""
    clock = clock or SystemClock()
    client = client or Client.from_kubeconfig(config.kubeconfig, component="prometheus-sd")
    checks = Checks()
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(tasks.Group())
        stack.push_async_callback(client.close)
        informers = InformerFactory(client, clock=clock, group=group)
        answers = Answers(informers)
        checks.ready("informer-sync", lambda: ", ".join(informers.unsynced()) or None)
        await stack.enter_async_context(serving.serve_paths(config.paths_socket, "prometheus-sd"))
        app = application(informers, answers, checks)
        port = await stack.enter_async_context(serving.serve(app, host=config.bind_address, port=config.port))
        _LOG.info(logs.fact("serving", port=port))
        await tasks.forever()


def application(informers: InformerFactory, answers: Answers, checks: Checks) -> web.Application:
    """The routes. Half of the objects would be fewer targets, so nothing is answered before all are known."""
    app = serving.application(checks)

    async def discovered(request: web.Request) -> web.Response:
        role = request.match_info["role"]
        if role not in ROLES:
            return web.Response(status=404, text=f"no such role: {role}; there are {', '.join(ROLES)}")
        if missing := informers.unsynced():
            return web.Response(status=503, text=f"not yet known: {', '.join(missing)}")
        return web.Response(body=answers.of(role), content_type="application/json")

    app.router.add_get("/{role}", discovered)
    return app
