"""Path 25: an Ingress reaches a real nginx, which routes by host and path, speaks TLS, and drops nothing on changes."""

import asyncio
import base64
import datetime
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pynetes.apis.apps import deployments
from pynetes.apis.core import pods, secrets, services
from pynetes.apis.networking import ingresses
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.paths import observed
from pynetes.paths.check import Absent, Check, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually

CONTROLLER = Key("kube-system", "ingress-nginx-controller")
HOST = "web.verify.test"
#: Changes of the Ingress while requests go on.
CHANGES = 10


async def _ingress(scene: Scene) -> str:
    if await scene.client.find(deployments.RESOURCE, CONTROLLER) is None:
        raise Absent("no ingress controller: `pynetes up --with ingress`")
    await scene.pods()
    service = await scene.client.get(services.RESOURCE, CONTROLLER)
    address = str(service["spec"]["clusterIP"])
    pem, key = _pair(HOST)
    data = {"tls.crt": base64.b64encode(pem).decode(), "tls.key": base64.b64encode(key).decode()}
    await _made(scene, secrets.RESOURCE, {"metadata": {"name": "web"}, "type": "kubernetes.io/tls", "data": data})
    began = time.monotonic()
    await _made(scene, ingresses.RESOURCE, _object("/hello"))
    try:
        await eventually(lambda: _answers(address, "/hello"), f"{address} does not serve http://{HOST}/hello")
        answered = time.monotonic() - began
        other = await _status(address, "/elsewhere")
        expect(other == 404, f"a path of no rule was answered {other}, not 404")
        subject = await asyncio.to_thread(_certificate, address)
        expect(subject == HOST, f"the certificate shown for {HOST} is that of {subject}")
        server = await _server(address)
        requests, failed = await _under_changes(scene, address)
        expect(not failed, f"{len(failed)} of {requests} requests failed during changes: {failed[:3]}")
        told = await _address(scene)
    finally:
        await scene.client.delete(ingresses.RESOURCE, Key(NAMESPACE, "web"))
    identity = await _identity(scene)
    return (
        f"{server} at {address} serves {HOST}/hello {answered * 1000:.0f} ms after the Ingress was made, 404 "
        f"elsewhere, its TLS certificate by SNI; {requests} requests during {CHANGES} changes, none failed; "
        f"status has {told}; {identity}"
    )


def _object(path: str) -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    # The files lie at the root of the pods' server, so the path before the slash is taken away.
    paths = [{"path": f"{path}(/|$)(.*)", "pathType": "ImplementationSpecific", "backend": backend}]
    annotations = {
        "nginx.ingress.kubernetes.io/rewrite-target": "/$2",
        "nginx.ingress.kubernetes.io/ssl-redirect": "false",
    }
    spec = {
        "ingressClassName": "nginx",
        "tls": [{"hosts": [HOST], "secretName": "web"}],
        "rules": [{"host": HOST, "http": {"paths": paths}}],
    }
    return {"metadata": {"name": "web", "annotations": annotations}, "spec": spec}


async def _made(scene: Scene, resource: Resource, obj: Object) -> None:
    """Made anew: one of an earlier run may be there."""
    try:
        await scene.client.delete(resource, Key(NAMESPACE, obj["metadata"]["name"]))
    except StatusError as error:
        if error.reason != "NotFound":
            raise
    await scene.client.create(resource, obj, namespace=NAMESPACE)


async def _request(address: str, path: str) -> bytes:
    """One request on a connection of its own; the whole answer. OSError or EOFError when it is dropped."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(address, 80)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            return await reader.read(-1)
        finally:
            writer.close()


async def _status(address: str, path: str) -> int:
    first = (await _request(address, path)).partition(b"\r\n")[0].split()
    return int(first[1]) if len(first) > 1 else 0


async def _answers(address: str, path: str) -> bool:
    try:
        return await _status(address, path) == 200
    except (OSError, TimeoutError):
        return False


async def _server(address: str) -> str:
    head = (await _request(address, "/hello")).partition(b"\r\n\r\n")[0].decode(errors="replace")
    named = [line.partition(":")[2].strip() for line in head.splitlines() if line.lower().startswith("server:")]
    expect(named and named[0].startswith("nginx"), f"the server calls itself {named}")
    return named[0]


def _certificate(address: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, 443), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secure,
    ):
        shown = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    return str(shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


async def _under_changes(scene: Scene, address: str) -> tuple[int, list[str]]:
    """Requests go on while paths are added and the configuration is made to reload; how many, and which failed."""
    failed: list[str] = []
    count = 0

    @asynccontextmanager
    async def asking() -> AsyncIterator[None]:
        stopped = asyncio.Event()

        async def ask() -> None:
            nonlocal count
            while not stopped.is_set():
                count += 1
                try:
                    status = await _status(address, "/hello")
                    if status != 200:
                        failed.append(f"status {status}")
                except (OSError, TimeoutError) as error:
                    failed.append(repr(error))

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
            yield
            stopped.set()

    async with asking():
        for number in range(CHANGES):
            patch = {
                "metadata": {
                    "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": f"{1 << number}m"},
                },
            }
            await scene.client.patch(ingresses.RESOURCE, Key(NAMESPACE, "web"), patch)
            await asyncio.sleep(0.1)
    return count, failed


async def _address(scene: Scene) -> str:
    told: list[str] = []

    async def written() -> bool:
        found = await scene.client.get(ingresses.RESOURCE, Key(NAMESPACE, "web"))
        given = ((found.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        told[:] = [each.get("ip") or each.get("hostname") or "" for each in given]
        return bool(told)

    await eventually(written, "the Ingress got no address in its status")
    return ", ".join(told)


async def _identity(scene: Scene) -> str:
    """What the controller's own socket shows of its traffic with the API server."""
    rows = observed.rows(await observed.snapshots(scene.site.paths_dir))
    row = rows.get(25)
    expect(row and row.requests, "the controller shows no traffic with the API server")
    assert row is not None
    found = await scene.client.list(
        pods.RESOURCE, namespace="kube-system", label_selector="app.kubernetes.io/name=ingress-nginx"
    )
    return f"{row.requests} requests as {row.identity.subject} from {len(found.items)} pod"


def _pair(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(encoding), private


CHECKS = (Check((25,), _ingress),)
