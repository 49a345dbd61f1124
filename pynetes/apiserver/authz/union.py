"""The authorizers in the order of --authorization-mode, behind the group that may do everything."""

from collections.abc import Sequence

from pynetes.apiserver.authn.user import MASTERS
from pynetes.apiserver.authz.attributes import Attributes, Authorizer, Decision, Verdict
from pynetes.apiserver.authz.node import NodeAuthorizer
from pynetes.apiserver.authz.rbac import RBAC
from pynetes.apiserver.objects import Objects

ALLOWED = Decision(Verdict.ALLOW)


class AlwaysAllow:
    """Mode AlwaysAllow: a server without authorization."""

    async def authorize(self, attributes: Attributes) -> Decision:
        """Yes."""
        return ALLOWED


class AlwaysDeny:
    """Mode AlwaysDeny, for tests of clients."""

    async def authorize(self, attributes: Attributes) -> Decision:
        """No opinion, which ends as no: upstream's own AlwaysDeny lets a later authorizer speak too."""
        return Decision(Verdict.NO_OPINION, "Everything is forbidden.")


class Union:
    """Asks each in turn until one allows or denies. The reasons of those without opinion are joined by commas."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = authorizers

    async def authorize(self, attributes: Attributes) -> Decision:
        """system:masters passes whatever the modes are: it is how a cluster is repaired."""
        if MASTERS in attributes.user.groups:
            return ALLOWED
        reasons = []
        for authorizer in self._authorizers:
            decision = await authorizer.authorize(attributes)
            if decision.verdict is not Verdict.NO_OPINION:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(Verdict.NO_OPINION, "\n".join(reasons))


class Modes(Union):
    """What --authorization-mode names, with the RBAC authorizer at hand for rule reviews and escalation checks."""

    def __init__(self, modes: Sequence[str], objects: Objects, webhook: Authorizer | None = None) -> None:
        """Raises ValueError on an unknown mode. webhook is what mode Webhook asks."""
        self.rbac = RBAC(objects)
        known: dict[str, Authorizer] = {
            "Node": NodeAuthorizer(objects),
            "RBAC": self.rbac,
            "AlwaysAllow": AlwaysAllow(),
            "AlwaysDeny": AlwaysDeny(),
        }
        if webhook is not None:
            known["Webhook"] = webhook
        unknown = [mode for mode in modes if mode not in known]
        if unknown:
            raise ValueError(f"unknown authorization mode {unknown[0]!r}; known are {', '.join(known)}")
        super().__init__([known[mode] for mode in modes])
