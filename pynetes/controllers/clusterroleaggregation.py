"""Fills ClusterRoles that have an aggregationRule with the rules of all ClusterRoles their selectors find."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pynetes.apis.rbac import clusterroles
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.machinery import labels
from pynetes.machinery.meta import Key, Object


def is_aggregated(role: Object) -> bool:
    """Whether its rules come from others."""
    return bool(role.get("aggregationRule"))


def aggregate(role: Object, roles: Sequence[Object]) -> list[Object]:
    """The rules of the roles that the selectors find, in order of name, each once."""
    rules: list[Object] = []
    ordered = sorted(roles, key=lambda each: str(each["metadata"]["name"]))
    for selector in map(labels.from_label_selector, role["aggregationRule"].get("clusterRoleSelectors") or ()):
        for other in ordered:
            if other["metadata"]["name"] == role["metadata"]["name"]:
                continue
            if selector.matches(other["metadata"].get("labels")):
                rules += (rule for rule in other.get("rules") or () if rule not in rules)
    return rules


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    role = await ctx.cached(clusterroles.RESOURCE, key)
    if role is None or not is_aggregated(role):
        return None
    rules = aggregate(role, ctx.listed(clusterroles.RESOURCE))
    if rules != (role.get("rules") or []):
        await ctx.update(clusterroles.RESOURCE, role | {"rules": rules})
    return None


def aggregated(lookup: Lookup, _role: Object, _old: Object | None) -> Iterator[Key]:
    """Any change of a role wakes all aggregated ones; there are few."""
    for role in lookup.listed(clusterroles.RESOURCE):
        if is_aggregated(role):
            yield Key("", role["metadata"]["name"])


CONTROLLER = Controller(
    name="clusterrole-aggregation-controller",
    reconcile=reconcile,
    watches=(Watch(clusterroles.RESOURCE, keys=aggregated),),
    rules=(Rule("clusterroles.rbac.authorization.k8s.io", "escalate,get,list,patch,update,watch"),),
)
