"""Authentication, in the order in which credentials are looked at: front proxy, certificate, token, anonymous.

Bad credentials are never anonymous: a request that carries a token nobody accepts is refused, so that an expired
credential is noticed.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from pynetes.apiserver.authn import configuration, oidc, webhook
from pynetes.apiserver.authn.bootstrap_token import BootstrapTokens
from pynetes.apiserver.authn.configuration import Anonymous
from pynetes.apiserver.authn.front_proxy import FrontProxy
from pynetes.apiserver.authn.service_account import ServiceAccountTokens, load_public
from pynetes.apiserver.authn.tokens import InvalidToken, StaticTokens, TokenAuthenticator, TokenUser
from pynetes.apiserver.authn.user import ANONYMOUS, UNAUTHENTICATED, User, known
from pynetes.apiserver.authn.x509 import Bundle, ClientCertificates
from pynetes.apiserver.config import Config
from pynetes.apiserver.http import Request
from pynetes.apiserver.objects import Objects
from pynetes.apiserver.reloading import Reloading
from pynetes.apiserver.repeat import at_once
from pynetes.component.clock import Clock
from pynetes.machinery import errors
from pynetes.pki.tokens import PublicKey

EVERYWHERE = Anonymous()
ANYBODY = User(ANONYMOUS, groups=(UNAUTHENTICATED,))
#: How a browser's WebSocket carries a token: as a subprotocol with the token in base64url.
WEBSOCKET_TOKEN = "base64url.bearer.authorization.k8s.io."


class Configured(NamedTuple):
    """What an AuthenticationConfiguration makes."""

    tokens: Sequence[TokenAuthenticator]
    anonymous: Anonymous


class Authentication:
    """What the API server asks about every request, and TokenReview about every token."""

    def __init__(
        self,
        *,
        front_proxy: FrontProxy | None = None,
        certificates: ClientCertificates | None = None,
        tokens: Sequence[TokenAuthenticator] = (),
        audiences: tuple[str, ...] = (),
        anonymous: Anonymous = EVERYWHERE,
        keys: Sequence[PublicKey] = (),
        configured: "Callable[[], Configured] | None" = None,
    ) -> None:
        """configured: the part of it that a file says, as it is now."""
        self._front_proxy = front_proxy
        self._certificates = certificates
        self._fixed_tokens = tokens
        self._configured = configured or (lambda: Configured((), anonymous))
        self.audiences = audiences
        #: The public halves of the token keys, for /openid/v1/jwks.
        self.keys = keys

    async def authenticate(self, request: Request) -> User:
        """The user, with the groups everybody has; credentials are removed from the headers. Raises 401."""
        user = self._front_proxy.authenticate(request) if self._front_proxy else None
        user = user or self._certificate(request) or await self._bearer(request)
        request.headers.replaced("authorization")
        if user is not None:
            return known(user)
        if self._unaccepted(request) or not self._configured().anonymous.allows(request.path):
            raise errors.unauthorized()
        return ANYBODY

    def _unaccepted(self, request: Request) -> bool:
        """Whether there was a certificate; had it been accepted, there would be a user."""
        judged = self._certificates is not None or self._front_proxy is not None
        return judged and request.peer_certificate is not None

    async def token(self, token: str, audiences: tuple[str, ...] = ()) -> TokenUser | None:
        """Whose token it is; audiences default to this server's. Raises InvalidToken."""
        wanted = audiences or self.audiences
        problems = []
        for authenticator in (*self._fixed_tokens, *self._configured().tokens):
            try:
                found = await authenticator.authenticate(token, wanted)
            except InvalidToken as error:
                problems.append(str(error))
                continue
            if found is not None:
                # A token that knows no audiences was made for this server.
                granted = found.audiences or tuple(name for name in wanted if name in self.audiences)
                if granted:
                    return TokenUser(known(found.user), granted, found.issuer)
        if problems:
            raise InvalidToken("; ".join(problems))
        return None

    def _certificate(self, request: Request) -> User | None:
        if self._certificates is None or request.peer_certificate is None:
            return None
        verified = self._certificates.verify(request.peer_certificate)
        if verified is None:
            return None
        request.credential = verified.credential
        if request.raw:
            certificates, shown = self._certificates, request.peer_certificate
            request.proof = lambda: certificates.verify(shown) is verified
        return verified.user

    async def _bearer(self, request: Request) -> User | None:
        token = _bearer(request) or _websocket_token(request)
        if not token:
            return None
        try:
            found = await self.token(token)
        except InvalidToken:
            found = None
        if found is None:
            raise errors.unauthorized()
        until = found.user.expires
        expiry = f", until {datetime.fromtimestamp(until, UTC):%Y-%m-%dT%H:%M:%SZ}" if until else ""
        request.credential = f"token of {found.user.name}, issuer {found.issuer}{expiry}"
        if request.raw:
            request.proof = lambda: at_once(self.token(token)) == found
        return found.user


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _websocket_token(request: Request) -> str:
    """The token among the subprotocols; it is taken out of them, so that it is not offered back."""
    header = "sec-websocket-protocol"
    if request.headers.get("upgrade", "").lower() != "websocket":
        return ""
    offered = [name.strip() for value in request.headers.every(header) for name in value.split(",")]
    carried = [name for name in offered if name.startswith(WEBSOCKET_TOKEN)]
    rest = [name for name in offered if not name.startswith(WEBSOCKET_TOKEN)]
    if len(carried) != 1 or not rest:
        return ""
    encoded = carried[0].removeprefix(WEBSOCKET_TOKEN)
    try:
        token = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
    request.headers.replaced(header)
    request.headers.add(header, ", ".join(rest))
    return token


def build(config: Config, objects: Objects, clock: Clock) -> Authentication:
    """What the flags ask for. Raises OSError or ValueError naming the file that is unreadable."""
    tokens: list[TokenAuthenticator] = []
    if config.token_auth_file:
        tokens.append(StaticTokens(config.token_auth_file))
    files = config.service_account_key_file or tuple(filter(None, (config.service_account_signing_key_file,)))
    keys = [load_public(path) for path in files]
    if keys:
        tokens.append(ServiceAccountTokens(config.service_account_issuer, keys, objects, clock))
    if config.enable_bootstrap_token_auth:
        tokens.append(BootstrapTokens(objects, clock))
    if config.authentication_token_webhook_config_file:
        post = webhook.poster(config.authentication_token_webhook_config_file)
        tokens.append(webhook.TokenWebhook(post, clock, seconds=config.authentication_token_webhook_cache_ttl))
    front_proxy, certificates = None, None
    if config.requestheader_client_ca_file:
        proxies = ClientCertificates(Bundle(config.requestheader_client_ca_file), clock)
        front_proxy = FrontProxy(proxies, config)
    if config.client_ca_file:
        certificates = ClientCertificates(Bundle(config.client_ca_file), clock)
    return Authentication(
        front_proxy=front_proxy,
        certificates=certificates,
        tokens=tokens,
        audiences=config.api_audiences or config.service_account_issuer,
        keys=keys,
        configured=configured_by(config, clock),
    )


def configured_by(config: Config, clock: Clock) -> Callable[[], Configured]:
    """What --authentication-config says now, or the flags without it. Raises OSError or ValueError the first time."""
    path, otherwise = config.authentication_config, Anonymous(enabled=config.anonymous_auth)
    if config.oidc_issuer_url and path:
        raise ValueError("--authentication-config and --oidc-issuer-url: one of them")
    if not path:
        issuer = configuration.of_flags(config)
        return partial(Configured, [oidc.OIDC(each, clock, oidc.fetch) for each in issuer], otherwise)
    issuers: dict[configuration.JWTIssuer, oidc.OIDC] = {}

    def read() -> Configured:
        file = configuration.load(path)
        if own := {issuer.url for issuer in file.issuers}.intersection(config.service_account_issuer):
            raise ValueError(f"{path}: {min(own)} is the issuer of ServiceAccounts' tokens")
        for gone in issuers.keys() - set(file.issuers):
            del issuers[gone]
        # Who stays as he was keeps his keys.
        made = [issuers.setdefault(each, oidc.OIDC(each, clock, oidc.fetch)) for each in file.issuers]
        return Configured(made, file.anonymous or otherwise)

    return Reloading("authentication", path, read, clock).current
