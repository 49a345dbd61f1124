"""Front proxies (aggregation, among them): who shows a certificate of their authority may name the user in headers.

The headers count with that certificate only, and are removed in every case, so that nothing behind can be fooled.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authn.x509 import ClientCertificates
from pynetes.apiserver.config import Config
from pynetes.apiserver.http import Request


class FrontProxy:
    """The request-header authenticator."""

    def __init__(self, certificates: ClientCertificates, config: Config) -> None:
        self._certificates = certificates
        self._allowed = frozenset(config.requestheader_allowed_names)
        self._names = [name.lower() for name in config.requestheader_username_headers]
        self._groups = [name.lower() for name in config.requestheader_group_headers]
        self._uids = [name.lower() for name in config.requestheader_uid_headers]
        self._extra = [prefix.lower() for prefix in config.requestheader_extra_headers_prefix]

    def authenticate(self, request: Request) -> User | None:
        """The user that the proxy vouches for; None when this is no front proxy."""
        user = self._user(request) if request.peer_certificate else None
        self._strip(request)
        return user

    def _user(self, request: Request) -> User | None:
        verified = self._certificates.verify(request.peer_certificate or b"")
        if verified is None or (self._allowed and verified.user.name not in self._allowed):
            return None
        headers = request.headers
        name = next((headers[header] for header in self._names if headers.get(header)), "")
        if not name:
            return None
        groups = tuple(value for header in self._groups for value in headers.every(header) if value)
        request.credential = f"front proxy {verified.subject}"
        uid = next((headers[header] for header in self._uids if headers.get(header)), "")
        return User(name, uid=uid, groups=groups, extra=self._extras(request))

    def _extras(self, request: Request) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for prefix in self._extra:
            for header in request.headers:
                if header.startswith(prefix):
                    found[unquote(header.removeprefix(prefix))] = tuple(request.headers.every(header))
        return found

    def _strip(self, request: Request) -> None:
        prefixed = [header for header in request.headers if any(header.startswith(prefix) for prefix in self._extra)]
        for header in (*self._names, *self._uids, *self._groups, *prefixed):
            request.headers.replaced(header)
