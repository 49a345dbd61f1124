"""Paths 21 and 24: names resolve for pods, over UDP and TCP, and a new Service's soon after it is made."""

import asyncio
import socket
import struct
import time

from pynetes.apis.core import services
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key
from pynetes.paths.check import Check, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually


async def _from_a_pod(scene: Scene) -> str:
    """A pod's resolver finds the Service by its short name, and the DNS Service answers over TCP too."""
    pod = (await scene.pods())[0]["metadata"]["name"]
    service = await scene.client.get(services.RESOURCE, Key(NAMESPACE, "web"))
    address = service["spec"]["clusterIP"]
    heard = (await scene.exec(pod, "timeout", "5", "wget", "-q", "-O", "-", "http://web/")).strip()
    expect(heard.startswith("web-"), f"http://web/ answered {heard!r}")
    name = f"web.{NAMESPACE}.svc.{scene.site.domain}"
    looked = await scene.exec(pod, "nslookup", f"{name}.")
    expect(address in looked, f"nslookup {name} said {looked!r}")
    over_tcp = await asyncio.to_thread(_ask_tcp, scene.site.dns_service, name)
    expect(over_tcp == address, f"over TCP {name} is {over_tcp or 'nothing'}, not {address}")
    return f"{pod} resolves web and {name} to {address}; the same over TCP from {scene.site.dns_service}"


async def _a_new_service(scene: Scene) -> str:
    """From the answer to the write until the name resolves."""
    await scene.pods()
    key = Key(NAMESPACE, "named")
    try:
        await scene.client.delete(services.RESOURCE, key)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
    name = f"named.{NAMESPACE}.svc.{scene.site.domain}"

    async def resolves_to(address: str) -> bool:
        return await asyncio.to_thread(_ask_udp, scene.site.dns_service, name) == address

    await eventually(lambda: resolves_to(""), f"{name} of an earlier run still resolves")
    body = {"metadata": {"name": key.name}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    service = await scene.client.create(services.RESOURCE, body, namespace=NAMESPACE)
    address = service["spec"]["clusterIP"]
    took = await eventually(lambda: resolves_to(address), f"{name} does not resolve to {address}", within=10)
    await scene.client.delete(services.RESOURCE, key)
    expect(took < 1.0, f"{name} resolved only after {took:.1f} s")
    return f"{name} resolved to {address} {took * 1000:.0f} ms after the Service was made"


def _question(name: str) -> bytes:
    """A DNS query for an A record (RFC 1035, section 4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    number = time.monotonic_ns() & 0xFFFF
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def _address_in(answer: bytes) -> str:
    """The A record's address when there is one: it is the last of the answer section."""
    count = struct.unpack("!H", answer[6:8])[0]
    if not count:
        return ""
    at = answer.index(b"\0", 12) + 5
    for _ in range(count):
        at += 2 if answer[at] & 0xC0 else answer.index(b"\0", at) - at + 1
        kind, _, _, length = struct.unpack("!HHIH", answer[at : at + 10])
        if kind == 1:
            return socket.inet_ntoa(answer[at + 10 : at + 14])
        at += 10 + length
    return ""


def _ask_udp(server: str, name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(2)
        asked.sendto(_question(name), (server, 53))
        return _address_in(asked.recv(4096))


def _ask_tcp(server: str, name: str) -> str:
    query = _question(name)
    with socket.create_connection((server, 53), timeout=5) as asked:
        asked.sendall(struct.pack("!H", len(query)) + query)
        stream = asked.makefile("rb")
        return _address_in(stream.read(struct.unpack("!H", stream.read(2))[0]))


CHECKS = (Check((21,), _from_a_pod), Check((24,), _a_new_service))
