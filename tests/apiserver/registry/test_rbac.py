"""Nobody grants what they do not hold."""

import pytest

from pynetes.apis.rbac import clusterroles, rolebindings, roles
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.rbac import BindingStrategy, RoleStrategy
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from tests.apiserver.fakes import ADMIN, context, obj

ALICE = User("alice", groups=("system:authenticated",))
PODS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
SECRETS = {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}
GROUP = "rbac.authorization.k8s.io"


@pytest.fixture
def ctx() -> Context:
    """Alice may get pods in shop."""
    made = context()
    give(made, "mine", [PODS])
    return made


def give(ctx: Context, name: str, rules: list[Object]) -> None:
    ctx.objects.put(roles.RESOURCE, obj(roles.RESOURCE, name, "shop", rules=rules))  # type: ignore[attr-defined]
    made = binding(name, "Role", name)
    made["subjects"] = [{"kind": "User", "name": "alice"}]
    ctx.objects.put(rolebindings.RESOURCE, made)  # type: ignore[attr-defined]


def binding(name: str, kind: str, role: str) -> Object:
    ref = {"apiGroup": GROUP, "kind": kind, "name": role}
    return obj(rolebindings.RESOURCE, name, "shop", roleRef=ref, subjects=[])


async def write_role(ctx: Context, user: User, rules: list[Object], old: Object | None = None, **more: object) -> None:
    new = obj(roles.RESOURCE, "new", "shop", rules=rules, **more)
    operation = UPDATE if old else CREATE
    asked = Attributes(user=user, operation=operation, resource=roles.RESOURCE, namespace="shop", obj=new, old=old)
    await RoleStrategy().before(ctx, asked)


async def write_binding(ctx: Context, user: User, kind: str, role: str) -> None:
    new = binding("new", kind, role)
    asked = Attributes(user=user, operation=CREATE, resource=rolebindings.RESOURCE, namespace="shop", obj=new)
    await BindingStrategy().before(ctx, asked)


async def test_within_ones_rights(ctx: Context) -> None:
    """What one holds may be handed on."""
    await write_role(ctx, ALICE, [PODS])
    await write_binding(ctx, ALICE, "Role", "mine")


async def test_beyond_ones_rights(ctx: Context) -> None:
    """The message lists exactly what is missing."""
    with pytest.raises(StatusError) as caught:
        await write_role(ctx, ALICE, [PODS, SECRETS])
    assert caught.value.status["message"] == (
        'roles.rbac.authorization.k8s.io "new" is forbidden: user "alice" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'
    )


async def test_binding_a_stronger_role(ctx: Context) -> None:
    """A role of others cannot be bound to oneself, nor cluster-admin in one's namespace."""
    ctx.objects.put(roles.RESOURCE, obj(roles.RESOURCE, "strong", "shop", rules=[SECRETS]))  # type: ignore[attr-defined]
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    admin = obj(clusterroles.RESOURCE, "cluster-admin", rules=[everything])
    ctx.objects.put(clusterroles.RESOURCE, admin)  # type: ignore[attr-defined]
    for kind, name in (("Role", "strong"), ("ClusterRole", "cluster-admin")):
        with pytest.raises(StatusError, match="not currently held"):
            await write_binding(ctx, ALICE, kind, name)


async def test_update_is_checked_like_create(ctx: Context) -> None:
    """A harmless role does not become a strong one."""
    old = obj(roles.RESOURCE, "new", "shop", rules=[PODS])
    with pytest.raises(StatusError, match="not currently held"):
        await write_role(ctx, ALICE, [SECRETS], old)


async def test_garbage_collection_needs_no_rights(ctx: Context) -> None:
    """Removing a finalizer or an owner of a strong role is no grant."""
    old = obj(roles.RESOURCE, "new", "shop", rules=[SECRETS], metadata={"finalizers": ["a"]})
    await write_role(ctx, ALICE, [SECRETS], old)


async def test_escalate_and_bind(ctx: Context) -> None:
    """The two verbs lift the checks, each its own."""
    give(ctx, "esc", [{"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["roles"]}])
    ctx.objects.put(roles.RESOURCE, obj(roles.RESOURCE, "strong", "shop", rules=[SECRETS]))  # type: ignore[attr-defined]
    await write_role(ctx, ALICE, [SECRETS])
    with pytest.raises(StatusError):
        await write_binding(ctx, ALICE, "Role", "strong")
    names = {"resourceNames": ["strong"]}
    give(ctx, "bind", [{"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["roles"], **names}])
    await write_binding(ctx, ALICE, "Role", "strong")
    with pytest.raises(StatusError) as caught:
        await write_binding(ctx, ALICE, "Role", "nope")
    assert caught.value.code == 404


async def test_masters(ctx: Context) -> None:
    """system:masters is how a cluster is repaired."""
    await write_role(ctx, ADMIN, [SECRETS])
    await write_binding(ctx, ADMIN, "Role", "nope")
