"""Follows policies, pods and namespaces, and keeps the node's rules up to date."""

import asyncio
import logging
from typing import Protocol

from pynetes.apis.core import namespaces, nodes, pods
from pynetes.apis.networking import networkpolicies
from pynetes.client.informer import Informer
from pynetes.client.rest import Client
from pynetes.component import logs, tasks
from pynetes.component.clock import Clock
from pynetes.component.command import CommandError
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.networkpolicy import model
from pynetes.networkpolicy.model import Pod, Rules
from pynetes.networkpolicy.nftables import Kernel

_LOG = logging.getLogger(__name__)
#: Seconds in which changes are gathered after a sync, before the first other try, and between looks at the table.
#: Tries become rarer up to the last, as where the kernel has no nftables they all fail.
GATHER, AGAIN, CHECK = 0.02, 1.0, 30.0
SYNC_SECONDS = REGISTRY.histogram(
    "pynetes_network_policy_sync_duration_seconds", "From computing to the kernel.", buckets=exponential(0.001, 2, 15)
)


class Target(Protocol):
    """Where rules go."""

    async def sync(self, wanted: Rules) -> bool: ...

    async def verify(self) -> None: ...


class Enforcer:
    """The state of the world as far as policies are concerned, for one node."""

    def __init__(self, node: str, target: Target, *, clock: Clock) -> None:
        self.node, self._target, self._clock = node, target, clock
        self.policies: dict[Key, Object] = {}
        self.pods: dict[Key, Pod] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        #: Where the node's pods have their addresses.
        self.networks: tuple[str, ...] = ()
        self._event = asyncio.Event()

    def on_policy(self, obj: Object, _old: Object | None, gone: bool) -> None:
        """A policy came, changed or went."""
        if gone:
            self.policies.pop(key_of(obj), None)
        else:
            self.policies[key_of(obj)] = obj
        self._event.set()

    def on_pod(self, obj: Object, _old: Object | None, gone: bool) -> None:
        """A pod; most changes of one concern no policy, and do nothing."""
        key, pod = key_of(obj), None if gone else model.pod_of(obj)
        if self.pods.get(key) == pod:
            return
        if pod is None:
            del self.pods[key]
        else:
            self.pods[key] = pod
        self._event.set()

    def on_namespace(self, obj: Object, _old: Object | None, gone: bool) -> None:
        """A namespace; its labels count."""
        name, found = obj["metadata"]["name"], obj["metadata"].get("labels") or {}
        if gone:
            self.namespaces.pop(name, None)
        elif self.namespaces.get(name) == found:
            return
        else:
            self.namespaces[name] = found
        self._event.set()

    def on_node(self, obj: Object, _old: Object | None, gone: bool) -> None:
        """The node itself; it gets its network once."""
        found = () if gone else tuple(obj["spec"].get("podCIDRs") or ())
        if found != self.networks:
            self.networks = found
            self._event.set()

    async def run(self) -> None:
        """Sync until cancelled, once everything that exists has been heard of."""
        self._event.set()
        again = AGAIN
        while True:
            try:
                async with asyncio.timeout(CHECK):
                    await self._event.wait()
            except TimeoutError:
                await self._target.verify()
            self._event.clear()
            worked = await self.sync()
            await self._clock.sleep(GATHER if worked else again)
            again = AGAIN if worked else min(again * 2, CHECK)

    async def sync(self) -> bool:
        """Bring the present state into the kernel; whether that worked. If not, it will be tried again."""
        started = self._clock.monotonic()
        try:
            # In a thread: with thousands of pods it takes a third of a second, and Services must not wait for it.
            world = list(self.policies.values()), list(self.pods.values()), dict(self.namespaces)
            wanted = await asyncio.to_thread(model.rules, *world, node=self.node, networks=self.networks)
            changed = await self._target.sync(wanted)
        except CommandError as error:
            _LOG.error(logs.fact("policies could not be enforced, will try again", error=error))
            self._event.set()
            return False
        if changed:
            SYNC_SECONDS.observe(self._clock.monotonic() - started)
            _LOG.debug(logs.fact("policies enforced", policies=len(self.policies), chains=len(wanted.chains)))
        return True


async def run(client: Client, node: str, *, clock: Clock) -> None:
    """Enforce until cancelled; rules stay when it ends, as pods do."""
    enforcer = Enforcer(node, Kernel(), clock=clock)
    async with tasks.Group() as group:
        followed = []
        for resource, handler, selector in (
            (networkpolicies.RESOURCE, enforcer.on_policy, ""),
            (pods.RESOURCE, enforcer.on_pod, ""),
            (namespaces.RESOURCE, enforcer.on_namespace, ""),
            (nodes.RESOURCE, enforcer.on_node, f"metadata.name={node}"),
        ):
            informer = Informer(client, resource, clock=clock, field_selector=selector)
            informer.handle(handler)
            group.start(informer.run(), name=f"informer {resource.qualified}")
            followed.append(informer)
        for informer in followed:
            await informer.wait_synced()
        await enforcer.run()
