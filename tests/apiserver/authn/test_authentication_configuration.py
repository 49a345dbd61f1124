"""AuthenticationConfiguration under attack: forged, stale and foreign JWTs, and anonymous where it may not be."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pynetes.apiserver.authn import configuration
from pynetes.apiserver.authn.oidc import OIDC
from pynetes.apiserver.authn.tokens import InvalidToken
from pynetes.apiserver.config import Config
from pynetes.machinery.meta import Object
from tests.apiserver.fakes import FakeClock
from tests.apiserver.harness import api

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = "https://issuer.example"
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Publisher:
    """An issuer's web server."""

    def __init__(self, **keys: Any) -> None:
        self.keys, self.issuer, self.asked = keys, URL, 0

    async def fetch(self, url: str, ca: bytes) -> bytes:
        self.asked += 1
        if url == f"{URL}/.well-known/openid-configuration":
            return json.dumps({"issuer": self.issuer, "jwks_uri": f"{URL}/keys"}).encode()
        assert url == f"{URL}/keys"
        found = []
        for kid, key in self.keys.items():
            algorithm: Any = jwt.algorithms.RSAAlgorithm if key is RSA else jwt.algorithms.ECAlgorithm
            found.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid})
        return json.dumps({"keys": found}).encode()


def document(tmp_path: Path, *, jwt_issuers: Any = (), **more: Any) -> str:
    path = tmp_path / "authentication.yaml"
    given = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", **more}
    if jwt_issuers:
        given["jwt"] = jwt_issuers
    path.write_text(json.dumps(given))
    return str(path)


def issuer(**more: Any) -> Object:
    return {
        "issuer": {"url": URL, "audiences": ["cluster"]},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "oidc:"},
            "groups": {"claim": "groups", "prefix": "oidc:"},
        },
        **more,
    }


NAMED: Object = {"username": {"expression": "'oidc:' + claims.sub"}}


def oidc(tmp_path: Path, publisher: Publisher, clock: FakeClock, **more: Any) -> OIDC:
    [read] = configuration.load(document(tmp_path, jwt_issuers=[issuer(**more)])).issuers
    return OIDC(read, clock, publisher.fetch)


def token(key: Any = KEY, *, kid: str | None = "k1", algorithm: str = "ES256", **claims: Any) -> str:
    given = {"iss": URL, "aud": "cluster", "sub": "jane", "exp": NOW.timestamp() + 60, "groups": ["dev"], **claims}
    return jwt.encode(given, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


async def test_a_good_token_names_its_user_with_prefixes(tmp_path: Path, clock: FakeClock) -> None:
    """The prefix keeps an issuer from naming anybody of the cluster: its system:masters is oidc:system:masters."""
    for key, algorithm in ((KEY, "ES256"), (RSA, "RS256"), (RSA, "PS256")):
        authenticator = oidc(tmp_path, Publisher(k1=key), clock)
        found = await authenticator.authenticate(token(key, algorithm=algorithm, groups=["system:masters"]), ())
        assert found is not None and found.user.name == "oidc:jane"
        assert found.user.groups == ("oidc:system:masters",) and found.user.expires == NOW.timestamp() + 60


@pytest.mark.parametrize(
    "attack",
    [
        token(OTHER),
        token(aud="another"),
        token(aud=[]),
        token(exp=NOW.timestamp()),
        token(exp="never"),
        token(nbf=NOW.timestamp() + 60),
        token(sub=""),
        token(sub=["jane"]),
        token(groups={"system:masters": 1}),
        token(kid="unknown"),
        token(key="shared" * 8, algorithm="HS256"),
        jwt.encode({"iss": URL, "aud": "cluster", "sub": "jane", "exp": time.time() + 9e9}, None, algorithm="none"),
        token()[:-4] + "AAAA",
    ],
    # Signatures are random, and parallel workers must agree on names.
    ids=[
        *("forged", "audience", "no audience", "expired", "odd expiry", "not yet", "no name", "odd name", "odd groups"),
        *("unknown key", "symmetric", "unsigned", "altered"),
    ],
)
async def test_bad_tokens_are_refused(attack: str, tmp_path: Path, clock: FakeClock) -> None:
    """Forged, for others, expired, too early, nameless, with a symmetric or no signature; errors hide the token."""
    with pytest.raises(InvalidToken) as caught:
        await oidc(tmp_path, Publisher(k1=KEY), clock).authenticate(attack, ())
    assert attack not in str(caught.value)


async def test_a_published_key_is_no_shared_secret(tmp_path: Path, clock: FakeClock) -> None:
    """The classic confusion: HS256 with the text of the public key."""
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    head = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{part({'iss': URL, 'aud': 'cluster', 'sub': 'jane', 'exp': 9e9})}"
    mac = base64.urlsafe_b64encode(hmac.new(pem, head.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    with pytest.raises(InvalidToken, match="algorithm"):
        await oidc(tmp_path, Publisher(k1=RSA), clock).authenticate(f"{head}.{mac}", ())


async def test_rotated_keys_are_found_but_strangers_cannot_flood_the_issuer(tmp_path: Path, clock: FakeClock) -> None:
    """A new key counts after ten seconds at most; a thousand tokens with unknown keys ask once."""
    publisher = Publisher(k1=KEY)
    authenticator = oidc(tmp_path, publisher, clock)
    await authenticator.authenticate(token(), ())
    assert publisher.asked == 2
    publisher.keys = {"k2": OTHER}
    for _ in range(1000):
        with pytest.raises(InvalidToken):
            await authenticator.authenticate(token(OTHER, kid="k2"), ())
    assert publisher.asked == 2
    clock.advance(10)
    assert await authenticator.authenticate(token(OTHER, kid="k2"), ())
    with pytest.raises(InvalidToken):
        await authenticator.authenticate(token(), ())


async def test_another_issuers_documents_do_not_count(tmp_path: Path, clock: FakeClock) -> None:
    """Nor does a token of an issuer nobody has configured: it is left to the other authenticators."""
    publisher = Publisher(k1=KEY)
    publisher.issuer = "https://evil.example"
    with pytest.raises(InvalidToken, match="cannot be had"):
        await oidc(tmp_path, publisher, clock).authenticate(token(), ())
    assert await oidc(tmp_path, Publisher(k1=KEY), clock).authenticate(token(iss="https://evil.example"), ()) is None


async def test_required_claims(tmp_path: Path, clock: FakeClock) -> None:
    """claimValidationRules must match exactly; an e-mail address must not be known as unverified."""
    rules: Mapping[str, Any] = {"claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"}]}
    authenticator = oidc(tmp_path, Publisher(k1=KEY), clock, **rules)
    assert await authenticator.authenticate(token(hd="example.com"), ())
    for bad in (token(), token(hd="example.com.evil"), token(hd=["example.com"])):
        with pytest.raises(InvalidToken, match="'hd'"):
            await authenticator.authenticate(bad, ())
    mail = {"claimMappings": {"username": {"claim": "email", "prefix": ""}}}
    authenticator = oidc(tmp_path, Publisher(k1=KEY), clock, **mail)
    with pytest.raises(InvalidToken, match="not verified"):
        await authenticator.authenticate(token(email="a@b.c", email_verified=False), ())


async def test_expressions_name_the_user(tmp_path: Path, clock: FakeClock) -> None:
    """Username, groups, uid and extra from the claims; what is empty is left out."""
    mappings = {
        "username": {"expression": "claims.sub.lowerAscii() + '@' + claims.hd"},
        "groups": {"expression": "claims.roles.split(',').map(role, 'team:' + role)"},
        "uid": {"expression": "string(claims.number)"},
        "extra": [
            {"key": "example.org/tenant", "valueExpression": "claims.hd"},
            {"key": "example.org/none", "valueExpression": "''"},
        ],
    }
    authenticator = oidc(tmp_path, Publisher(k1=KEY), clock, claimMappings=mappings)
    found = await authenticator.authenticate(token(sub="Alice", hd="x.org", roles="a,b", number=7), ())
    assert found is not None
    assert (found.user.name, found.user.groups, found.user.uid) == ("alice@x.org", ("team:a", "team:b"), "7")
    assert found.user.extra["example.org/tenant"] == ("x.org",) and "example.org/none" not in found.user.extra
    for lacking in ({"sub": "Alice", "hd": "x.org", "number": 7}, {"sub": "Alice", "hd": 1, "roles": "", "number": 7}):
        with pytest.raises(InvalidToken, match=r"expression .* (error|gave)"):
            await authenticator.authenticate(token(**lacking), ())


async def test_rules_about_tokens_and_users(tmp_path: Path, clock: FakeClock) -> None:
    """An issuer that would name a component of the system, and a token that is not as it must be, get nobody in."""
    rules: Any = {
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}},
        "claimValidationRules": [{"expression": "claims.exp - claims.iat <= 86400", "message": "lives too long"}],
        "userValidationRules": [
            {"expression": "!user.username.startsWith('system:')", "message": "reserved name"},
            {"expression": "user.groups.all(group, !group.startsWith('system:'))", "message": "reserved group"},
        ],
    }
    authenticator = oidc(tmp_path, Publisher(k1=KEY), clock, **rules)
    now = int(clock.now().timestamp())
    assert await authenticator.authenticate(token(iat=now, exp=now + 60), ())
    for claims, why in (
        ({"iat": now - 90000, "exp": now + 60}, "lives too long"),
        ({"iat": now, "exp": now + 60, "sub": "system:admin"}, "reserved name"),
        ({"iat": now, "exp": now + 60, "groups": ["system:masters"]}, "reserved group"),
    ):
        with pytest.raises(InvalidToken, match=why):
            await authenticator.authenticate(token(**claims), ())


async def test_the_file_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    """Anonymous is shut out a second after the file says so; a file that is wrong opens nothing again."""
    file = Path(document(tmp_path, anonymous={"enabled": True}))
    async with api(authentication_config=str(file), authorization_mode=("RBAC",)) as server:
        assert (await server.get("/version")).status == 200
        document(tmp_path, anonymous={"enabled": False})
        async with asyncio.timeout(10):
            while (await server.get("/version")).status == 200:
                await asyncio.sleep(0.05)
        file.write_text("kind: Nonsense")
        await asyncio.sleep(1.1)
        assert (await server.get("/version")).status == 401


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (issuer(userValidationRules=[{"expression": "user.username"}]), "userValidationRules.0..expression: must"),
        (issuer(userValidationRules=[{"expression": "claims.sub == 'x'"}]), "undeclared reference to 'claims'"),
        (issuer(claimValidationRules=[{"claim": "a", "expression": "true"}]), "exactly one of claim and expression"),
        (issuer(claimValidationRules=[{"expression": "claims.hd =="}]), "compilation failed"),
        (issuer(claimMappings={"username": {"expression": "claims.email"}}), "claims.email_verified must be used"),
        (issuer(claimMappings={"username": {"claim": "a", "expression": "claims.b"}}), "can't both be set"),
        (issuer(claimMappings={"username": {"expression": "1"}}), "must evaluate to string"),
        (
            issuer(claimMappings={**NAMED, "extra": [{"key": "a.k8s.io/x", "valueExpression": "claims.a"}]}),
            "k8s.io are reserved",
        ),
        (issuer(claimMappings={**NAMED, "extra": [{"key": "team", "valueExpression": "claims.a"}]}), "domain/name"),
        (issuer(issuer={"url": URL, "discoveryURL": URL, "audiences": ["a"]}), "must be different from URL"),
        (issuer(claimMappings={"username": {"claim": "sub"}}), 'prefix: required when claim is set; it can be ""'),
        (issuer(claimMappings={"username": {"magic": "claims.sub"}}), "magic: unknown or not supported"),
        (issuer(issuer={"url": "http://issuer.example", "audiences": ["a"]}), "must be an https URL"),
        (issuer(issuer={"url": URL}), "audiences: at least one"),
        (issuer(issuer={"url": URL, "audiences": ["a", "b"]}), "audienceMatchPolicy"),
    ],
)
def test_what_cannot_be_enforced_is_refused_at_start(entry: Object, text: str, tmp_path: Path) -> None:
    """A server that dropped a rule silently would let somebody in."""
    with pytest.raises(ValueError, match=text):
        configuration.load(document(tmp_path, jwt_issuers=[entry]))


@pytest.mark.parametrize(
    ("flags", "name", "groups"),
    [
        ({}, f"{URL}#jane", ()),
        ({"oidc_username_prefix": "-", "oidc_groups_claim": "groups"}, "jane", ("dev",)),
        (
            {"oidc_username_prefix": "o:", "oidc_groups_claim": "groups", "oidc_groups_prefix": "o:"},
            "o:jane",
            ("o:dev",),
        ),
        ({"oidc_username_claim": "email"}, "j@example.com", ()),
        ({"oidc_required_claim": ("team=a", "hd=x")}, f"{URL}#jane", ()),
    ],
)
async def test_the_flags_of_before(flags: Any, name: str, groups: tuple[str, ...], clock: FakeClock) -> None:
    """--oidc-…: the same as a file with one issuer, with upstream's defaults."""
    config = Config(oidc_issuer_url=URL, oidc_client_id="cluster", **flags)
    [read] = configuration.of_flags(config)
    authenticator = OIDC(read, clock, Publisher(k1=KEY).fetch)
    sent = token(email="j@example.com", email_verified=True, team="a", hd="x")
    found = await authenticator.authenticate(sent, ())
    assert found is not None and (found.user.name, found.user.groups) == (name, groups)
    with pytest.raises(InvalidToken):
        await authenticator.authenticate(token(OTHER), ())


def test_flags_that_are_no_issuer() -> None:
    """Each names what is wrong."""
    with pytest.raises(ValueError, match="--oidc-client-id: required"):
        configuration.of_flags(Config(oidc_issuer_url=URL))
    with pytest.raises(ValueError, match=r"--oidc\.issuer\.url: must be an https URL"):
        configuration.of_flags(Config(oidc_issuer_url="http://x", oidc_client_id="a"))
    assert configuration.of_flags(Config()) == ()


async def test_anonymous_only_where_it_may_be(tmp_path: Path) -> None:
    """Health and version answer; everything else is 401 before authorization, tricks with the path included."""
    paths = ["/livez", "/readyz", "/healthz", "/version"]
    file = document(tmp_path, anonymous={"enabled": True, "conditions": [{"path": path} for path in paths]})
    async with api(authentication_config=file, authorization_mode=("RBAC",)) as server:
        for path in paths:
            assert (await server.get(path)).status == 200, path
        for path in (
            "/api",
            "/apis",
            "/",
            "/metrics",
            "/version/",
            "/livez/../api",
            "//livez",
            "/livez/etcd",
            "/openid/v1/jwks",
        ):
            assert (await server.get(path)).status == 401, path
