"""ServiceAccount tokens: JWTs that this server signs and verifies, bound to objects that must still be there.

The signature is checked once per token and remembered; that the account (and the pod, node or secret the token is bound
to) still exists with the same UID is checked on every request, against the watch cache.
"""

import base64
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.types import Options

from pynetes.apis.core import nodes, pods, secrets, serviceaccounts
from pynetes.apiserver.authn import legacy_tokens
from pynetes.apiserver.authn.tokens import InvalidToken, TokenUser
from pynetes.apiserver.authn.user import SERVICE_ACCOUNT_PREFIX, SERVICE_ACCOUNTS, User
from pynetes.apiserver.objects import Objects
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.pki.tokens import LEGACY, PREFIX, PublicKey, algorithm, key_id

#: Deleted objects keep their tokens this long, as clocks differ.
LEEWAY = timedelta(seconds=60)
REMEMBERED = 10_000
CLAIM = "kubernetes.io"
EXTRA = "authentication.kubernetes.io/"
ALGORITHMS = ("RS256", "ES256")
REQUIRED = ("iss", "sub")

#: A client that does not read its token again has one that lives on only because `up` to a year is added.
_STALE = REGISTRY.counter("serviceaccount_stale_tokens_total", "Cumulative stale projected service account tokens used")
_VALID = REGISTRY.counter("serviceaccount_valid_tokens_total", "Cumulative valid projected service account tokens used")

#: What a token can be bound to: claim → resource.
BINDINGS: Mapping[str, Resource] = {"pod": pods.RESOURCE, "node": nodes.RESOURCE, "secret": secrets.RESOURCE}


def load_public(path: str) -> PublicKey:
    """A public key, or the public half of a private one. Raises ValueError when the file holds neither."""
    pem = Path(path).read_bytes()
    key: Any
    if b"PRIVATE KEY" in pem:
        key = serialization.load_pem_private_key(pem, password=None).public_key()
    else:
        key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError(f"{path}: a key for tokens is RSA or ECDSA")
    return key


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A token to be issued. `bound` is the claim's name and the object, `node` the node of a bound pod."""

    account: Object
    audiences: Sequence[str]
    seconds: int
    bound: tuple[str, Object] | None = None
    node: Object | None = None
    #: Seconds after which the token's use is warned about, when it lives longer than asked for.
    warn_after: int = 0


class Issuer:
    """Signs tokens."""

    def __init__(self, issuer: str, key_pem: bytes) -> None:
        """Raises ValueError when the key is neither RSA nor ECDSA."""
        self.issuer = issuer
        key: Any = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("a key for tokens is RSA or ECDSA")
        self._key = key
        self.public_key: PublicKey = key.public_key()

    def issue(self, wanted: Wanted, now: datetime) -> str:
        """The signed token."""
        metadata, issued = wanted.account["metadata"], int(now.timestamp())
        private: Object = {"namespace": metadata["namespace"], "serviceaccount": _ref(wanted.account)}
        if wanted.bound is not None:
            private[wanted.bound[0]] = _ref(wanted.bound[1])
        if wanted.node is not None:
            private["node"] = _ref(wanted.node)
        if wanted.warn_after:
            private["warnafter"] = issued + wanted.warn_after
        claims = {
            "aud": list(wanted.audiences),
            "exp": issued + wanted.seconds,
            "iat": issued,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            CLAIM: private,
            "nbf": issued,
            "sub": f"{SERVICE_ACCOUNT_PREFIX}{metadata['namespace']}:{metadata['name']}",
        }
        header = {"kid": key_id(self.public_key)}
        return jwt.encode(claims, self._key, algorithm=algorithm(self.public_key), headers=header)


def _ref(obj: Object) -> Object:
    return {"name": obj["metadata"]["name"], "uid": obj["metadata"].get("uid", "")}


class ServiceAccountTokens:
    """Verifies tokens of the given issuers."""

    def __init__(self, issuers: Sequence[str], keys: Sequence[PublicKey], objects: Objects, clock: Clock) -> None:
        self._issuers = frozenset(issuers)
        self._keys = {key_id(key): key for key in keys}
        self._objects = objects
        self._clock = clock
        self._verified: dict[str, Mapping[str, Any]] = {}

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> TokenUser | None:
        """None unless the token names one of our issuers. Raises InvalidToken."""
        claims = self._verified.get(token)
        if claims is None:
            issuer = unverified_issuer(token)
            if issuer not in self._issuers and issuer != LEGACY:
                return None
            claims = self._signed(token, (*REQUIRED, "exp", "iat", "aud") if issuer != LEGACY else REQUIRED)
            if len(self._verified) >= REMEMBERED:
                self._verified.clear()
            self._verified[token] = claims
        now = self._clock.now()
        if claims["iss"] == LEGACY:
            return await self._of_secret(token, claims, now)
        _in_time(claims, now)
        granted = tuple(audience for audience in audiences if audience in _audiences(claims))
        if not granted:
            raise InvalidToken(f"the token is for {list(_audiences(claims))}, not for {list(audiences)}")
        private = claims.get(CLAIM) or {}
        await self._alive(private, now)
        after = private.get("warnafter")
        (_STALE if after and now.timestamp() > float(after) else _VALID).inc()
        return TokenUser(_user(claims, private), granted, str(claims["iss"]))

    async def _of_secret(self, token: str, claims: Mapping[str, Any], now: datetime) -> TokenUser:
        """One that lies in a Secret: good for as long as it lies there, and for this server only."""
        namespace, name, uid, held = (
            str(claims.get(f"{PREFIX}{each}") or "")
            for each in ("namespace", "service-account.name", "service-account.uid", "secret.name")
        )
        user = f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"
        if claims["sub"] != user:
            raise InvalidToken("the token's subject is not the account in its claims")
        secret = self._objects.get(secrets.RESOURCE, Key(namespace, held))
        kept = base64.b64decode(((secret or {}).get("data") or {}).get("token") or "")
        same = hmac.compare_digest(kept, token.encode())
        if secret is None or secret["metadata"].get("deletionTimestamp") or not same:
            raise InvalidToken(f"the token is not that of the secret {namespace}/{held}")
        if (secret["metadata"].get("labels") or {}).get(legacy_tokens.INVALID_SINCE):
            legacy_tokens.refused()
            raise InvalidToken(f"the token of the secret {namespace}/{held} was made invalid")
        await self._exists(serviceaccounts.RESOURCE, namespace, {"name": name, "uid": uid}, now)
        account = self._objects.get(serviceaccounts.RESOURCE, Key(namespace, name))
        await legacy_tokens.used(self._objects, secret, account, now)
        return TokenUser(User(user, uid=uid, groups=(SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")), (), LEGACY)

    def _signed(self, token: str, required: Sequence[str]) -> Mapping[str, Any]:
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            candidates = [self._keys[kid]] if kid in self._keys else list(self._keys.values())
        except jwt.PyJWTError as error:
            raise InvalidToken(f"the token's header is unreadable: {error}") from None
        # Times and audiences are checked per request, by our own clock.
        options: Options = {
            "require": list(required),
            "verify_aud": False,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        for key in candidates:
            try:
                # The algorithm follows from the key, never from what the token says.
                claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=[algorithm(key)], options=options)
                return claims
            except jwt.PyJWTError:
                continue
        raise InvalidToken("no key of this server has signed the token")

    async def _alive(self, private: Mapping[str, Any], now: datetime) -> None:
        namespace, account = private.get("namespace") or "", private.get("serviceaccount") or {}
        await self._exists(serviceaccounts.RESOURCE, namespace, account, now)
        bound = next((kind for kind in ("pod", "secret", "node") if private.get(kind)), None)
        if bound is not None:
            # A pod's node is told in the token for information; only a token bound to the node itself ends with it.
            await self._exists(BINDINGS[bound], "" if bound == "node" else namespace, private[bound], now)

    async def _exists(self, resource: Resource, namespace: str, ref: Mapping[str, Any], now: datetime) -> None:
        key = Key(namespace, str(ref.get("name") or ""))
        obj = self._objects.get(resource, key)
        if obj is None or obj["metadata"].get("uid") != ref.get("uid"):
            # It may have been made an instant ago, by another server.
            await self._objects.fresh(resource)
            obj = self._objects.get(resource, key)
        if obj is None:
            raise InvalidToken(f"{resource.plural} {key}, to which the token is bound, is gone")
        if obj["metadata"].get("uid") != ref.get("uid"):
            raise InvalidToken(f"{resource.plural} {key} is not the one to which the token is bound")
        deleted = obj["metadata"].get("deletionTimestamp")
        if deleted and datetime.fromisoformat(deleted) + LEEWAY < now:
            raise InvalidToken(f"{resource.plural} {key}, to which the token is bound, has been deleted")


def unverified_issuer(token: str) -> str:
    """The issuer that a JWT claims to have; "" for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        # Brackets in brackets, from whoever likes: no token of anybody's.
        return ""
    issuer = payload.get("iss") if isinstance(payload, dict) else ""
    return issuer if isinstance(issuer, str) else ""


def _audiences(claims: Mapping[str, Any]) -> Sequence[str]:
    audiences = claims["aud"]
    return [audiences] if isinstance(audiences, str) else audiences


def _in_time(claims: Mapping[str, Any], now: datetime) -> None:
    at = now.timestamp()
    if at >= float(claims["exp"]):
        raise InvalidToken(f"the token expired at {datetime.fromtimestamp(claims['exp'], UTC):%Y-%m-%dT%H:%M:%SZ}")
    if at + LEEWAY.total_seconds() < float(claims.get("nbf", 0)):
        raise InvalidToken("the token is not valid yet")


def _user(claims: Mapping[str, Any], private: Mapping[str, Any]) -> User:
    namespace, account = private["namespace"], private["serviceaccount"]
    name = f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{account['name']}"
    if claims["sub"] != name:
        raise InvalidToken("the token's subject is not the account in its claims")
    extra: dict[str, tuple[str, ...]] = {}
    if claims.get("jti"):
        extra[f"{EXTRA}credential-id"] = (f"JTI={claims['jti']}",)
    for kind in ("node", "pod"):
        if ref := private.get(kind):
            extra[f"{EXTRA}{kind}-name"] = (ref["name"],)
            extra[f"{EXTRA}{kind}-uid"] = (ref["uid"],)
    groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")
    return User(name, uid=account["uid"], groups=groups, extra=extra, expires=float(claims["exp"]))


def discovery(issuer: str, jwks_uri: str, keys: Sequence[PublicKey]) -> Object:
    """/.well-known/openid-configuration."""
    return {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({algorithm(key) for key in keys}),
    }


def jwks(keys: Sequence[PublicKey]) -> Object:
    """/openid/v1/jwks: the public keys, for whoever verifies tokens elsewhere."""
    return {"keys": [_jwk(key) for key in keys]}


def _jwk(key: PublicKey) -> Object:
    common = {"use": "sig", "kid": key_id(key), "alg": algorithm(key)}
    if isinstance(key, ec.EllipticCurvePublicKey):
        numbers = key.public_numbers()
        return {**common, "kty": "EC", "crv": "P-256", "x": _b64(numbers.x, 32), "y": _b64(numbers.y, 32)}
    public = key.public_numbers()
    return {**common, "kty": "RSA", "n": _b64(public.n), "e": _b64(public.e)}


def _b64(number: int, size: int = 0) -> str:
    raw = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
