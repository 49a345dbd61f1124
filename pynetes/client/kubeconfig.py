"""Where the API server is and who we are: from a kubeconfig, or from the files that a pod gets.

Tokens and certificates that stand in files are read again when they change (transport.py asks), because kubelets rotate
theirs and the kubelet refreshes those of pods.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pynetes.component.remedy import RemedyError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeconfigError(RemedyError):
    """The file cannot be used; the text names the file, the entry and what is missing."""

    def __init__(self, message: str, remedy: str = "give a kubeconfig of the cluster with --kubeconfig") -> None:
        super().__init__(message, remedy)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """An API server and an identity. Certificates are PEM; of data and file, the data wins."""

    server: str
    ca: bytes = b""
    ca_file: str = ""
    certificate: bytes = b""
    certificate_file: str = ""
    key: bytes = b""
    key_file: str = ""
    token: str = ""
    token_file: str = ""
    #: The name to verify in the server's certificate when it is not that of the URL.
    server_name: str = ""
    insecure: bool = False
    namespace: str = "default"
    #: The kubeconfig this was read from, and of its contexts which: it is read again when it changes.
    source: str = ""
    context: str = ""
    #: Whether the identity was left out on purpose, so that it stays out.
    bare: bool = False

    def without_identity(self) -> "Credentials":
        """The same server, for somebody who brings a token of their own: a certificate would win over it."""
        nobody = {"certificate": b"", "certificate_file": "", "key": b"", "key_file": "", "token": "", "token_file": ""}
        return replace(self, bare=True, **nobody)  # type: ignore[arg-type]

    def reread(self) -> "Credentials":
        """As the kubeconfig says now; the same when there is none, or it cannot be read at this moment."""
        try:
            found = load(self.source, context=self.context) if self.source else self
        except KubeconfigError:
            return self
        return found.without_identity() if self.bare else found

    def bearer(self) -> str:
        """The token to send now; "" when there is none."""
        if self.token or not self.token_file:
            return self.token
        try:
            return Path(self.token_file).read_text().strip()
        except OSError as error:
            raise KubeconfigError(f"cannot read the token file {self.token_file}: {error.strerror}") from error


def load(path: str | Path, *, context: str = "") -> Credentials:
    """Read a kubeconfig; context "" is its current one. Raises KubeconfigError."""
    path = Path(path)
    try:
        document: Any = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise KubeconfigError(f"cannot read the kubeconfig {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise KubeconfigError(f"the kubeconfig {path} is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(f"the kubeconfig {path} is empty")
    return replace(_Reader(path, document).credentials(context), source=str(path.absolute()), context=context)


def in_cluster(folder: Path = SERVICE_ACCOUNT, environment: Mapping[str, str] | None = None) -> Credentials:
    """The identity of a pod's ServiceAccount. Raises KubeconfigError outside a pod."""
    environment = os.environ if environment is None else environment
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise KubeconfigError("not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
    namespace = folder / "namespace"
    return Credentials(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ca_file=str(folder / "ca.crt"),
        token_file=str(folder / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def find(path: str = "") -> Credentials:
    """The kubeconfig at path; without one, the pod's own identity. What a component's --kubeconfig flag means."""
    return load(path) if path else in_cluster()


class _Reader:
    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self._path, self._document = path, document

    def credentials(self, name: str) -> Credentials:
        name = name or self._document.get("current-context") or ""
        if not name:
            raise KubeconfigError(f"the kubeconfig {self._path} has no current-context")
        context = self._entry("contexts", "context", name)
        cluster = self._entry("clusters", "cluster", context.get("cluster") or "")
        user = self._entry("users", "user", context["user"]) if context.get("user") else {}
        if not cluster.get("server"):
            raise KubeconfigError(f"cluster {context.get('cluster')!r} in {self._path} has no server")
        return Credentials(
            server=cluster["server"].rstrip("/"),
            ca=self._data(cluster, "certificate-authority-data"),
            ca_file=self._file(cluster, "certificate-authority"),
            certificate=self._data(user, "client-certificate-data"),
            certificate_file=self._file(user, "client-certificate"),
            key=self._data(user, "client-key-data"),
            key_file=self._file(user, "client-key"),
            token=user.get("token") or "",
            token_file=self._file(user, "tokenFile"),
            server_name=cluster.get("tls-server-name") or "",
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            namespace=context.get("namespace") or "default",
        )

    def _entry(self, section: str, kind: str, name: str) -> dict[str, Any]:
        for entry in self._document.get(section) or ():
            if entry.get("name") == name:
                return dict(entry.get(kind) or {})
        raise KubeconfigError(f"the kubeconfig {self._path} has no {kind} {name!r} under {section}")

    def _data(self, entry: dict[str, Any], name: str) -> bytes:
        try:
            return base64.b64decode(entry.get(name) or "", validate=False)
        except binascii.Error as error:
            raise KubeconfigError(f"{name} in {self._path} is no base64: {error}") from error

    def _file(self, entry: dict[str, Any], name: str) -> str:
        text = entry.get(name) or ""
        return str(self._path.parent / text) if text else ""
