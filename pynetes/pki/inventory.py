"""What identities a cluster's directory holds, read from the files themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from pynetes.machinery import time
from pynetes.machinery.meta import Object
from pynetes.pki import kubeconfig
from pynetes.pki.layout import Layout


@dataclass(frozen=True)
class Item:
    """One certificate; name is its path below the directory, without pki/ and .crt."""

    name: str
    path: Path
    certificate: x509.Certificate
    #: Whether a kubelet asked for it: it renews it by itself, and its key is nobody else's.
    requested: bool = False

    @property
    def subject(self) -> str:
        """CN=…,O=…"""
        return self.certificate.subject.rfc4514_string()

    @property
    def issuer(self) -> str:
        """Who signed it."""
        return self.certificate.issuer.rfc4514_string()

    @property
    def expires(self) -> datetime:
        """The last moment at which it counts."""
        return self.certificate.not_valid_after_utc

    @property
    def authority(self) -> bool:
        """Whether it may sign others."""
        try:
            return bool(self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        except x509.ExtensionNotFound:
            return False

    def residual(self, now: datetime) -> str:
        """How long it still counts: 364d, expired."""
        return time.human(self.expires - now) if self.expires > now else "expired"

    def described(self, now: datetime) -> Object:
        """For machines."""
        return {
            "name": self.name,
            "path": str(self.path),
            "subject": self.subject,
            "issuer": self.issuer,
            "authority": self.authority,
            "expires": time.rfc3339(self.expires),
            "residual": self.residual(now),
        }


def of(layout: Layout) -> Iterator[Item]:
    """Every certificate, authorities first, then by name. Files that cannot be read are left to renew.ensure."""
    found = [item for home, prefix in _homes(layout) for item in _items(home, prefix)]
    yield from sorted(found, key=lambda item: (not item.authority, item.name))


def _homes(layout: Layout) -> Iterator[tuple[Layout, str]]:
    yield layout, ""
    nodes = layout.root / "nodes"
    for home in sorted(nodes.iterdir()) if nodes.is_dir() else ():
        yield Layout(home), f"nodes/{home.name}/"


def _items(layout: Layout, prefix: str) -> Iterator[Item]:
    for path in layout.pki.rglob("*.crt"):
        stem = str(path.relative_to(layout.pki)).removesuffix(".crt")
        if prefix and stem == "ca":
            continue  # a node's copy of the cluster's authority
        try:
            yield Item(f"{prefix}{stem}", path, x509.load_pem_x509_certificate(path.read_bytes()))
        except ValueError:
            continue
    for path in layout.pki.glob("kubelet-*-current.pem"):
        try:
            found = x509.load_pem_x509_certificate(path.read_bytes())
            yield Item(f"{prefix}{path.name.removesuffix('-current.pem')}", path, found, requested=True)
        except (ValueError, OSError):
            continue
    for path in layout.root.glob("*.conf"):
        try:
            yield Item(f"{prefix}{path.name}", path, kubeconfig.certificate(path.read_bytes()))
        except ValueError:
            continue
