"""References across namespaces hold only where a ReferenceGrant of the target's namespace allows them."""

from collections.abc import Iterable
from typing import NamedTuple

from pynetes.ingress.gateway.kinds import GROUP
from pynetes.machinery.meta import Key, Object


class From(NamedTuple):
    """Who refers: its kind (of this API's group) and namespace."""

    kind: str
    namespace: str


def granted(grants: Iterable[Object], source: From, kind: str, target: Key, *, group: str = "") -> bool:
    """Whether source may refer to the target."""
    if source.namespace == target.namespace:
        return True
    return any(_allows(grant, source, kind, target, group) for grant in grants)


def _allows(grant: Object, source: From, kind: str, target: Key, group: str) -> bool:
    if grant["metadata"]["namespace"] != target.namespace:
        return False
    spec = grant["spec"]
    origins = ((each.get("group"), each.get("kind"), each.get("namespace")) for each in spec.get("from") or ())
    if (GROUP, source.kind, source.namespace) not in origins:
        return False
    return any(
        (each.get("group") or "", each.get("kind")) == (group, kind) and each.get("name") in (None, "", target.name)
        for each in spec.get("to") or ()
    )
