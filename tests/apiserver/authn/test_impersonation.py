"""Impersonation: only by right, of exactly whom, and for no longer than one's own credential."""

import pytest

from pynetes.apis.rbac import clusterrolebindings, clusterroles
from pynetes.apiserver.authn import impersonation
from pynetes.apiserver.authn.impersonation import Impersonation, Wanted
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz.attributes import Attributes
from pynetes.apiserver.authz.union import Modes
from pynetes.apiserver.http import Headers
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from tests.apiserver.fakes import ADMIN, FakeObjects, obj

ALICE = User("alice", groups=("system:authenticated",), expires=1000.0)

BOBS = {"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users"]}


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


def grant(objects: FakeObjects, *rules: Object) -> None:
    objects.put(clusterroles.RESOURCE, obj(clusterroles.RESOURCE, "r", rules=list(rules)))
    ref = {"kind": "ClusterRole", "name": "r"}
    subjects = [{"kind": "User", "name": "alice"}]
    objects.put(clusterrolebindings.RESOURCE, obj(clusterrolebindings.RESOURCE, "r", roleRef=ref, subjects=subjects))


def rule(verb: str, resource: str, *names: str, group: str = "") -> Object:
    made: Object = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
    return {**made, "resourceNames": list(names)} if names else made


async def become(objects: FakeObjects, who: Wanted, *, user: User = ALICE, verb: str = "list") -> User:
    asked = Attributes(user=user, verb=verb, resource="configmaps", namespace="shop", version="v1")
    return await Impersonation(Modes(("Node", "RBAC"), objects)).user(who, asked)


async def test_nobody_without_a_right(objects: FakeObjects) -> None:
    """The message names the narrowest right that would do."""
    with pytest.raises(StatusError, match="cannot impersonate-on:user-info:list resource"):
        await become(objects, Wanted("bob"))


async def test_by_name(objects: FakeObjects) -> None:
    """A right to be bob is none to be carol, nor to be in bob's groups."""
    grant(objects, rule("impersonate", "users", "bob"))
    user = await become(objects, Wanted("bob"))
    assert (user.name, user.groups, user.expires) == ("bob", ("system:authenticated",), 1000.0)
    for who in (Wanted("carol"), Wanted("bob", groups=("system:masters",)), Wanted("bob", uid="1")):
        with pytest.raises(StatusError):
            await become(objects, who)


async def test_extra_is_asked_by_key(objects: FakeObjects) -> None:
    """Each extra value is a right of its own: userextras/KEY."""
    grant(
        objects, rule("impersonate", "users"), rule("impersonate", "userextras/scopes", group="authentication.k8s.io")
    )
    await become(objects, Wanted("bob", extra={"scopes": ("view",)}))
    with pytest.raises(StatusError):
        await become(objects, Wanted("bob", extra={"other": ("view",)}))


async def test_uid_is_a_right_of_its_own(objects: FakeObjects) -> None:
    """Of exactly that one; the impersonated user has no UID but the one that was asked for."""
    grant(objects, rule("impersonate", "users"), rule("impersonate", "uids", "7", group="authentication.k8s.io"))
    assert (await become(objects, Wanted("bob", uid="7"))).uid == "7"
    assert (await become(objects, Wanted("bob"))).uid == ""
    with pytest.raises(StatusError):
        await become(objects, Wanted("bob", uid="8"))


async def test_constrained(objects: FakeObjects) -> None:
    """The constrained right holds for the action it names, and needs the identity as well."""
    identity = rule("impersonate:user-info", "users", "bob", group="authentication.k8s.io")
    grant(objects, identity, rule("impersonate-on:user-info:list", "configmaps"))
    assert (await become(objects, Wanted("bob"))).name == "bob"
    with pytest.raises(StatusError):
        await become(objects, Wanted("bob"), verb="delete")
    grant(objects, rule("impersonate-on:user-info:list", "configmaps"))
    with pytest.raises(StatusError):
        await become(objects, Wanted("bob"))


async def test_constrained_right_reaches_no_masters(objects: FakeObjects) -> None:
    """system:masters, nodes and service accounts are not to be had as ordinary users."""
    everybody = rule("impersonate:user-info", "users", group="authentication.k8s.io")
    groups = rule("impersonate:user-info", "groups", group="authentication.k8s.io")
    grant(objects, everybody, groups, rule("impersonate-on:user-info:list", "configmaps"))
    await become(objects, Wanted("bob", groups=("dev",)))
    for who in (
        Wanted("bob", groups=("system:masters",)),
        Wanted("system:node:n1"),
        Wanted("system:serviceaccount:kube-system:admin"),
    ):
        with pytest.raises(StatusError):
            await become(objects, who)


async def test_service_account_gets_its_groups(objects: FakeObjects) -> None:
    """An impersonated account is in the groups that its token would bring."""
    user = await become(objects, Wanted("system:serviceaccount:shop:web"), user=ADMIN)
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")


def test_headers() -> None:
    """All of them are read, unescaped, and removed."""
    headers = Headers(
        [
            ("Impersonate-User", "bob"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
            ("Impersonate-Extra-Acme%2Fscope", "x"),
        ]
    )
    who = impersonation.wanted(headers)
    assert who == Wanted("bob", groups=("a", "b"), extra={"acme/scope": ("x",)})
    impersonation.strip(headers)
    assert not headers


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (("Impersonate-Group", "g"), 'UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)'),
        (("Impersonate-Uid", "5"), 'UID:"5", Groups:[]string(nil), Extra:map[string][]string(nil)'),
        (
            ("Impersonate-Extra-Scope", "x"),
            'UID:"", Groups:[]string(nil), Extra:map[string][]string{"scope":[]string{"x"}}',
        ),
    ],
)
def test_headers_without_a_user(header: tuple[str, str], shown: str) -> None:
    """Headers that would be ignored are an error of the client's instead, in upstream's words."""
    with pytest.raises(StatusError) as refused:
        impersonation.wanted(Headers([header]))
    text = f'requested &user.DefaultInfo{{Name:"", {shown}}} without impersonating a user name'
    assert (refused.value.code, str(refused.value)) == (400, text)


@pytest.mark.parametrize(
    ("who", "told"),
    [
        (Wanted("bob", groups=("system:masters",)), "impersonating the system:masters group is not allowed"),
        (Wanted("bob", groups=("",)), "impersonating the empty string group is not allowed"),
        (Wanted("bob", extra={"": ("x",)}), "impersonating the empty string key in extra is not allowed"),
        (Wanted("bob", extra={"a": ("",)}), "impersonating the empty string value in extra is not allowed"),
    ],
)
async def test_what_no_constrained_mode_allows(objects: FakeObjects, who: Wanted, told: str) -> None:
    """Whatever the rules say; the old right is asked for as well, and the first refusal is told."""
    grant(objects, BOBS, rule("impersonate-on:user-info:list", "configmaps"))
    with pytest.raises(StatusError, match=told):
        await become(objects, who)


async def test_many_groups_are_asked_for_at_once(objects: FakeObjects) -> None:
    """From four on, a rule about all names is enough for a user who may name none of them."""
    every = rule("impersonate:user-info", "groups", "*", group="authentication.k8s.io")
    grant(objects, BOBS, every, rule("impersonate-on:user-info:list", "configmaps"))
    user = await become(objects, Wanted("bob", groups=("a", "b", "c", "d")))
    assert user.groups[:4] == ("a", "b", "c", "d")
    with pytest.raises(StatusError):
        await become(objects, Wanted("bob", groups=("a", "b")))
