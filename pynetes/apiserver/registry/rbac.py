"""Roles and bindings: nobody grants what they do not hold, unless they may escalate or bind.

Checked here and not in admission, as upstream does: it holds whatever plugins are turned off.
"""

from collections.abc import Sequence

from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.authn.user import MASTERS
from pynetes.apiserver.authz import attributes as authz
from pynetes.apiserver.authz import rules
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry.call import Allocation
from pynetes.machinery import errors, field
from pynetes.machinery.meta import Object

GROUP = "rbac.authorization.k8s.io"
EVERYTHING = ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]})


class RoleStrategy:
    """Roles and ClusterRoles."""

    async def before(self, ctx: Context, attributes: Attributes) -> Allocation | None:
        """Raises 403 when the role grants more than the user holds."""
        role, old = attributes.obj, attributes.old
        if ctx.rbac is None or role is None or await _exempt(ctx, attributes, "escalate"):
            return None
        if old is not None and _only_collected(role, old):
            return None
        aggregation = role.get("aggregationRule")
        if aggregation is not None and not _held(ctx, attributes, EVERYTHING):
            raise attributes.forbidden("must have cluster-admin privileges to use the aggregationRule")
        confirm(ctx, attributes, role.get("rules") or ())
        return None

    async def after(self, ctx: Context, attributes: Attributes) -> None:
        """Nothing is held."""


class BindingStrategy:
    """RoleBindings and ClusterRoleBindings."""

    async def before(self, ctx: Context, attributes: Attributes) -> Allocation | None:
        """Raises 403 when the bound role grants more than the user holds, 404 when it is not there to be looked at."""
        binding, old = attributes.obj, attributes.old
        if ctx.rbac is None or binding is None or (old is not None and _only_collected(binding, old)):
            return None
        ref = binding.get("roleRef") or {}
        if not ref.get("name") or ref.get("kind") not in ("Role", "ClusterRole"):
            # Validation refuses it.
            return None
        if await _exempt(ctx, attributes, "bind", ref):
            return None
        granted = ctx.rbac.role_rules(ref, attributes.namespace)
        if granted is None:
            # Upstream names the binding's kind here, with the role's name.
            raise errors.not_found(attributes.resource.plural, GROUP, ref["name"])
        confirm(ctx, attributes, granted)
        return None

    async def after(self, ctx: Context, attributes: Attributes) -> None:
        """Nothing is held."""


async def _exempt(ctx: Context, attributes: Attributes, verb: str, ref: Object | None = None) -> bool:
    """Whether the user passes without comparison: system:masters, or the right to escalate or to bind this role."""
    if MASTERS in attributes.user.groups:
        return True
    plural = attributes.resource.plural
    if ref is not None:
        plural = "clusterroles" if ref["kind"] == "ClusterRole" else "roles"
    name = ref["name"] if ref is not None else attributes.name or ((attributes.obj or {})["metadata"].get("name") or "")
    question = authz.Attributes(
        user=attributes.user,
        verb=verb,
        group=GROUP,
        version="*",
        resource=plural,
        namespace=attributes.namespace,
        name=name,
    )
    return (await ctx.authorizer.authorize(question)).allowed


def _only_collected(new: Object, old: Object) -> bool:
    """Whether only metadata of the garbage collector changes: it must work without holding every right."""
    ignored = ("ownerReferences", "finalizers", "resourceVersion", "generation", "managedFields")

    def rest(obj: Object) -> Object:
        metadata = {name: value for name, value in obj["metadata"].items() if name not in ignored}
        return {**obj, "metadata": metadata}

    return rest(new) == rest(old)


def _held(ctx: Context, attributes: Attributes, wanted: tuple[Object, ...]) -> bool:
    assert ctx.rbac is not None
    held = ctx.rbac.held(attributes.user, attributes.namespace)
    return not rules.missing([rule for rule, _ in held.rules], wanted)


def confirm(ctx: Context, attributes: Attributes, wanted: Sequence[Object]) -> None:
    """Raises 403, listing every missing right, unless the user holds all of `wanted`."""
    assert ctx.rbac is not None
    user, held = attributes.user, ctx.rbac.held(attributes.user, attributes.namespace)
    lacking = rules.missing([rule for rule, _ in held.rules], wanted)
    if not lacking:
        return
    groups = rules.go_list(user.groups)
    text = (
        f"user {field.quote(user.name)} (groups={groups}) is attempting to grant RBAC permissions not currently held:\n"
    )
    text += rules.describe(lacking)
    if held.errors:
        text += f"; resolution errors: [{', '.join(held.errors)}]"
    raise attributes.forbidden(text)
