"""The local cloud, seen from a cluster: a client of its REST API.

--cloud-config is YAML: endpoint, token (or tokenFile) and certificateAuthority.
"""

import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from pynetes.cloud import names
from pynetes.cloud.calls import BALANCERS, NODES, Calls
from pynetes.cloud.inventory import PAUSE, Recent
from pynetes.cloud.provider import (
    RUNNING,
    STOPPED,
    Absent,
    Address,
    Balancer,
    CloudError,
    Denied,
    Ensured,
    Instance,
    Provider,
    Refused,
    Route,
    Snapshot,
    Throttled,
    Volume,
)
from pynetes.cloud.providers import BadCloud, Settings
from pynetes.component.tracing import Identity
from pynetes.machinery.meta import Key, Object, parse_key

NAME = "local"
PROXY_PROTOCOL = "service.beta.kubernetes.io/local-load-balancer-proxy-protocol"
TIMEOUT = 30.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the cloud is."""

    endpoint: str
    token: str
    certificate_authority: str = ""


def parse(text: str) -> Config:
    """Raises BadCloud."""
    try:
        given = yaml.safe_load(text)
        token = given.get("token") or Path(given["tokenFile"]).read_text().strip()
        return Config(
            endpoint=given["endpoint"], token=token, certificate_authority=given.get("certificateAuthority", "")
        )
    except (KeyError, AttributeError, OSError, yaml.YAMLError) as error:
        remedy = "it needs endpoint, token or tokenFile, and certificateAuthority"
        raise BadCloud(f"--cloud-config cannot be used: {error!r}", remedy) from None


class Api:
    """Requests to the local cloud."""

    def __init__(self, config: Config, settings: Settings) -> None:
        self._config = config
        identity = Identity(subject="bearer token of --cloud-config", issuer=config.endpoint)
        self._calls = Calls(NAME, clock=settings.clock, identity=identity)
        self._session: aiohttp.ClientSession | None = None
        self.cluster, self.clock = settings.cluster, settings.clock
        self.tags = {names.owned(settings.cluster): "owned"}

    async def close(self) -> None:
        """End its connections."""
        if self._session:
            await self._session.close()

    async def call(self, method: str, path: str, body: Any = None, *, on: int = NODES) -> Any:
        """One request. Raises CloudError."""
        name = f"{method} {path.split('/')[2]}"
        about = "/".join(path.split("/")[2:])
        return await self._calls.make(
            name, lambda: self._send(method, path, body), path=on, write=method != "GET", about=about
        )

    async def _send(self, method: str, path: str, body: Any) -> Any:
        session = self._session = self._session or self._open()
        data = orjson.dumps(body) if body is not None else None
        try:
            async with session.request(method, self._config.endpoint + path, data=data) as response:
                raw = await response.read()
                if response.status == 200:
                    return orjson.loads(raw)
                raise _error(response, raw)
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise CloudError(f"{method} {self._config.endpoint}{path}: {type(error).__name__} {error}") from None

    def _open(self) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=self._config.certificate_authority or None)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers={"Authorization": f"Bearer {self._config.token}", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        )

    def is_ours(self, document: Object) -> bool:
        """Whether it carries the cluster's tag."""
        return names.owned(self.cluster) in document["tags"]


def _error(response: aiohttp.ClientResponse, raw: bytes) -> CloudError:
    try:
        document = orjson.loads(raw)
        text = f"{document['code']}: {document['message']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        text = f"answered {response.status}"
    after = response.headers.get("Retry-After", "")
    match response.status:
        case 401 | 403:
            return Denied(text)
        case 404:
            return Absent(text)
        case 400 | 409 | 422:
            return Refused(text)
        case 429:
            return Throttled(text, float(after) if after.isdecimal() else 0.0)
        case 503 if after:
            return Throttled(text, float(after) if after.isdecimal() else 0.0)
    return CloudError(text)


class Instances:
    """Nodes' namespaces."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def list(self) -> Sequence[Instance]:
        return [_instance(each) for each in (await self._api.call("GET", "/v1/instances"))["items"]]


def _instance(document: Object) -> Instance:
    return Instance(
        id=document["id"],
        provider_id=f"{NAME}:///{document['zone']}/{document['id']}",
        name=document["name"],
        type=document["type"],
        zone=document["zone"],
        region=document["region"],
        addresses=tuple(Address(each["type"], each["address"]) for each in document["addresses"]),
        state=STOPPED if document["state"] == "stopped" else RUNNING,
    )


class Balancers:
    """Sections of a haproxy."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._recent = Recent(self._listed, api.clock)

    async def _listed(self) -> dict[str, Object]:
        listed = (await self._api.call("GET", "/v1/load-balancers", on=BALANCERS))["items"]
        return {each["name"]: each for each in listed}

    async def names(self) -> Mapping[str, Key]:
        listed = (await self._listed()).values()
        return {each["name"]: parse_key(each["tags"][names.SERVICE_TAG]) for each in listed if self._api.is_ours(each)}

    async def ensure(self, wanted: Balancer) -> Ensured:
        path = f"/v1/load-balancers/{wanted.name}"
        # All Services that are looked at together, as after a restart, share one describe call.
        known = await self._recent.get(newer_than=PAUSE)
        before = known.get(wanted.name)
        document = self._document(wanted)
        if before is not None and not self._api.is_ours(before):
            raise Refused(f"the load balancer {wanted.name} carries no tag of this cluster")
        kept = {name: before.get(name) for name in document} if before else None
        # The address stays; asking for it again is not a difference.
        asked = document.pop("requestedAddress")
        same = before is not None and kept is not None and (not asked or asked == before["address"])
        if same and kept is not None and {k: v for k, v in kept.items() if k != "requestedAddress"} == document:
            after, changes = before, tuple[str, ...]()
        else:
            after = await self._api.call("PUT", path, {**document, "requestedAddress": asked}, on=BALANCERS)
            changes = (f"{'changed' if before else 'made'} {wanted.name} at {after['address']}",)
            known[wanted.name] = after
        assert after is not None
        # Proxy: the balancer is a hop of its own, which kube-proxy must not short-cut: it checks who may connect.
        ports = [{"port": each.port, "protocol": each.protocol} for each in wanted.listeners]
        return Ensured(({"ip": after["address"], "ipMode": "Proxy", "ports": ports},), changes)

    def _document(self, wanted: Balancer) -> Object:
        return {
            "listeners": [
                {"name": each.name, "protocol": each.protocol, "port": each.port, "nodePort": each.node_port}
                for each in wanted.listeners
            ],
            "targets": [each._asdict() for each in wanted.targets],
            "health": wanted.health._asdict(),
            "sourceRanges": list(wanted.source_ranges),
            "sticky": wanted.sticky,
            "proxyProtocol": wanted.annotations.get(PROXY_PROTOCOL) == "true",
            "requestedAddress": wanted.address,
            "tags": {**self._api.tags, names.SERVICE_TAG: str(wanted.service)},
        }

    async def _find(self, path: str) -> Object | None:
        try:
            found: Object = await self._api.call("GET", path, on=BALANCERS)
            return found
        except Absent:
            return None

    async def delete(self, name: str) -> bool:
        path = f"/v1/load-balancers/{name}"
        self._recent.forget()
        found = await self._find(path)
        if found is None:
            return False
        if not self._api.is_ours(found):
            raise Refused(f"the load balancer {name} carries no tag of this cluster, and stays")
        try:
            await self._api.call("DELETE", path, on=BALANCERS)
        except Absent:
            return False
        return True


class Routes:
    """Routes of the nodes' namespaces."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def list(self, machines: Sequence[Instance]) -> Sequence[Route]:
        named = {each.id: each.name for each in machines}
        listed = (await self._api.call("GET", "/v1/routes"))["items"]
        return [
            Route(each["cidr"], named.get(each["instance"], ""), each["name"], each["state"] != "active")
            for each in listed
            if self._api.is_ours(each)
        ]

    async def create(self, route: Route, machines: Sequence[Instance]) -> None:
        ids = {each.name: each.id for each in machines}
        if route.node not in ids:
            raise Absent(f"the local cloud has no instance {route.node}")
        body = {"cidr": route.cidr, "instance": ids[route.node], "tags": self._api.tags}
        await self._api.call("PUT", f"/v1/routes/{_route_name(route.cidr)}", body)

    async def delete(self, route: Route) -> None:
        with contextlib.suppress(Absent):
            await self._api.call("DELETE", f"/v1/routes/{route.name or _route_name(route.cidr)}")


def _route_name(cidr: str) -> str:
    return cidr.replace("/", "-").replace(":", ".")


class Volumes:
    """Files with block devices over them."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def list(self) -> Sequence[Volume]:
        listed = (await self._api.call("GET", "/v1/volumes", on=BALANCERS))["items"]
        return [_volume(each) for each in listed if self._api.is_ours(each)]

    async def get(self, volume: str) -> Volume:
        return _volume(await self._api.call("GET", f"/v1/volumes/{volume}", on=BALANCERS))

    async def create(
        self, name: str, *, size: int, zone: str, snapshot: str = "", kind: str = "", tags: Mapping[str, str]
    ) -> Volume:
        body: Object = {"name": name, "size": size, "snapshot": snapshot, "tags": {**tags, **self._api.tags}}
        body |= {"zone": zone} if zone else {}
        return _volume(await self._api.call("POST", "/v1/volumes", body, on=BALANCERS))

    async def delete(self, volume: str) -> None:
        with contextlib.suppress(Absent):
            await self._own(volume)
            await self._api.call("DELETE", f"/v1/volumes/{volume}", on=BALANCERS)

    async def attach(self, volume: str, instance: str) -> str:
        await self._own(volume)
        done = await self._api.call("POST", f"/v1/volumes/{volume}/attach", {"instance": instance}, on=BALANCERS)
        return str(done["attached"][instance])

    async def detach(self, volume: str, instance: str) -> None:
        with contextlib.suppress(Absent):
            await self._own(volume)
            await self._api.call("POST", f"/v1/volumes/{volume}/detach", {"instance": instance}, on=BALANCERS)

    async def expand(self, volume: str, size: int) -> int:
        await self._own(volume)
        done = await self._api.call("POST", f"/v1/volumes/{volume}/expand", {"size": size}, on=BALANCERS)
        return int(done["size"])

    async def snapshots(self) -> Sequence[Snapshot]:
        listed = (await self._api.call("GET", "/v1/snapshots", on=BALANCERS))["items"]
        return [_snapshot(each) for each in listed if self._api.is_ours(each)]

    async def snapshot(self, name: str, volume: str) -> Snapshot:
        body = {"name": name, "volume": volume, "tags": self._api.tags}
        return _snapshot(await self._api.call("POST", "/v1/snapshots", body, on=BALANCERS))

    async def delete_snapshot(self, snapshot: str) -> None:
        if any(each.id == snapshot for each in await self.snapshots()):
            with contextlib.suppress(Absent):
                await self._api.call("DELETE", f"/v1/snapshots/{snapshot}", on=BALANCERS)

    async def _own(self, volume: str) -> None:
        found = await self._api.call("GET", f"/v1/volumes/{volume}", on=BALANCERS)
        if not self._api.is_ours(found):
            raise Refused(f"the volume {volume} carries no tag of this cluster")


def _volume(document: Object) -> Volume:
    fields = ("id", "name", "size", "zone", "state", "attached", "tags", "snapshot")
    return Volume(**{name: document[name] for name in fields})


def _snapshot(document: Object) -> Snapshot:
    fields = ("id", "name", "volume", "size", "created", "ready")
    return Snapshot(**{name: document[name] for name in fields})


async def connect(settings: Settings) -> Provider:
    """The local cloud."""
    api = Api(parse(settings.config), settings)
    return Provider(
        name=NAME,
        instances=Instances(api),
        balancers=Balancers(api),
        routes=Routes(api),
        volumes=Volumes(api),
        close=api.close,
    )
