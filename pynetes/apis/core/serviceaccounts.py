"""ServiceAccount: the identity of processes in pods."""

from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def prepare(new: Object, old: Object | None) -> None:
    """Secrets are named and nothing else: they are in the account's namespace."""
    if "secrets" in new:
        new["secrets"] = [{"name": secret["name"]} if secret.get("name") else {} for secret in new["secrets"] or ()]


_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def warnings(new: Object, old: Object | None) -> list[str]:
    """An annotation that is on its way out, when it comes."""
    mark, before = ((each or {}).get("metadata", {}).get("annotations") or {} for each in (new, old))
    if _MOUNTABLE not in mark or _MOUNTABLE in before:
        return []
    text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    return [f"metadata.annotations[{_MOUNTABLE}]: {text}"]


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    subresources=("token",),
    generation=False,
    prepare=prepare,
    warnings=warnings,
    columns=(Column.AGE,),
)
