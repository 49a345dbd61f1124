"""The kubelet's client certificate: asked for with a bootstrap token, and renewed by itself before it runs out.

    kubelet --bootstrap-kubeconfig=FILE --kubeconfig=FILE --cert-dir=DIR --rotate-certificates

Key and certificate lie together in one file per certificate; kubelet-client-current.pem is a link to the newest, which
moves in one step: whoever reads through it never sees a key with another's certificate. The key never leaves the node.
"""

import base64
import logging
import random
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from pynetes.apis.certificates import certificatesigningrequests as requests
from pynetes.client import kubeconfig
from pynetes.client.rest import Client
from pynetes.client.transport import NetworkTransport, Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.kubelet.config import Config
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.pki import files, issue

log = logging.getLogger(__name__)
SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
CURRENT = "kubelet-client-current.pem"
#: Seconds between looks at a request, between attempts, and until a request is given up.
POLL, AGAIN, PATIENCE = 1.0, 60.0, 900.0
_TTL = REGISTRY.gauge(
    "kubelet_certificate_manager_client_ttl_seconds",
    "Gauge of the TTL (time-to-live) of the Kubelet's client certificate.",
)


class Refused(Exception):
    """The request was denied, failed, or nobody answered it; the text says which."""


async def bootstrap(config: Config, name: str, clock: Clock) -> None:
    """Write config.kubeconfig, with a certificate of its own, unless it already has one that is valid."""
    if _usable(config, clock.now()):
        return
    credentials = kubeconfig.load(config.bootstrap_kubeconfig)
    client = Client(NetworkTransport(credentials), component="kubelet", clock=clock)
    try:
        while True:
            try:
                pem = await ask(client, name, clock)
                break
            except (Refused, StatusError, Unreachable) as error:
                log.warning(logs.fact("no certificate yet", node=name, error=error))
                await clock.sleep(POLL * (1 + random.random()))
    finally:
        await client.close()
    current = keep(config, pem, clock.now())
    files.write(Path(config.kubeconfig), _kubeconfig(credentials, name, current))
    log.info(logs.fact("joined with a bootstrap token", node=name))


async def rotate(client: Client, config: Config, name: str, clock: Clock) -> None:
    """Ask for the next certificate when 70 to 90 % of this one's life are over, for ever."""
    while True:
        current = load(Path(config.cert_dir) / CURRENT)
        if current is None:
            await clock.sleep(AGAIN)
            continue
        life = current.not_valid_after_utc - current.not_valid_before_utc
        # Spread, so that nodes that joined together do not ask together.
        due = current.not_valid_before_utc + life * random.uniform(0.7, 0.9)
        while (left := (due - clock.now()).total_seconds()) > 0:
            _TTL.set((current.not_valid_after_utc - clock.now()).total_seconds())
            await clock.sleep(min(left, AGAIN))
        try:
            keep(config, await ask(client, name, clock), clock.now())
            log.info(logs.fact("client certificate renewed", node=name))
        except (Refused, StatusError, Unreachable, OSError) as error:
            log.warning(logs.fact("client certificate not renewed", node=name, error=error))
            await clock.sleep(AGAIN)


async def ask(client: Client, name: str, clock: Clock) -> bytes:
    """Certificate and key (PEM) for the node. Raises Refused, StatusError, Unreachable."""
    key = issue.new_key()
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{name}"),
    ]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).sign(key, hashes.SHA256())
    made = await client.create(requests.RESOURCE, _request(request.public_bytes(serialization.Encoding.PEM)))
    until = clock.monotonic() + PATIENCE
    while clock.monotonic() < until:
        found = await client.get(requests.RESOURCE, Key("", made["metadata"]["name"]))
        status = found.get("status") or {}
        if status.get("certificate"):
            return base64.b64decode(status["certificate"]) + issue.private_pem(key)
        for condition in status.get("conditions") or ():
            if condition["type"] in ("Denied", "Failed"):
                raise Refused(f"request {made['metadata']['name']}: {condition['type']}: {condition.get('message')}")
        await clock.sleep(POLL)
    raise Refused(f"request {made['metadata']['name']} was not answered")


def keep(config: Config, pem: bytes, now: datetime) -> Path:
    """Make this the current certificate; the one before stays, older ones go."""
    folder = Path(config.cert_dir)
    path = folder / f"kubelet-client-{now:%Y-%m-%d-%H-%M-%S-%f}.pem"
    files.write(path, pem)
    link = folder / CURRENT
    partial = folder / f".{CURRENT}"
    partial.unlink(missing_ok=True)
    partial.symlink_to(path.name)
    partial.replace(link)
    for old in sorted(folder.glob("kubelet-client-2*.pem"))[:-2]:
        old.unlink(missing_ok=True)
    return link


def load(path: Path) -> x509.Certificate | None:
    """The certificate in a file; None if there is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _usable(config: Config, now: datetime) -> bool:
    try:
        credentials = kubeconfig.load(config.kubeconfig)
    except kubeconfig.KubeconfigError:
        return False
    if credentials.token or credentials.token_file or credentials.certificate:
        return True
    certificate = load(Path(credentials.certificate_file))
    return certificate is not None and now < certificate.not_valid_after_utc


def _request(pem: bytes) -> Object:
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": SIGNER,
            "usages": ["digital signature", "client auth"],
        },
    }


def _kubeconfig(credentials: kubeconfig.Credentials, name: str, current: Path) -> bytes:
    cluster: dict[str, object] = {"server": credentials.server}
    if credentials.ca:
        cluster["certificate-authority-data"] = base64.b64encode(credentials.ca).decode()
    if credentials.ca_file:
        cluster["certificate-authority"] = str(Path(credentials.ca_file).absolute())
    if credentials.server_name:
        cluster["tls-server-name"] = credentials.server_name
    user: Mapping[str, str] = {"client-certificate": str(current.absolute()), "client-key": str(current.absolute())}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default-cluster", "cluster": cluster}],
        "users": [{"name": "default-auth", "user": dict(user)}],
        "contexts": [{"name": "default-context", "context": {"cluster": "default-cluster", "user": "default-auth"}}],
        "current-context": "default-context",
    }
    return yaml.safe_dump(document, sort_keys=False).encode()
