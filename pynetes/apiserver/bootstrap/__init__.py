"""What the API server makes sure exists when it starts: the post-start hooks, each a check of its health."""

import asyncio
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pynetes.apis.core import endpoints
from pynetes.apiserver.authn import legacy_tokens
from pynetes.apiserver.authz import bootstrap as rbac
from pynetes.apiserver.bootstrap import flowcontrol, objects
from pynetes.apiserver.config import Config
from pynetes.apiserver.stored import Stored, ensure
from pynetes.component.files import Reread
from pynetes.machinery import time
from pynetes.machinery.meta import Object, key_of
from pynetes.machinery.resource import Resource

HOOKS = (
    "start-system-namespaces-controller",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "rbac/bootstrap-roles",
    "start-service-ip-repair-controllers",
    "bootstrap-controller",
    "start-cluster-authentication-info-controller",
    "apiservice-registration-controller",
    "start-legacy-token-tracking-controller",
)

#: Seconds between looks at the authorities' files.
AUTHORITIES_LOOK = 1.0


class Bootstrap:
    """Runs the hooks once; safe to repeat, and for several API servers to do at once."""

    def __init__(self, config: Config, stored: Stored) -> None:
        self._config = config
        self._stored = stored
        self._done: set[str] = set()

    def pending(self, name: str = "") -> str | None:
        """Whether a hook, or any if none is named, is still to be done: a health check's answer."""
        done = name in self._done if name else len(self._done) == len(HOOKS)
        return None if done else "not finished"

    async def run(self, port: int) -> None:
        """Make what is missing; port is where this server listens."""
        api = self._stored.api
        assert api is not None
        now = time.rfc3339(api.clock.now())
        port = port or self._config.secure_port
        made: dict[str, Iterable[tuple[Resource, Object]]] = {
            HOOKS[0]: objects.first_namespaces(),
            HOOKS[1]: objects.priority_classes(),
            HOOKS[2]: flowcontrol.objects(now),
            HOOKS[4]: objects.service_network(self._config, now),
            HOOKS[6]: objects.authentication_config(self._config),
            HOOKS[7]: objects.api_services(api.served, now),
            HOOKS[8]: (legacy_tokens.tracking(api.clock.now()),),
        }
        for name, wanted in made.items():
            with self._hook(name):
                # One round trip to the store each, so they go out together.
                async with asyncio.TaskGroup() as group:
                    for resource, obj in wanted:
                        group.create_task(ensure(self._stored, resource, obj))
        with self._hook(HOOKS[3]):
            await rbac.reconcile(self._stored)
        with self._hook(HOOKS[5]):
            await self._kubernetes(port)

    async def follow_authorities(self) -> None:
        """Write extension-apiserver-authentication again whenever the files it carries have changed, for ever."""
        api = self._stored.api
        assert api is not None
        config = self._config
        named = [Path(name) for name in (config.client_ca_file, config.requestheader_client_ca_file) if name]
        if not named:
            return
        carried = Reread(named, lambda: list(objects.authentication_config(config)))
        while True:
            for resource, wanted in carried.current():
                found = self._stored.get(resource, key_of(wanted))
                if found is not None and found.get("data") != wanted.get("data"):
                    await self._stored.update(resource, key_of(wanted), partial(_with_data, wanted))
            await api.clock.sleep(AUTHORITIES_LOOK)

    @contextmanager
    def _hook(self, name: str) -> Iterator[None]:
        yield
        self._done.add(name)

    async def _kubernetes(self, port: int) -> None:
        for resource, obj in objects.kubernetes_service(self._config, port):
            await ensure(self._stored, resource, obj)
        address = self._config.advertise_address or host_address(self._config.bind_address)
        for resource, obj in objects.kubernetes_endpoints(address, port):
            if not await ensure(self._stored, resource, obj):
                await self._point(resource, obj)

    async def _point(self, resource: Resource, wanted: Object) -> None:
        """An earlier server may have listened elsewhere."""
        member = "subsets" if resource is endpoints.RESOURCE else "endpoints"

        def mutate(obj: Object) -> Object:
            obj[member] = wanted[member]
            if "ports" in wanted:
                obj["ports"] = wanted["ports"]
            return obj

        await self._stored.update(resource, key_of(wanted), mutate)


def _with_data(wanted: Object, obj: Object) -> Object:
    return {**obj, "data": wanted["data"]}


def host_address(bind: str) -> str:
    """The address to tell others: the one bound to, or of the interface that leads out of this host."""
    if bind not in ("", "0.0.0.0", "::"):
        return bind
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # No packet is sent: connecting a datagram socket only picks a route.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
