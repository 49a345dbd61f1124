"""The API server as one session's user sees it: requests, streams and WebSockets with that user's identity.

The address and the CA are the dashboard's configuration; the identity is the viewer's. The dashboard itself has none.
"""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import orjson
from yarl import URL

import pynetes
from pynetes.client import kubeconfig
from pynetes.component.peer import Peer
from pynetes.component.tracing import Certificate
from pynetes.dashboard.credentials import CredentialError, Identification
from pynetes.machinery.errors import StatusError, failure
from pynetes.machinery.meta import Object

CONNECT = 5.0
#: Seconds for a request that is no stream: more than the API server's own 60.
WITHIN = 70.0
#: The API server tells this component's requests by it (path 2 of the 29).
AGENT = f"pynetes-dashboard/{pynetes.__version__}"


@dataclass(frozen=True)
class Server:
    """Where the API server is; ca is a file or PEM text, "" for the machine's own authorities."""

    url: str
    ca_file: str = ""
    ca: str = ""
    server_name: str = ""

    @classmethod
    def of(cls, credentials: kubeconfig.Credentials) -> "Server":
        """Of a kubeconfig only this is taken; its identity stays unused."""
        return cls(
            credentials.server,
            "" if credentials.ca else credentials.ca_file,
            credentials.ca.decode(),
            credentials.server_name,
        )

    def context(self) -> ssl.SSLContext:
        """Verifies the API server. OSError when the CA cannot be read."""
        return ssl.create_default_context(cafile=self.ca_file or None, cadata=self.ca or None)


class Upstream:
    """One user's connections; close it when the session ends."""

    def __init__(self, server: Server, identity: Identification) -> None:
        self._server = server
        self._context = server.context()
        self._peer = Peer(self._context)
        self._headers = {"User-Agent": AGENT}
        if identity.token:
            self._headers["Authorization"] = f"Bearer {identity.token}"
        else:
            _present(self._context, identity)
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No cookies: what the API server sets belongs to no browser. No proxy variables: the address is ours.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._context),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
                auto_decompress=False,
                headers=self._headers,
            )
        return self._session

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        within: float | None = WITHIN,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; the answer's head is there, its body is read by the caller. Raises StatusError (503)."""
        try:
            async with self._client().request(
                method,
                self._url(target),
                headers=headers,
                data=body,
                allow_redirects=False,
                server_hostname=self._server.server_name or None,
                timeout=aiohttp.ClientTimeout(total=within, sock_connect=CONNECT),
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(error) from error

    async def json(self, method: str, target: str, body: Any = None) -> Object:
        """Ask and read the answer. Raises StatusError, also when the API server cannot be reached."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        data = orjson.dumps(body) if body is not None else None
        async with self.stream(method, target, headers=headers, body=data) as response:
            try:
                answer: Object = orjson.loads(await response.read())
            except ValueError:
                answer = failure(response.status, "", f"the API server answered {response.status}").status
        if response.status >= 400:
            raise StatusError(answer)
        return answer

    @asynccontextmanager
    async def websocket(
        self, target: str, protocols: Sequence[str]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse[bool]]:
        """Open a WebSocket. Raises StatusError with the API server's own words where it refuses."""
        connect = self._client().ws_connect(
            self._url(target), protocols=protocols, max_msg_size=16 << 20, autoclose=False
        )
        try:
            opened = await connect
        except aiohttp.WSServerHandshakeError as refused:
            raise await self._refusal(target, refused) from refused
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(error) from error
        try:
            yield opened
        finally:
            await opened.close()

    async def _refusal(self, target: str, refused: aiohttp.WSServerHandshakeError) -> StatusError:
        reasons = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}
        what = target.partition("?")[0]
        if refused.status == 403:
            return failure(403, "Forbidden", f"you may not open {what}: exec needs the right to create pods/exec")
        return failure(
            refused.status, reasons.get(refused.status, ""), f"the API server refused {what} with {refused.status}"
        )

    @property
    def certificate(self) -> Certificate | None:
        """What the API server shows us; None before the first request."""
        return self._peer.certificate

    def _url(self, target: str) -> URL:
        return URL(self._server.url + target, encoded=True)

    async def close(self) -> None:
        """Drop all connections."""
        if self._session is not None:
            await self._session.close()


def unreachable(error: BaseException) -> StatusError:
    """503 in words for a person."""
    text = "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return failure(503, "ServiceUnavailable", f"the API server cannot be reached: {text}")


def _present(context: ssl.SSLContext, identity: Identification) -> None:
    """The ssl module reads certificates from files only."""
    with TemporaryDirectory() as folder:
        pem = Path(folder, "both.pem")
        pem.touch(mode=0o600)
        pem.write_bytes(identity.certificate + b"\n" + identity.key)
        try:
            # A key with a passphrase must not make the process ask its terminal.
            context.load_cert_chain(pem, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise CredentialError("the client certificate and its key do not belong together") from error
