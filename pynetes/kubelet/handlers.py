"""Carries out what probes and hooks ask for: a command, an HTTP request, a connection, a gRPC health check."""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import aiohttp
from yarl import URL

from pynetes import GIT_VERSION
from pynetes.component import logs
from pynetes.kubelet import pod_network, podspec
from pynetes.kubelet.cri.runtime import Runtime, RuntimeFailure
from pynetes.kubelet.pod_network import PodNetwork
from pynetes.machinery.meta import Object
from pynetes.rpc import channel

log = logging.getLogger(__name__)

#: How much of an answer goes into an event.
SHOWN = 10 << 10
#: Redirections that are followed, as many as Go's client follows.
REDIRECTS = 10
MOVED = (301, 302, 303, 307, 308)


class Outcome(NamedTuple):
    """How an action ended; output is for the event that says so."""

    success: bool
    output: str = ""


@dataclass(frozen=True)
class Target:
    """Where an action is carried out."""

    container_id: str
    container: Object
    #: The pod's; "" while it has none.
    ip: str
    #: Whether the pod has a network of its own.
    apart: bool = False

    @classmethod
    def of(cls, pod: Object, container_id: str, container: Object, ips: tuple[str, ...]) -> "Target":
        """A container of a pod that has these addresses."""
        return cls(container_id, container, ips[0] if ips else "", apart=not podspec.host_network(pod))


async def perform(action: Object, target: Target, runtime: Runtime, *, timeout: float, hook: bool = False) -> Outcome:
    """Carry out an action (of a probe or a hook) with a limit in seconds; never raises for the target's fault."""
    try:
        async with asyncio.timeout(timeout or None):
            if "exec" in action:
                return await _exec(action["exec"], target, runtime, timeout)
            if "httpGet" in action:
                async with _network(action["httpGet"], target, runtime) as network:
                    return await _http(action["httpGet"], target, network, hook=hook)
            if "tcpSocket" in action:
                async with _network(action["tcpSocket"], target, runtime) as network:
                    return await _tcp(action["tcpSocket"], target, network)
            if "grpc" in action:
                return await _grpc(action["grpc"], target, timeout)
            if "sleep" in action:
                await asyncio.sleep(float(action["sleep"].get("seconds") or 0))
                return Outcome(True)
    except TimeoutError:
        if "exec" in action:
            return Outcome(False, f'command timed out: "{" ".join(action["exec"].get("command") or ())}" timed out')
        return Outcome(False, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)")
    except (OSError, RuntimeFailure) as error:
        return Outcome(False, str(error))
    except Exception as error:
        # What a pod says and answers is its author's: nothing in it may stop the kubelet.
        log.warning(logs.fact("action failed", container=target.container.get("name"), error=error), exc_info=error)
        return Outcome(False, str(error))
    return Outcome(False, "no handler is given")


def port_of(value: int | str, container: Object) -> int:
    """A port by number or by the name it has in the container. ValueError if there is none."""
    if isinstance(value, int) or value.isdecimal():
        return int(value)
    for port in container.get("ports") or ():
        if port.get("name") == value:
            return int(port["containerPort"])
    raise ValueError(f"couldn't find port: {value!r} in container {container['name']}")


async def _exec(action: Object, target: Target, runtime: Runtime, timeout: float) -> Outcome:
    try:
        code, output = await runtime.exec_sync(target.container_id, action.get("command") or (), int(timeout))
    except RuntimeFailure as failure:
        if failure.code == "DEADLINE_EXCEEDED":
            return Outcome(False, f"command timed out: {failure}")
        return Outcome(False, str(failure))
    return Outcome(code == 0, output[:SHOWN].decode(errors="replace"))


@asynccontextmanager
async def _network(action: Object, target: Target, runtime: Runtime) -> AsyncIterator[PodNetwork | None]:
    """Where to dial from: the pod's own network where a user says whom; None for the node's."""
    if target.apart and action.get("host"):
        async with pod_network.of(runtime, target.container_id) as network:
            yield network
    elif target.ip or action.get("host"):
        yield None
    else:
        raise ConnectionError("the pod has no address")


async def _http(action: Object, target: Target, network: PodNetwork | None, *, hook: bool) -> Outcome:
    host = action.get("host") or target.ip
    scheme = (action.get("scheme") or "HTTP").lower()
    path = action.get("path") or "/"
    path = path if path.startswith("/") else f"/{path}"
    try:
        port = port_of(action["port"], target.container)
    except ValueError as error:
        return Outcome(False, str(error))
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"
    headers = {
        "User-Agent": f"{'kube-lifecycle' if hook else 'kube-probe'}/{GIT_VERSION}",
        "Accept": "*/*",
        "Connection": "close",
    }
    headers.update({header["name"]: header["value"] for header in action.get("httpHeaders") or ()})
    try:
        status, body = await _get(URL(url), headers, network)
    except aiohttp.ClientConnectorError as error:
        return Outcome(False, f'Get "{url}": {_not_connected(host, port, error.os_error)}')
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Outcome(False, f'Get "{url}": {error}')
    # A hook has been told once it is answered, whatever the answer says.
    if hook or 200 <= status < 400:
        return Outcome(True, body.decode(errors="replace"))
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")


async def _get(first: URL, headers: dict[str, str], network: PodNetwork | None = None) -> tuple[int, bytes]:
    """The answer, redirections inside the same host followed: one that leads elsewhere is an answer like any other."""
    trust = _unverified() if first.scheme == "https" else False
    connector = aiohttp.TCPConnector(ssl=trust, socket_factory=network.socket if network else None)
    url = first
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(REDIRECTS):
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                place = response.headers.get("Location", "") if response.status in MOVED else ""
                following = url.join(URL(place)) if place else url
                if not place or following.host != first.host:
                    return response.status, await response.content.read(SHOWN)
                url = following
    raise ValueError(f"stopped after {REDIRECTS} redirects")


@cache
def _unverified() -> ssl.SSLContext:
    """Probes trust any certificate: what they ask is whether something answers there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _not_connected(host: str, port: int, error: OSError) -> str:
    """Why no connection came about, in the words that people search for."""
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"dial tcp {host}:{port}: connect: {why}"


async def _tcp(action: Object, target: Target, network: PodNetwork | None) -> Outcome:
    host = action.get("host") or target.ip
    try:
        port = port_of(action["port"], target.container)
        if network is not None:
            await network.connect(host, port)
            return Outcome(True)
        _, writer = await asyncio.open_connection(host, port)
    except ValueError as error:
        return Outcome(False, str(error))
    except OSError as error:
        return Outcome(False, _not_connected(host, port, error))
    writer.close()
    return Outcome(True)


async def _grpc(action: Object, target: Target, timeout: float) -> Outcome:
    if not target.ip:
        return Outcome(False, "the pod has no address")
    status = await channel.check_health(target.ip, int(action["port"]), action.get("service") or "", timeout)
    if status == "SERVING":
        return Outcome(True)
    if status in ("NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"):
        return Outcome(False, f"service unhealthy (responded with {status!r})")
    return Outcome(False, f"failed to connect service {target.ip}:{action['port']}: {status}")
