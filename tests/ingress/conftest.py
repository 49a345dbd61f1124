"""A controller with a real nginx over a fake API, servers to send requests to, and a client that asks nginx."""

import asyncio
import base64
import datetime
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pynetes.client.fake import FakeAPI
from pynetes.ingress import app
from pynetes.ingress.controller import Controller
from pynetes.machinery.meta import Object

LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Answer:
    """What a client saw; body is JSON where an echo server wrote it."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str

    @property
    def server(self) -> str:
        """The name of the server that answered."""
        return str(self.body["server"]) if isinstance(self.body, dict) else ""


@dataclass
class Edge:
    """The fake API, the ports of nginx, and helpers."""

    api: FakeAPI
    controller: Controller
    http: int
    https: int
    health: int
    session: aiohttp.ClientSession
    stack: AsyncExitStack
    number: int = 0
    servers: dict[str, int] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)

    async def server(self, name: str, *, namespace: str = "default", port: int = 80, count: int = 1) -> None:
        """A Service with `count` echo servers behind it; what they answer says who they are."""
        addresses = []
        for number in range(count):
            answering = name if count == 1 else f"{name}-{number}"
            addresses.append(("127.0.0.1", await self.echo(answering)))
        self.service(name, addresses, namespace=namespace, port=port)

    async def echo(self, name: str) -> int:
        """A server that tells its name and what it was asked; its port."""

        async def answer(request: web.Request) -> web.Response:
            body = await request.read()
            self.seen.append((name, request.raw_path))
            told = {"server": name, "method": request.method, "path": request.raw_path, "size": len(body)}
            return web.json_response({**told, "headers": dict(request.headers)})

        made = web.Application(client_max_size=1 << 30)
        made.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(made, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    def service(
        self, name: str, addresses: list[tuple[str, int]], *, namespace: str = "default", port: int = 80
    ) -> None:
        """A Service, with an EndpointSlice for each port number that addresses have."""
        metadata = {"name": name, "namespace": namespace}
        ports = [{"name": "web", "port": port, "targetPort": 8080}]
        self.api.put({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
                      "spec": {"clusterIP": "10.96.0.9", "ports": ports}})  # fmt: skip
        self.endpoints(name, addresses, namespace=namespace)

    def endpoints(self, name: str, addresses: list[tuple[str, int]], *, namespace: str = "default") -> None:
        """Replace the Service's endpoints."""
        for number in range(max(len(addresses), self.servers.get(name, 0))):
            given = addresses[number : number + 1]
            labels = {"kubernetes.io/service-name": name}
            self.api.put({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": f"{name}-{number}", "namespace": namespace, "labels": labels},
                "ports": [{"name": "web", "port": given[0][1] if given else 80, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address, _ in given],
            })  # fmt: skip
        self.servers[name] = len(addresses)

    def ingress(self, name: str, *paths: tuple[str, str, str, str], tls: Object | None = None,
                default: str = "", **annotations: str) -> Object:  # fmt: skip
        """An Ingress of paths (host, path, type, service); annotations with _ for -, without their prefix."""
        self.number += 1
        rules = []
        for host, path, kind, service in paths:
            backend = {"service": {"name": service, "port": {"number": 80}}}
            http = {"paths": [{"path": path, "pathType": kind, "backend": backend}]}
            rules.append({**({"host": host} if host else {}), "http": http})
        spec: Object = {"ingressClassName": "nginx", **({"rules": rules} if rules else {})}
        if tls:
            spec["tls"] = [tls]
        if default:
            spec["defaultBackend"] = {"service": {"name": default, "port": {"number": 80}}}
        prefixed = {f"nginx.ingress.kubernetes.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
        metadata = {"name": name, "namespace": "default", "annotations": prefixed,
                    "creationTimestamp": f"2026-01-01T00:{self.number // 60:02}:{self.number % 60:02}Z"}  # fmt: skip
        return self.api.put(
            {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}
        )

    def secret(self, name: str, **data: str) -> None:
        """A Secret of texts; _ for . in names."""
        coded = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in data.items()}
        metadata = {"name": name, "namespace": "default"}
        self.api.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": coded})

    async def settled(self) -> None:
        """Wait until what was put is served: an Ingress and endpoints of its own, put last, answer (by refusing)."""
        self.number += 1
        name = f"settled-{self.number}"
        path = f"/{name}"
        self.ingress("settled", ("settled.test", path, "Exact", name))
        self.service(name, [("127.0.0.1", 1)])
        while (await self.get("settled.test", path)).status != 502:
            await asyncio.sleep(0.01)

    async def get(self, host: str, path: str = "/", *, method: str = "GET", tls: bool = False,
                  data: Any = None, **headers: str) -> Answer:  # fmt: skip
        """Ask nginx; header names with _ for -."""
        shown = {"Host": host, **{key.replace("_", "-"): value for key, value in headers.items()}}
        url = f"{'https' if tls else 'http'}://127.0.0.1:{self.https if tls else self.http}{path}"
        from yarl import URL

        async with self.session.request(
            method, URL(url, encoded=True), headers=shown, allow_redirects=False, ssl=False, data=data,
            server_hostname=host if tls else None,
        ) as answer:  # fmt: skip
            text = await answer.text()
            body = await answer.json() if answer.content_type == "application/json" else None
            return Answer(answer.status, answer.headers, body, text)

    async def certificate(self, name: str | None) -> x509.Certificate:
        """The certificate shown to a client that asks for a name."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self.https, ssl=context, server_hostname=name if name else ""
        )
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(shown)

    def messages(self, name: str) -> list[str]:
        """What Events say about an Ingress."""
        found = [obj for (_, _), obj in self.api.objects.items() if obj["kind"] == "Event"]
        return [each["message"] for each in found if each["involvedObject"]["name"] == name]


@asynccontextmanager
async def running(**flags: Any) -> AsyncIterator[Edge]:
    """An Edge with other flags."""
    if not LUA_MODULE.exists() or not shutil.which("nginx"):
        pytest.skip("needs nginx and libnginx-mod-http-lua")
    api = FakeAPI()
    api.put({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nginx"},
             "spec": {"controller": "k8s.io/ingress-nginx"}})  # fmt: skip
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ingress-"))
        ports = [free_port() for _ in range(3)]
        given = {"publish_status_address": ("192.0.2.7",), "worker_processes": 1, "table_memory": 32, **flags}
        config = app.Config(
            http_port=ports[0], https_port=ports[1], healthz_port=ports[2], bind_address="127.0.0.1",
            run_dir=folder, **given,
        )  # fmt: skip
        client = api.client(component="ingress-controller")
        controller = await stack.enter_async_context(app.serving_traffic(config, client=client))
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield Edge(api, controller, *ports, session, stack)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    """As most tests want it."""
    async with running() as made:
        yield made


def pair(*names: str, days: int = 30) -> tuple[str, str]:
    """A certificate for names, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()
