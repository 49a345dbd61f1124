"""Authentication as a whole: which credential counts, and that a bad one is never taken for none."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pynetes.apis.core import secrets
from pynetes.apiserver.authn import union
from pynetes.apiserver.authn.union import Authentication
from pynetes.apiserver.config import Config
from pynetes.apiserver.http import Request, request
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.errors import StatusError
from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, FRONT_PROXY_CA, Leaf
from tests.apiserver.fakes import FakeClock, FakeObjects, obj

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CA = issue.authority("kubernetes", NOW - timedelta(days=1))
PROXY_CA = issue.authority("front-proxy-ca", NOW - timedelta(days=1))


def certificate(
    name: str, *groups: str, ca: issue.Issued = CA, client: bool = True, life: timedelta = timedelta(days=9)
) -> bytes:
    """A client's certificate as TLS hands it over."""
    authority = CLUSTER_CA if ca is CA else FRONT_PROXY_CA
    wanted = Leaf("x", authority, name, groups, client=client, server=not client)
    made = issue.leaf(wanted, ca, NOW, life=life)
    return made.certificate.public_bytes(serialization.Encoding.DER)


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def authentication(tmp_path: Path, objects: FakeObjects, clock: FakeClock) -> Authentication:
    (tmp_path / "ca.crt").write_bytes(CA.certificate_pem)
    (tmp_path / "proxy.crt").write_bytes(PROXY_CA.certificate_pem)
    (tmp_path / "tokens").write_text('secret-token,alice,2,"dev,ops"\n')
    config = Config(
        client_ca_file=str(tmp_path / "ca.crt"),
        requestheader_client_ca_file=str(tmp_path / "proxy.crt"),
        requestheader_allowed_names=("front-proxy-client",),
        requestheader_uid_headers=("X-Remote-Uid",),
        token_auth_file=str(tmp_path / "tokens"),
        enable_bootstrap_token_auth=True,
    )
    return union.build(config, objects, clock)


def get(peer: bytes | None = None, **headers: str) -> Request:
    made = request("GET", "/api", headers={name.replace("_", "-"): value for name, value in headers.items()})
    made.peer_certificate = peer
    return made


async def test_certificate(authentication: Authentication) -> None:
    """CN and O become user and groups, and everybody who is somebody is in system:authenticated."""
    user = await authentication.authenticate(get(certificate("kubernetes-admin", "system:masters")))
    assert user.name == "kubernetes-admin"
    assert user.groups == ("system:masters", "system:authenticated")


async def test_certificate_expires_under_an_open_connection(authentication: Authentication, clock: FakeClock) -> None:
    """TLS looked at the certificate once; we look every time."""
    peer = certificate("bob", life=timedelta(hours=1))
    assert (await authentication.authenticate(get(peer))).name == "bob"
    clock.advance(3601)
    with pytest.raises(StatusError, match="Unauthorized"):
        await authentication.authenticate(get(peer))
    request = get(peer, authorization="Bearer secret-token")
    assert (await authentication.authenticate(request)).name == "alice"


async def test_metrics_tell_which_certificates_soon_end(authentication: Authentication) -> None:
    """Before they are refused; those that are refused are not counted."""
    name = "apiserver_client_certificate_expiration_seconds"

    def counted() -> tuple[float, float]:
        lines = dict(line.rsplit(" ", 1) for line in REGISTRY.text().splitlines() if line.startswith(name))
        return float(lines[f'{name}_bucket{{le="3600"}}']), float(lines[f"{name}_count"])

    soon, late = certificate("bob", life=timedelta(hours=1)), certificate("eve")
    await authentication.authenticate(get(late))
    before = counted()
    await authentication.authenticate(get(soon))
    with pytest.raises(StatusError):
        await authentication.authenticate(get(certificate("x", client=False)))
    after = counted()
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


async def test_certificate_of_the_proxies_authority_names_no_user(authentication: Authentication) -> None:
    """TLS trusts the front proxies' authority as well; a certificate of its is nobody's identity."""
    peer = certificate("kubernetes-admin", "system:masters", ca=PROXY_CA)
    with pytest.raises(StatusError, match="Unauthorized"):
        await authentication.authenticate(get(peer))


async def test_serving_certificate_is_no_client(authentication: Authentication) -> None:
    """A certificate for servers does not authenticate."""
    peer = certificate("system:node:n1", "system:nodes", client=False)
    with pytest.raises(StatusError, match="Unauthorized"):
        await authentication.authenticate(get(peer))


async def test_client_ca_is_reloaded(tmp_path: Path, authentication: Authentication) -> None:
    """A new authority counts, and the old one no longer, without a restart."""
    peer = certificate("bob")
    assert (await authentication.authenticate(get(peer))).name == "bob"
    (tmp_path / "ca.crt").write_bytes(issue.authority("kubernetes", NOW).certificate_pem)
    with pytest.raises(StatusError, match="Unauthorized"):
        await authentication.authenticate(get(peer))
    (tmp_path / "ca.crt").write_bytes(CA.certificate_pem + PROXY_CA.certificate_pem)
    assert (await authentication.authenticate(get(peer))).name == "bob"


async def test_headers_without_the_proxy(authentication: Authentication) -> None:
    """X-Remote-User from anybody else is ignored, and gone for whatever comes after."""
    for peer, name in ((None, "system:anonymous"), (certificate("bob"), "bob")):
        sent = get(peer, X_Remote_User="kubernetes-admin", X_Remote_Group="system:masters", X_Remote_Extra_A="1")
        user = await authentication.authenticate(sent)
        assert user.name == name and "system:masters" not in user.groups
        assert not [name for name in sent.headers if name.startswith("x-remote-")]
    with pytest.raises(StatusError, match="Unauthorized"):
        await authentication.authenticate(get(certificate("somebody", ca=PROXY_CA), X_Remote_User="kubernetes-admin"))


async def test_front_proxy(authentication: Authentication) -> None:
    """The proxy's own certificate lets its headers count."""
    peer = certificate("front-proxy-client", ca=PROXY_CA)
    sent = get(peer, X_Remote_User="carol", X_Remote_Group="dev", X_Remote_Uid="7")
    user = await authentication.authenticate(sent)
    assert (user.name, user.groups, user.uid) == ("carol", ("dev", "system:authenticated"), "7")
    assert "x-remote-uid" not in sent.headers


async def test_static_token(authentication: Authentication) -> None:
    """The token is taken out of the headers once it is used."""
    sent = get(authorization="Bearer secret-token")
    user = await authentication.authenticate(sent)
    assert (user.name, user.uid, user.groups) == ("alice", "2", ("dev", "ops", "system:authenticated"))
    assert "authorization" not in sent.headers


@pytest.mark.parametrize("value", ["Bearer wrong", "Bearer secret-toke", "Bearer secret-token2", "bearer a.b.c"])
async def test_bad_token_is_not_anonymous(authentication: Authentication, value: str) -> None:
    """A token nobody accepts ends the request."""
    with pytest.raises(StatusError) as caught:
        await authentication.authenticate(get(authorization=value))
    assert caught.value.code == 401


@pytest.mark.parametrize("value", ["", "Basic YTpi", "Bearer", "Bearer  "])
async def test_no_credentials(authentication: Authentication, value: str) -> None:
    """Other schemes are no credentials here."""
    user = await authentication.authenticate(get(authorization=value))
    assert (user.name, user.groups) == ("system:anonymous", ("system:unauthenticated",))


def bootstrap_secret(**data: str) -> dict[str, object]:
    given = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "expiration": "2026-01-03T00:00:00Z",
        **{name.replace("_", "-"): value for name, value in data.items()},
    }
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in given.items()}
    return obj(
        secrets.RESOURCE,
        "bootstrap-token-abcdef",
        "kube-system",
        type="bootstrap.kubernetes.io/token",
        data=encoded,
    )


async def test_bootstrap_token(authentication: Authentication, objects: FakeObjects) -> None:
    """A node that joins is in system:bootstrappers and the groups its token names."""
    extra = "system:bootstrappers:kubeadm:default-node-token"
    objects.put(secrets.RESOURCE, bootstrap_secret(auth_extra_groups=extra))
    user = await authentication.authenticate(get(authorization="Bearer abcdef.0123456789abcdef"))
    assert user.name == "system:bootstrap:abcdef"
    assert user.groups == ("system:bootstrappers", extra, "system:authenticated")


@pytest.mark.parametrize(
    "changed",
    [
        {"expiration": "2026-01-01T00:00:00Z"},
        {"expiration": "soon"},
        {"usage_bootstrap_authentication": "false"},
        {"token_secret": "fedcba9876543210"},
        {"auth_extra_groups": "system:masters"},
        {"auth_extra_groups": "system:bootstrappers:a,system:masters"},
    ],
)
async def test_bad_bootstrap_tokens(
    authentication: Authentication, objects: FakeObjects, changed: dict[str, str]
) -> None:
    """Expired, for another use, with another secret, or reaching for other groups: refused."""
    objects.put(secrets.RESOURCE, bootstrap_secret(**changed))
    with pytest.raises(StatusError):
        await authentication.authenticate(get(authorization="Bearer abcdef.0123456789abcdef"))


async def test_without_anonymous(tmp_path: Path, objects: FakeObjects, clock: FakeClock) -> None:
    """--anonymous-auth=false refuses whoever brings nothing."""
    closed = union.build(Config(anonymous_auth=False), objects, clock)
    with pytest.raises(StatusError):
        await closed.authenticate(get())
