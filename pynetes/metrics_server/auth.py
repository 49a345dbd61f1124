"""Who asks the metrics server, and whether they may.

Most requests come from the API server, which shows the front proxy's certificate and names the user in headers; what
that certificate must be signed by is told by the ConfigMap extension-apiserver-authentication. Others bring a token.
Either way the API server is asked whether the user may; its administrators always may.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from pynetes.client import metrics
from pynetes.client.delegation import Delegation, User, from_certificate
from pynetes.component import logs
from pynetes.machinery.meta import Object

_LOG = logging.getLogger(__name__)
CONFIG = "extension-apiserver-authentication"
#: Whoever probes a component's health needs no identity.
OPEN = ("/healthz", "/livez", "/readyz")
MASTERS = "system:masters"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What the ConfigMap says."""

    client_ca: str = ""
    proxy_ca: str = ""
    allowed: tuple[str, ...] = ()
    user_headers: tuple[str, ...] = ("X-Remote-User",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)

    @classmethod
    def of(cls, config: Object) -> "Trust":
        """Read it; lists are JSON."""
        data = config.get("data") or {}

        def listed(name: str) -> tuple[str, ...]:
            return tuple(json.loads(data.get(f"requestheader-{name}") or "[]"))

        return cls(
            client_ca=data.get("client-ca-file") or "",
            proxy_ca=data.get("requestheader-client-ca-file") or "",
            allowed=listed("allowed-names"),
            user_headers=listed("username-headers") or cls.user_headers,
            group_headers=listed("group-headers") or cls.group_headers,
        )

    @property
    def bundle(self) -> str:
        """Everybody who may sign a client's certificate."""
        return f"{self.client_ca}\n{self.proxy_ca}"


class Guard:
    """Answers with 401 and 403 where due."""

    def __init__(self, trust: Trust, delegation: Delegation) -> None:
        self._delegation = delegation
        self.learn(trust)

    def learn(self, trust: Trust) -> None:
        """The ConfigMap says something else: an authority is being replaced."""
        self.trust = trust
        self._proxies = _authorities(trust.proxy_ca)
        self._clients = _authorities(trust.client_ca)

    @property
    def middleware(self) -> Any:
        """The check in front of every route."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(OPEN):
                return await handler(request)
            user = await self.authenticate(request)
            if user is None:
                return _status(401, "Unauthorized", "Unauthorized")
            if MASTERS not in user.groups and not await self._allowed(user, request):
                text = f'User "{user.name}" cannot {request.method.lower()} path "{request.path}"'
                return _status(403, "Forbidden", text)
            return await handler(request)

        return check

    async def authenticate(self, request: web.Request) -> User | None:
        """The user; None when there is none to be had."""
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        shown = tls.getpeercert(binary_form=True) if tls else None
        if tls and shown:
            certificate = x509.load_der_x509_certificate(shown)
            if self._is_proxy(certificate):
                return self._told(request)
            if _signed(certificate, self._clients):
                return from_certificate(tls.getpeercert())
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return await self._delegation.user_of(token.strip()) if kind.lower() == "bearer" and token else None

    def _is_proxy(self, certificate: x509.Certificate) -> bool:
        if not _signed(certificate, self._proxies):
            return False
        names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        return not self.trust.allowed or any(name in self.trust.allowed for name in names)

    def _told(self, request: web.Request) -> User | None:
        headers = request.headers
        name = next((headers[each] for each in self.trust.user_headers if headers.get(each)), "")
        groups = tuple(value for each in self.trust.group_headers for value in headers.getall(each, []))
        return User(unquote(name), groups) if name else None

    async def _allowed(self, user: User, request: web.Request) -> bool:
        attributes = attributes_of(request)
        if attributes is None:
            asked = {"path": request.path, "verb": request.method.lower()}
            return await self._delegation.allows(user, asked, kind="nonResourceAttributes")
        return await self._delegation.allows(user, attributes)


def attributes_of(request: web.Request) -> Object | None:
    """What a request for metrics asks, as resourceAttributes; None if it is about no resource."""
    info = request.match_info
    if "resource" not in info:
        return None
    return {
        "group": metrics.GROUP,
        "version": metrics.VERSION,
        "resource": info["resource"],
        "namespace": info.get("namespace", ""),
        "name": info.get("name", ""),
        "verb": "get" if info.get("name") else "list",
    }


def _authorities(pem: str) -> Sequence[x509.Certificate]:
    if not pem.strip():
        return ()
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        _LOG.warning(logs.fact("a bundle of authorities cannot be read", error=error))
        return ()


def _signed(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return web.json_response({**body, "message": message, "reason": reason, "code": code}, status=code)
