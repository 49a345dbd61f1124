"""How the API server dials kubelets: port 10250 of the node's address, each verifying the other's certificate."""

import ssl
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from pynetes.apiserver.config import Config
from pynetes.component import files
from pynetes.component.peer import Peer, described
from pynetes.component.streaming.http1 import DialError, Exchange, Target, exchange
from pynetes.component.tls import Remade, note_expiry
from pynetes.component.tracing import RECORDER, Certificate, Identity, Interaction, Recorder, now
from pynetes.machinery import errors
from pynetes.machinery.meta import Object

#: Where a kubelet listens if its node does not say.
PORT = 10250


class Kubelets:
    """Connections to kubelets. Certificate and authorities are read again when their files change."""

    def __init__(self, config: Config, *, recorder: Recorder = RECORDER) -> None:
        self._config = config
        self._recorder = recorder
        self._tls: Remade | None = None
        self._identity: Identity | None = None
        self._peer: Peer | None = None

    def target(self, node: Object) -> Target:
        """Where the node's kubelet is. Raises StatusError if the node has no address yet."""
        status = node.get("status") or {}
        endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
        addresses = {each.get("type"): each.get("address") for each in reversed(status.get("addresses") or ())}
        for kind in self._config.kubelet_preferred_address_types:
            if kind in addresses:
                return Target(addresses[kind], endpoint.get("Port") or PORT, self.tls())
        wanted = ", ".join(self._config.kubelet_preferred_address_types)
        raise errors.internal(f"node {node['metadata']['name']} has no address of the types {wanted}")

    def tls(self) -> ssl.SSLContext:
        """The context to dial kubelets with. Raises StatusError if the files are not usable."""
        try:
            if self._tls is None:
                self._tls = Remade(self._context, lambda: files.stamp(self._files()))
            return self._tls.current()
        except (OSError, ssl.SSLError, ValueError) as error:
            raise errors.internal(f"the files to dial kubelets with: {error}") from error

    def _files(self) -> list[Path]:
        config = self._config
        named = (
            config.kubelet_client_certificate,
            config.kubelet_client_key,
            config.kubelet_certificate_authority,
        )
        return [Path(name) for name in named if name]

    async def ask(
        self, node: Object, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Exchange:
        """Send a request to the node's kubelet and read the head of its answer. Raises DialError, StatusError."""
        target, started, problem = self.target(node), perf_counter(), ""
        try:
            return await exchange(target, method, path, headers, body)
        except DialError as error:
            problem = str(error)
            raise
        finally:
            what = path.partition("?")[0].split("/", 2)
            action, on = what[1], what[2] if len(what) > 2 else node["metadata"]["name"]
            seconds = perf_counter() - started
            seen = Interaction(10, now(), "kube-apiserver", "kubelet", action, on, seconds, problem)
            self._recorder.record(seen, self._shown())

    def _shown(self) -> Identity | None:
        """Who we are to kubelets, and what the one dialled last showed."""
        if self._identity is None or self._peer is None:
            return self._identity
        return replace(self._identity, server=self._peer.certificate)

    def _context(self) -> ssl.SSLContext:
        config = self._config
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.kubelet_certificate_authority:
            context.load_verify_locations(config.kubelet_certificate_authority)
        else:
            # As upstream: without the flag a kubelet's self-signed certificate is accepted.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if config.kubelet_client_certificate:
            context.load_cert_chain(config.kubelet_client_certificate, config.kubelet_client_key)
            note_expiry(Path(config.kubelet_client_certificate))
            self._identity = _identity(config)
        self._peer = Peer(context, refused=self._refused)
        return context

    def _refused(self, shown: Certificate) -> str:
        """A node writes its own address and port. Those of an API server would have us ask it, with all our rights,
        for whatever path a user of the node's proxy names."""
        path = self._config.tls_cert_file
        own = described(Path(path).read_bytes()) if path else None
        return "that is an API server, and no kubelet" if own is not None and own.subject == shown.subject else ""


def _identity(config: Config) -> Identity:
    shown = described(Path(config.kubelet_client_certificate).read_bytes())
    authority = config.kubelet_certificate_authority
    rule = f"client certificate; kubelet verified by {authority}" if authority else "client certificate only"
    return Identity(shown.subject, shown.issuer, shown.expires, rule, client=shown) if shown else Identity(rule=rule)
