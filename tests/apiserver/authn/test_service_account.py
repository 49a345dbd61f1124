"""ServiceAccount tokens: issued, verified, and refused as soon as anything about them is not so any more."""

import base64
import hmac
import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pynetes.apis.core import nodes, pods, secrets, serviceaccounts
from pynetes.apiserver.authn import service_account
from pynetes.apiserver.authn.service_account import Issuer, ServiceAccountTokens, Wanted
from pynetes.apiserver.authn.tokens import InvalidToken
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.pki import issue
from tests.apiserver.fakes import FakeClock, FakeObjects, obj

ISSUER = "https://kubernetes.default.svc"
AUDIENCES = (ISSUER,)


def rsa_pem() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return issue.private_pem(key)


@pytest.fixture(params=["ECDSA", "RSA"])
def issuer(request: pytest.FixtureRequest) -> Issuer:
    return Issuer(ISSUER, rsa_pem() if request.param == "RSA" else issue.private_pem(issue.new_key()))


class World:
    """An account, a pod of its, and a verifier."""

    def __init__(self, issuer: Issuer) -> None:
        self.objects, self.clock, self.issuer = FakeObjects(), FakeClock(), issuer
        self.account = self.objects.put(serviceaccounts.RESOURCE, obj(serviceaccounts.RESOURCE, "web", "shop"))
        spec = {"serviceAccountName": "web", "containers": []}
        self.pod = self.objects.put(pods.RESOURCE, obj(pods.RESOURCE, "web-0", "shop", spec=spec))
        self.tokens = ServiceAccountTokens((ISSUER,), (issuer.public_key,), self.objects, self.clock)

    def token(
        self, *, bound: tuple[str, Object] | None = None, seconds: int = 3600, audiences: tuple[str, ...] = AUDIENCES
    ) -> str:
        wanted = Wanted(account=self.account, audiences=audiences, seconds=seconds, bound=bound)
        return self.issuer.issue(wanted, self.clock.now())


async def test_user(issuer: Issuer) -> None:
    """A token makes the account's user, with its groups, uid and the pod it is bound to."""
    world = World(issuer)
    found = await world.tokens.authenticate(world.token(bound=("pod", world.pod)), AUDIENCES)
    assert found is not None
    assert found.user.name == "system:serviceaccount:shop:web"
    assert found.user.uid == world.account["metadata"]["uid"]
    assert found.user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop")
    assert found.user.extra["authentication.kubernetes.io/pod-name"] == ("web-0",)


async def test_expiry(issuer: Issuer) -> None:
    """A token that was good a moment ago, and is remembered as such, is refused once its time is over."""
    world = World(issuer)
    token = world.token(seconds=600)
    assert await world.tokens.authenticate(token, AUDIENCES)
    world.clock.advance(600)
    with pytest.raises(InvalidToken, match="expired"):
        await world.tokens.authenticate(token, AUDIENCES)


async def test_audience(issuer: Issuer) -> None:
    """A token for somebody else is no token here."""
    world = World(issuer)
    with pytest.raises(InvalidToken, match="not for"):
        await world.tokens.authenticate(world.token(audiences=("vault",)), AUDIENCES)


async def test_account_deleted_or_remade(issuer: Issuer) -> None:
    """The token ends with its account; a namesake does not bring it back."""
    world = World(issuer)
    token = world.token()
    assert await world.tokens.authenticate(token, AUDIENCES)
    world.objects.remove(serviceaccounts.RESOURCE, Key("shop", "web"))
    with pytest.raises(InvalidToken, match="is gone"):
        await world.tokens.authenticate(token, AUDIENCES)
    world.objects.put(serviceaccounts.RESOURCE, obj(serviceaccounts.RESOURCE, "web", "shop"))
    with pytest.raises(InvalidToken, match="is not the one"):
        await world.tokens.authenticate(token, AUDIENCES)


async def test_bound_pod_deleted(issuer: Issuer) -> None:
    """A pod's token ends with the pod, at the latest a minute after its deletion time."""
    world = World(issuer)
    token = world.token(bound=("pod", world.pod))
    marked = {**world.pod, "metadata": {**world.pod["metadata"], "deletionTimestamp": "2026-01-02T03:04:05Z"}}
    world.objects.put(pods.RESOURCE, marked)
    assert await world.tokens.authenticate(token, AUDIENCES)
    world.clock.advance(61)
    with pytest.raises(InvalidToken, match="has been deleted"):
        await world.tokens.authenticate(token, AUDIENCES)
    world.objects.remove(pods.RESOURCE, Key("shop", "web-0"))
    with pytest.raises(InvalidToken, match="is gone"):
        await world.tokens.authenticate(token, AUDIENCES)


@pytest.mark.parametrize(("kind", "resource"), [("node", nodes.RESOURCE), ("secret", secrets.RESOURCE)])
async def test_bound_node_or_secret_deleted(issuer: Issuer, kind: str, resource: Resource) -> None:
    """A token ends with the node or the Secret that it is bound to; a namesake does not bring it back."""
    world, namespace = World(issuer), "" if kind == "node" else "shop"
    held = world.objects.put(resource, obj(resource, "held", namespace))
    token = world.token(bound=(kind, held))
    assert await world.tokens.authenticate(token, AUDIENCES)
    world.objects.remove(resource, Key(namespace, "held"))
    with pytest.raises(InvalidToken, match="is gone"):
        await world.tokens.authenticate(token, AUDIENCES)
    again = obj(resource, "held", namespace)
    again["metadata"]["uid"] = "another"
    world.objects.put(resource, again)
    with pytest.raises(InvalidToken, match="is not the one"):
        await world.tokens.authenticate(token, AUDIENCES)


async def test_keys_are_rotated(issuer: Issuer) -> None:
    """Old tokens count while the old key is among those that verify, and not a moment longer."""
    world = World(issuer)
    token, following = world.token(), Issuer(ISSUER, issue.private_pem(issue.new_key()))
    both = ServiceAccountTokens((ISSUER,), (following.public_key, issuer.public_key), world.objects, world.clock)
    assert await both.authenticate(token, AUDIENCES)
    world.issuer = following
    assert await both.authenticate(world.token(), AUDIENCES)
    after = ServiceAccountTokens((ISSUER,), (following.public_key,), world.objects, world.clock)
    assert await after.authenticate(world.token(), AUDIENCES)
    with pytest.raises(InvalidToken, match="no key of this server"):
        await after.authenticate(token, AUDIENCES)


async def test_forged_signature(issuer: Issuer) -> None:
    """Another key's signature does not count, whatever kid it claims."""
    world = World(issuer)
    forged = Issuer(ISSUER, issue.private_pem(issue.new_key()))
    token = forged.issue(Wanted(account=world.account, audiences=AUDIENCES, seconds=3600), world.clock.now())
    with pytest.raises(InvalidToken, match="no key"):
        await world.tokens.authenticate(token, AUDIENCES)
    claims = jwt.decode(token, options={"verify_signature": False})
    headers = {"kid": service_account.key_id(issuer.public_key)}
    key = issue.new_key()
    with pytest.raises(InvalidToken, match="no key"):
        await world.tokens.authenticate(jwt.encode(claims, key, algorithm="ES256", headers=headers), AUDIENCES)


async def test_unsigned_and_confused_algorithms(issuer: Issuer) -> None:
    """alg none, and HMAC with the public key as secret, are the classic forgeries."""
    world = World(issuer)
    claims = jwt.decode(world.token(), options={"verify_signature": False})
    with pytest.raises(InvalidToken):
        await world.tokens.authenticate(jwt.encode(claims, None, algorithm="none"), AUDIENCES)
    public = issuer.public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = {"alg": "HS256", "typ": "JWT", "kid": service_account.key_id(issuer.public_key)}
    signed = ".".join(encoded(part) for part in (head, claims))
    digest = hmac.digest(public, signed.encode(), "sha256")
    forged = f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    with pytest.raises(InvalidToken):
        await world.tokens.authenticate(forged, AUDIENCES)


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def test_changed_claims(issuer: Issuer) -> None:
    """Claims changed under a good signature are noticed."""
    world = World(issuer)
    header, payload, signature = world.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = "system:serviceaccount:kube-system:admin"
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidToken):
        await world.tokens.authenticate(f"{header}.{changed}.{signature}", AUDIENCES)


@pytest.mark.parametrize("token", ["", "a.b.c", "a.b", "....", "e30.e30.e30", "x" * 9000])
async def test_garbage_is_somebody_elses(issuer: Issuer, token: str) -> None:
    """What is no token of ours is left to other authenticators, without an exception."""
    assert await World(issuer).tokens.authenticate(token, AUDIENCES) is None


async def test_brackets_in_brackets_are_no_token(issuer: Issuer) -> None:
    """A payload that the parser cannot follow to its end is no failure of the server's."""
    payload = base64.urlsafe_b64encode(b"[" * 40_000).decode()
    assert await World(issuer).tokens.authenticate(f"x.{payload}.y", AUDIENCES) is None


def test_jwks_verifies_tokens(issuer: Issuer) -> None:
    """The published keys verify what the server signs, for those who check tokens elsewhere."""
    world = World(issuer)
    keys = jwt.PyJWKSet.from_dict(service_account.jwks([issuer.public_key]))
    token = world.token()
    key = keys[jwt.get_unverified_header(token)["kid"]]
    options: dict[str, bool] = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims = jwt.decode(token, key.key, algorithms=[key.algorithm_name], audience=ISSUER, options=options)
    assert claims["iss"] == ISSUER


def test_public_key_files(tmp_path: Path, issuer: Issuer) -> None:
    """sa.pub and sa.key both do."""
    path = tmp_path / "sa.pub"
    path.write_bytes(
        issuer.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    assert service_account.load_public(str(path)) == issuer.public_key
