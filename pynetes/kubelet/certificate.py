"""The kubelet's certificates, client and serving: asked for, and renewed by itself before they run out.

    kubelet --bootstrap-kubeconfig=FILE --kubeconfig=FILE --cert-dir=DIR
            --rotate-certificates --rotate-server-certificates

Key and certificate lie together in one file per certificate; kubelet-client-current.pem and kubelet-server-current.pem
are links to the newest, which move in one step: whoever reads through one never sees a key with another's certificate.
Keys never leave the node. When the authority that leads the kubeconfig's bundle is replaced, a certificate of the one
before is renewed at once, so that the old authority can go.
"""

import base64
import logging
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from pynetes.apis.certificates import certificatesigningrequests as requests
from pynetes.client import kubeconfig
from pynetes.client.rest import Client
from pynetes.client.transport import NetworkTransport, Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.files import Reread
from pynetes.component.metrics import REGISTRY, Gauge
from pynetes.kubelet.config import Config
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.pki import files, issue
from pynetes.pki.layout import names as sorted_names

log = logging.getLogger(__name__)
#: Seconds between looks at a request, at first and at most; between attempts; and until a request is given up.
FIRST_POLL, POLL, AGAIN, PATIENCE = 0.05, 1.0, 60.0, 900.0
#: Seconds between looks at whether the authorities have changed.
LOOK = 2.0


class Kind(NamedTuple):
    """A certificate that a kubelet has: who signs it, for what, and under which name it lies in --cert-dir."""

    signer: str
    usages: tuple[str, ...]
    stem: str
    ttl: Gauge

    @property
    def current(self) -> str:
        """The link to the newest."""
        return f"{self.stem}-current.pem"


CLIENT = Kind(
    "kubernetes.io/kube-apiserver-client-kubelet",
    ("digital signature", "client auth"),
    "kubelet-client",
    REGISTRY.gauge(
        "kubelet_certificate_manager_client_ttl_seconds",
        "Gauge of the TTL (time-to-live) of the Kubelet's client certificate.",
    ),
)
SERVING = Kind(
    "kubernetes.io/kubelet-serving",
    ("digital signature", "server auth"),
    "kubelet-server",
    REGISTRY.gauge(
        "kubelet_certificate_manager_server_ttl_seconds",
        "Gauge of the TTL (time-to-live) of the Kubelet's serving certificate.",
    ),
)
CURRENT = CLIENT.current
_FAILED = REGISTRY.counter(
    "kubelet_certificate_manager_client_expiration_renew_errors", "Counter of certificate renewal errors."
)


class Refused(Exception):
    """The request was denied, failed, or nobody answered it; the text says which."""


async def bootstrap(config: Config, name: str, clock: Clock) -> None:
    """Write config.kubeconfig, with a certificate of its own, unless it already has one that is valid."""
    if _usable(config, clock.now()):
        return
    credentials = kubeconfig.load(config.bootstrap_kubeconfig)
    client = Client(NetworkTransport(credentials), component="kubelet", clock=clock)
    wait = FIRST_POLL
    try:
        while True:
            try:
                pem = await ask(client, name, clock)
                break
            except (Refused, StatusError, Unreachable) as error:
                log.warning(logs.fact("no certificate yet", node=name, error=error))
                await clock.sleep(wait * (1 + random.random()))
                wait = min(wait * 2, POLL)
    finally:
        await client.close()
    current = keep(config, pem, clock.now())
    files.write(Path(config.kubeconfig), _kubeconfig(credentials, name, current))
    log.info(logs.fact("joined with a bootstrap token", node=name))


async def rotate(
    client: Client, config: Config, name: str, clock: Clock, *, kind: Kind = CLIENT, addresses: Sequence[str] = ()
) -> None:
    """Ask for the next certificate when 70 to 90 % of this one's life are over, for ever; for a first one at once."""
    link = Path(config.cert_dir) / kind.current
    authority, tried = _authority(config), b""
    # Spread, so that nodes that joined together do not ask together.
    share = random.uniform(0.7, 0.9)
    while True:
        found, first = load(link), authority.current()
        # Asked for once per authority: should another sign, this one's certificate is as good as it gets.
        replaced = bool(first) and first != tried and found is not None and not _issued(found, first)
        if found is not None and not replaced and not _due(found, clock.now(), share):
            kind.ttl.set((found.not_valid_after_utc - clock.now()).total_seconds())
            await clock.sleep(LOOK)
            continue
        tried = first
        try:
            keep(config, await ask(client, name, clock, kind=kind, addresses=addresses), clock.now(), kind=kind)
            share = random.uniform(0.7, 0.9)
            log.info(logs.fact("certificate renewed", node=name, signer=kind.signer))
        except (Refused, StatusError, Unreachable, OSError) as error:
            _FAILED.inc()
            tried = b""
            log.warning(logs.fact("certificate not renewed", node=name, signer=kind.signer, error=error))
            await clock.sleep(AGAIN if found is not None and not replaced else POLL)


def _due(found: x509.Certificate, now: datetime, share: float) -> bool:
    life: timedelta = found.not_valid_after_utc - found.not_valid_before_utc
    return now >= found.not_valid_before_utc + life * share


def _authority(config: Config) -> Reread[bytes]:
    """The first of the kubeconfig's authorities, which is the one that signs; DER, or nothing."""

    def read() -> bytes:
        credentials = kubeconfig.load(config.kubeconfig)
        pem = credentials.ca or (Path(credentials.ca_file).read_bytes() if credentials.ca_file else b"")
        return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER) if pem else b""

    return Reread((Path(config.kubeconfig),), read, problems=(OSError, ValueError, kubeconfig.KubeconfigError))


@lru_cache(maxsize=4)
def _issued(found: x509.Certificate, authority: bytes) -> bool:
    try:
        found.verify_directly_issued_by(x509.load_der_x509_certificate(authority))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


async def ask(client: Client, name: str, clock: Clock, *, kind: Kind = CLIENT, addresses: Sequence[str] = ()) -> bytes:
    """Certificate and key (PEM) for the node, a serving one for its name and addresses.

    Raises Refused, StatusError, Unreachable."""
    key = issue.new_key()
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{name}"),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if kind is SERVING:
        alternatives = issue.general_names(sorted_names(name, *addresses))
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    request = builder.sign(key, hashes.SHA256())
    made = await client.create(requests.RESOURCE, _request(request.public_bytes(serialization.Encoding.PEM), kind))
    until, wait = clock.monotonic() + PATIENCE, FIRST_POLL
    while clock.monotonic() < until:
        found = await client.get(requests.RESOURCE, Key("", made["metadata"]["name"]))
        status = found.get("status") or {}
        if status.get("certificate"):
            return base64.b64decode(status["certificate"]) + issue.private_pem(key)
        for condition in status.get("conditions") or ():
            if condition["type"] in ("Denied", "Failed"):
                raise Refused(f"request {made['metadata']['name']}: {condition['type']}: {condition.get('message')}")
        await clock.sleep(wait)
        wait = min(wait * 1.5, POLL)
    raise Refused(f"request {made['metadata']['name']} was not answered")


def keep(config: Config, pem: bytes, now: datetime, *, kind: Kind = CLIENT) -> Path:
    """Make this the current certificate; the one before stays, older ones go."""
    folder = Path(config.cert_dir)
    path = folder / f"{kind.stem}-{now:%Y-%m-%d-%H-%M-%S-%f}.pem"
    files.write(path, pem)
    link = folder / kind.current
    partial = folder / f".{kind.current}"
    partial.unlink(missing_ok=True)
    partial.symlink_to(path.name)
    partial.replace(link)
    for old in sorted(folder.glob(f"{kind.stem}-2*.pem"))[:-2]:
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
    found = load(Path(credentials.certificate_file))
    return found is not None and now < found.not_valid_after_utc


def _request(pem: bytes, kind: Kind) -> Object:
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": kind.signer,
            "usages": list(kind.usages),
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
