"""Tells in a ValidatingAdmissionPolicy's status what its expressions get wrong about the kinds that it is for.

Once for each generation of the policy, as upstream: a definition that changes later is not looked at again.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pynetes import apis
from pynetes.apis.admissionregistration import validatingadmissionpolicies
from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.machinery.meta import Key, Object


def told(policy: Object, definitions: Mapping[tuple[str, str], Object]) -> Object:
    """The policy with its findings; definitions are found by group and plural."""
    from pynetes.apis.admissionregistration import _typechecking as typechecking  # brings CEL, a library of 50 MB

    def find(group: str, version: str, plural: str) -> typechecking.Known | None:
        if (definition := definitions.get((group, plural))) is not None:
            return typechecking.custom(definition, version)
        return typechecking.built_in(group, version, plural)

    def params() -> Mapping[str, Any] | None:
        kind = policy["spec"].get("paramKind") or {}
        group, _, version = str(kind.get("apiVersion") or "").rpartition("/")
        known = apis.by_kind(kind["apiVersion"], kind["kind"]) if kind else None
        plural = known.plural if known is not None else _plural(definitions, group, kind.get("kind") or "")
        found = find(group, version, plural) if plural else None
        return found.schema if found is not None else None

    warnings = typechecking.warnings(policy, find, params())
    status = dict(policy.get("status") or {})
    status |= {"observedGeneration": policy["metadata"]["generation"]}
    status["typeChecking"] = {"expressionWarnings": warnings} if warnings else {}
    return {**policy, "status": status}


def _plural(definitions: Mapping[tuple[str, str], Object], group: str, kind: str) -> str:
    for (of, plural), definition in definitions.items():
        if of == group and definition["spec"]["names"]["kind"] == kind:
            return plural
    return ""


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    """Check a policy that is newer than what its status tells of."""
    policy = await ctx.cached(validatingadmissionpolicies.RESOURCE, key)
    if policy is None:
        return None
    if policy["metadata"].get("generation", 0) <= (policy.get("status") or {}).get("observedGeneration", 0):
        return None
    listed = ctx.listed(customresourcedefinitions.RESOURCE)
    definitions = {(each["spec"]["group"], each["spec"]["names"]["plural"]): each for each in listed}
    await ctx.update_status(validatingadmissionpolicies.RESOURCE, told(policy, definitions))
    return None


CONTROLLER = Controller(
    name="validatingadmissionpolicy-status-controller",
    reconcile=reconcile,
    watches=(
        Watch(validatingadmissionpolicies.RESOURCE),
        Watch(customresourcedefinitions.RESOURCE, keys=lambda _lookup, _new, _old: ()),
    ),
    rules=(
        Rule("validatingadmissionpolicies.admissionregistration.k8s.io", "get,list,watch"),
        Rule("validatingadmissionpolicies/status.admissionregistration.k8s.io", "get,patch,update"),
    ),
)
