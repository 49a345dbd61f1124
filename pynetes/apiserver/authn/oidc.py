"""JWTs of other issuers (OIDC): verified with the keys that the issuer publishes, claims mapped to a user.

The issuer is asked for its keys when its first token comes, and again when a token names a key nobody has seen, at most
once in ten seconds: strangers' tokens must not make this server flood the issuer.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

from pynetes.apiserver.authn import claims as expressions
from pynetes.apiserver.authn.configuration import JWTIssuer
from pynetes.apiserver.authn.service_account import unverified_issuer
from pynetes.apiserver.authn.tokens import InvalidToken, TokenUser
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authn.x509 import CREDENTIAL_ID
from pynetes.component.clock import Clock

#: Upstream's. Nothing symmetric: an issuer's public key must not serve as a shared secret.
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
#: Seconds between two looks at an issuer's keys.
AGAIN = 10.0
#: Longest token that is looked at.
LONGEST = 64 << 10
#: Fetches a URL: (url, CA bundle) → the body. Raises OSError.
Fetch = Callable[[str, bytes], Awaitable[bytes]]


class OIDC:
    """The token authenticator of one issuer."""

    def __init__(self, issuer: JWTIssuer, clock: Clock, fetch: Fetch) -> None:
        self._issuer, self._clock, self._fetch = issuer, clock, fetch
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked: float | None = None

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> TokenUser | None:
        """None unless the token names this issuer. Raises InvalidToken."""
        if len(token) > LONGEST or unverified_issuer(token) != self._issuer.url:
            return None
        claims = await self._verified(token)
        self._in_time(claims)
        intended = claims.get("aud")
        intended = [intended] if isinstance(intended, str) else intended or []
        if not set(intended) & set(self._issuer.audiences):
            raise InvalidToken(f"the token is not for any of {list(self._issuer.audiences)}")
        for claim, value in self._issuer.required:
            if claims.get(claim) != value:
                raise InvalidToken(f"the token's claim {claim!r} is not {value!r}")
        expressions.hold(self._issuer.claim_rules, {"claims": claims})
        user = self._user(claims)
        if self._issuer.user_rules:
            seen = expressions.user_of(user.name, user.uid, user.groups, user.extra)
            expressions.hold(self._issuer.user_rules, {"user": seen})
        return TokenUser(user, issuer=self._issuer.url)

    async def _verified(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise InvalidToken("the token's header is unreadable") from None
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise InvalidToken("the token is signed by an algorithm that is not accepted")
        options: Any = {f"verify_{what}": False for what in ("aud", "exp", "nbf", "iat")}
        for key in await self._candidates(str(header.get("kid") or "")):
            try:
                claims: Mapping[str, Any] = jwt.decode(token, key.key, algorithms=[algorithm], options=options)
                return claims
            except (jwt.PyJWTError, TypeError, ValueError):
                continue
        raise InvalidToken(f"no key of {self._issuer.url} has signed the token")

    async def _candidates(self, kid: str) -> list[jwt.PyJWK]:
        now = self._clock.monotonic()
        if kid not in self._keys and (self._asked is None or now - self._asked >= AGAIN):
            self._asked = now
            try:
                self._keys = await self._published()
            except (OSError, ValueError, jwt.PyJWTError) as error:
                raise InvalidToken(f"the keys of {self._issuer.url} cannot be had: {type(error).__name__}") from None
        if kid:
            return [self._keys[kid]] if kid in self._keys else []
        return list(self._keys.values())

    async def _published(self) -> dict[str, jwt.PyJWK]:
        issuer = self._issuer
        url = issuer.discovery_url or f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
        document = json.loads(await self._fetch(url, issuer.ca))
        if document.get("issuer") != issuer.url:
            raise ValueError("the discovery document is another issuer's")
        where = str(document.get("jwks_uri") or "")
        if urlsplit(where).scheme != "https":
            raise ValueError("jwks_uri is no https URL")
        found = jwt.PyJWKSet.from_dict(json.loads(await self._fetch(where, issuer.ca)))
        signing = [key for key in found.keys if key.public_key_use in (None, "sig") and key.key_type in ("RSA", "EC")]
        return {key.key_id or f"#{number}": key for number, key in enumerate(signing)}

    def _in_time(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now().timestamp()
        expires, since = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(expires, int | float) or expires <= now:
            raise InvalidToken("the token has expired")
        if not isinstance(since, int | float) or since > now:
            raise InvalidToken("the token is not valid yet")

    def _user(self, claims: Mapping[str, Any]) -> User:
        issuer = self._issuer
        uid = issuer.uid
        extra = {key: found for key, expression in issuer.extra if (found := expressions.texts(expression, claims))}
        identifier = claims.get("jti")
        if isinstance(identifier, str) and identifier:
            extra[CREDENTIAL_ID] = (f"JTI={identifier}",)
        return User(
            self._name(claims),
            uid=expressions.text(uid.expression, claims) if uid.expression else str(claims.get(uid.claim) or ""),
            groups=self._groups(claims),
            extra=extra,
            expires=float(claims["exp"]),
        )

    def _name(self, claims: Mapping[str, Any]) -> str:
        wanted = self._issuer.username
        if wanted.expression:
            name = expressions.text(wanted.expression, claims)
            if not name:
                raise InvalidToken(f"expression '{wanted.expression}' names nobody")
            return name
        found = claims.get(wanted.claim)
        if not isinstance(found, str) or not found:
            raise InvalidToken(f"the token's claim {wanted.claim!r} names nobody")
        if wanted.claim == "email" and claims.get("email_verified", True) is not True:
            raise InvalidToken("the token's e-mail address is not verified")
        return wanted.prefix + found

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        wanted = self._issuer.groups
        if wanted.expression:
            return expressions.texts(wanted.expression, claims)
        found = claims.get(wanted.claim, []) if wanted.claim else []
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list) or not all(isinstance(group, str) for group in listed):
            raise InvalidToken(f"the token's claim {wanted.claim!r} is no list of groups")
        return tuple(wanted.prefix + group for group in listed)


async def fetch(url: str, ca: bytes) -> bytes:
    """GET over TLS, without following redirects. Raises OSError."""
    # Its HTTP library is loaded by those servers only that ask issuers.
    from pynetes.client.kubeconfig import Credentials
    from pynetes.client.transport import Call, NetworkTransport

    parts = urlsplit(url)
    transport = NetworkTransport(Credentials(server=f"{parts.scheme}://{parts.netloc}", ca=ca))
    try:
        answer = await transport.request(Call(method="GET", target=parts.path or "/"))
    finally:
        await transport.close()
    if answer.status != 200:
        raise OSError(f"{url} answered {answer.status}")
    return answer.body
