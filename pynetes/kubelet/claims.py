"""Dynamic resources on the node: has drivers prepare a pod's claims before its containers, and take it back after.

A claim is prepared once, however many pods share it, and unprepared when the last of them is over. What was prepared is
kept on disk: a kubelet that restarts knows the CDI names for a container, and whom to tell in the end.
"""

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from pynetes.apis.resource import resourceclaims
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.component.tasks import Group
from pynetes.kubelet import rootdir
from pynetes.kubelet.plugins.registry import Plugin, Refused
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.rpc import channel
from pynetes.rpc.dra import api_pb2 as pb
from pynetes.rpc.dra import api_pb2_grpc as stubs
from pynetes.rpc.podresources import api_pb2 as podresources

log = logging.getLogger(__name__)

SERVICE, STATE = "v1.DRAPlugin", "dra_manager_state"
#: What the claim for extended resources is called in the pod: no name of a claim there can be like it.
EXTENDED = "<extended resources>"
TIMEOUT, RETRY_FIRST, RETRY_LAST = 45.0, 1.0, 60.0
SECONDS = REGISTRY.histogram(
    "dra_operations_duration_seconds",
    "Latency histogram in seconds for the duration of handling all ResourceClaims referenced by a pod when the pod "
    "starts or stops.",
    "operation_name",
    "is_error",
)


class ClaimFailure(Exception):
    """A claim is not prepared: the pod waits, and it is tried again."""


@dataclass(kw_only=True)
class Given:
    """A device of a prepared claim. requests: those it belongs to, none for all."""

    driver: str
    pool: str
    device: str
    requests: list[str]
    cdi: list[str]


@dataclass(kw_only=True)
class Prepared:
    """A claim on this node."""

    namespace: str
    name: str
    uid: str
    drivers: list[str]
    pods: list[str] = field(default_factory=list)
    devices: list[Given] = field(default_factory=list)
    done: bool = False


class Claims:
    """The claims of one node; the handler of plugins of type DRAPlugin."""

    def __init__(self, client: Client, root: Path, clock: Clock, group: Group) -> None:
        self._client, self._root, self._clock, self._group = client, root, clock, group
        self._path = root / STATE
        self._drivers: dict[str, tuple[Plugin, Any]] = {}
        self._claims: dict[str, Prepared] = {}
        self._lock = asyncio.Lock()

    def restore(self) -> None:
        """Learn from disk what is prepared."""
        try:
            for entry in json.loads(self._path.read_text()):
                devices = [Given(**one) for one in entry.pop("devices")]
                self._claims[entry["uid"]] = Prepared(**entry, devices=devices)
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError) as error:
            log.warning(logs.fact("state of claims not used", path=self._path, error=error))

    # Drivers

    async def register(self, plugin: Plugin) -> None:
        """Use a driver from now on. Raises Refused."""
        if SERVICE not in plugin.versions:
            raise Refused(f"driver {plugin.name} speaks {', '.join(plugin.versions) or '?'}, the kubelet {SERVICE}")
        await self.deregister(plugin)
        socket = rootdir.real(plugin.endpoint, self._root)
        opened = channel.unix_channel(socket, path=16, source="kubelet", target=f"DRA driver {plugin.name}")
        self._drivers[plugin.name] = plugin, opened

    async def deregister(self, plugin: Plugin) -> None:
        """Forget a driver."""
        known = self._drivers.get(plugin.name)
        if known is not None and known[0].socket == plugin.socket:
            del self._drivers[plugin.name]
            await known[1].close()

    # Pods

    async def prepare(self, pod: Object) -> None:
        """Have all claims of a pod prepared. Raises ClaimFailure."""
        if not pod["spec"].get("resourceClaims") and not extended(pod):
            return
        async with self._lock:
            for _, name in names(pod):
                await self._one(pod, name)

    async def _one(self, pod: Object, name: str) -> None:
        metadata = pod["metadata"]
        known = next(
            (one for one in self._claims.values() if (one.namespace, one.name) == (metadata["namespace"], name)), None
        )
        if known is None or not known.done or metadata["uid"] not in known.pods:
            claim = await self._read(Key(metadata["namespace"], name))
            _check(pod, claim)
            known = self._claims.setdefault(claim["metadata"]["uid"], _fresh(claim))
            if metadata["uid"] not in known.pods:
                known.pods.append(metadata["uid"])
            # Noted before the driver is asked: what it may have begun will be undone.
            self._save()
        if not known.done:
            known.devices = [one for driver in known.drivers for one in await self._prepared(driver, known)]
            known.done = True
            self._save()

    async def _read(self, key: Key) -> Object:
        try:
            return await self._client.get(resourceclaims.RESOURCE, key)
        except (StatusError, Unreachable) as error:
            raise ClaimFailure(f"resourceclaim {key.namespace}/{key.name} cannot be read: {error}") from error

    async def _prepared(self, driver: str, claim: Prepared) -> list[Given]:
        request = pb.NodePrepareResourcesRequest(claims=[_message(claim)])
        answer = await self._call(driver, "NodePrepareResources", request)
        own = answer.claims.get(claim.uid)
        if own is None or own.error:
            why = own.error if own else "it did not answer for the claim"
            raise ClaimFailure(f"NodePrepareResources of driver {driver} failed for {claim.name}: {why}")
        return [
            Given(
                driver=driver,
                pool=one.pool_name,
                device=one.device_name,
                requests=list(one.request_names),
                cdi=list(one.cdi_device_ids),
            )
            for one in own.devices
        ]

    def release(self, uid: str) -> None:
        """A pod is over: claims that no other pod here has are unprepared, in the background until it has worked."""
        for claim in tuple(self._claims.values()):
            if uid in claim.pods:
                claim.pods.remove(uid)
                self._save()
                if not claim.pods:
                    self._group.start(self._unprepare(claim), name=f"unprepare {claim.name}")

    def keep_only(self, uids: set[str]) -> None:
        """After a start: pods that are gone have nothing any more."""
        for uid in {pod for claim in self._claims.values() for pod in claim.pods} - uids:
            self.release(uid)

    async def _unprepare(self, claim: Prepared) -> None:
        delay = RETRY_FIRST
        while True:
            async with self._lock:
                if claim.pods or claim.uid not in self._claims:
                    return
                try:
                    for driver in claim.drivers:
                        request = pb.NodeUnprepareResourcesRequest(claims=[_message(claim)])
                        answer = await self._call(driver, "NodeUnprepareResources", request)
                        if error := answer.claims[claim.uid].error:
                            raise ClaimFailure(error)
                    del self._claims[claim.uid]
                    self._save()
                    return
                except ClaimFailure as failure:
                    log.warning(logs.fact("claim not unprepared", claim=claim.name, error=failure))
            await self._clock.sleep(delay)
            delay = min(delay * 2, RETRY_LAST)

    async def _call(self, driver: str, rpc: str, request: Message) -> Any:
        known = self._drivers.get(driver)
        if known is None:
            raise ClaimFailure(f"DRA driver {driver} is not registered")
        began, error = self._clock.monotonic(), "false"
        try:
            stub = stubs.DRAPluginStub(known[1])  # type: ignore[no-untyped-call] # generated
            return await getattr(stub, rpc)(request, timeout=TIMEOUT)
        except asyncio.CancelledError as cancelled:
            if not channel.was_closed():
                raise
            error = "true"
            raise ClaimFailure(f"{rpc} of driver {driver}: the connection was closed") from cancelled
        except channel.RpcError as failure:
            error = "true"
            raise ClaimFailure(f"{rpc} of driver {driver}: {failure.details() or failure.code().name}") from failure
        finally:
            SECONDS.observe(self._clock.monotonic() - began, rpc, error)

    # Containers

    def cdi(self, pod: Object, container: Object) -> list[str]:
        """The CDI names that a container gets."""
        return [name for _, one in self._devices(pod, container) for name in one.cdi]

    def told(self, pod: Object, container: Object) -> list[podresources.DynamicResource]:
        """For the pod resources API."""
        return [
            podresources.DynamicResource(
                claim_name=claim.name,
                claim_namespace=claim.namespace,
                claim_resources=[
                    podresources.ClaimResource(
                        cdi_devices=[podresources.CDIDevice(name=name) for name in one.cdi],
                        driver_name=one.driver,
                        pool_name=one.pool,
                        device_name=one.device,
                    )
                ],
            )
            for claim, one in self._devices(pod, container)
        ]

    def _devices(self, pod: Object, container: Object) -> Iterator[tuple[Prepared, Given]]:
        called = dict(names(pod))
        for mapping in extended(pod).get("requestMappings") or ():
            if mapping["containerName"] == container["name"]:
                yield from self._given(pod, called[EXTENDED], mapping["requestName"])
        for entry in (container.get("resources") or {}).get("claims") or ():
            yield from self._given(pod, called.get(entry["name"], ""), entry.get("request"))

    def _given(self, pod: Object, name: str, asked: str | None) -> Iterator[tuple[Prepared, Given]]:
        """The devices of a claim, or of one of its requests."""
        for claim in self._claims.values():
            own = claim.name == name and claim.namespace == pod["metadata"]["namespace"]
            for one in claim.devices if own else ():
                main = {request.partition("/")[0] for request in one.requests}
                if not asked or not one.requests or asked in main:
                    yield claim, one

    def _save(self) -> None:
        fresh = self._path.with_suffix(".tmp")
        fresh.write_text(json.dumps([asdict(one) for one in self._claims.values()]))
        fresh.replace(self._path)


def names(pod: Object) -> Iterator[tuple[str, str]]:
    """The pod's claims: the name in the pod, and that of the ResourceClaim. Raises ClaimFailure."""
    told = {
        one["name"]: one.get("resourceClaimName")
        for one in (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    }
    for entry in pod["spec"].get("resourceClaims") or ():
        name = entry.get("resourceClaimName") or told.get(entry["name"])
        if name:
            yield entry["name"], name
        elif entry["name"] not in told:
            raise ClaimFailure(f"resource claim {entry['name']} has not been made from its template yet")
    if name := extended(pod).get("resourceClaimName"):
        yield EXTENDED, name


def extended(pod: Object) -> Object:
    """What the scheduler has claimed for the pod's extended resources: status.extendedResourceClaimStatus."""
    return (pod.get("status") or {}).get("extendedResourceClaimStatus") or {}


def _check(pod: Object, claim: Object) -> None:
    status, metadata = claim.get("status") or {}, claim["metadata"]
    if not status.get("allocation"):
        raise ClaimFailure(f"resourceclaim {metadata['namespace']}/{metadata['name']} is not allocated")
    if all(one["uid"] != pod["metadata"]["uid"] for one in status.get("reservedFor") or ()):
        text = f"pod {pod['metadata']['name']} is not allowed to use resource claim {metadata['name']}"
        raise ClaimFailure(f"{text}: it is not reserved for the pod")


def _fresh(claim: Object) -> Prepared:
    metadata = claim["metadata"]
    results = ((claim["status"]["allocation"].get("devices") or {}).get("results")) or ()
    drivers = sorted({one["driver"] for one in results})
    return Prepared(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"], drivers=drivers)


def _message(claim: Prepared) -> pb.Claim:
    return pb.Claim(namespace=claim.namespace, uid=claim.uid, name=claim.name)
