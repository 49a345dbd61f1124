"""The authorizers, in the order that flags or a file give them, behind the group that may do everything."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pynetes.apiserver.authn.user import MASTERS, User, node_name
from pynetes.apiserver.authz import configuration
from pynetes.apiserver.authz.attributes import Attributes, Authorizer, Decision, Verdict
from pynetes.apiserver.authz.node import NodeAuthorizer
from pynetes.apiserver.authz.rbac import RBAC
from pynetes.apiserver.authz.webhook import ConditionalWebhook
from pynetes.apiserver.objects import Objects
from pynetes.apiserver.reloading import Reloading
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY

ALLOWED = Decision(Verdict.ALLOW)
#: Authorizers that neither come nor go while the server runs.
FIXED = {"Node", "RBAC"}
_DECISIONS = REGISTRY.counter(
    "apiserver_authorization_decisions_total",
    "Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.",
    "type",
    "name",
    "decision",
)


class Named(NamedTuple):
    """An authorizer, and how metrics name it."""

    type: str
    name: str
    authorizer: Authorizer


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

    def __init__(self, authorizers: Callable[[], Sequence[Named]]) -> None:
        self._authorizers = authorizers

    async def authorize(self, attributes: Attributes) -> Decision:
        """system:masters passes whatever the modes are: it is how a cluster is repaired."""
        if MASTERS in attributes.user.groups:
            return ALLOWED
        reasons = []
        for kind, name, authorizer in self._authorizers():
            decision = await authorizer.authorize(attributes)
            if decision.verdict is not Verdict.NO_OPINION:
                _DECISIONS.inc(kind, name, "allowed" if decision.allowed else "denied")
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(Verdict.NO_OPINION, "\n".join(reasons))


class Modes(Union):
    """What --authorization-mode or --authorization-config names, with the RBAC authorizer at hand for rule reviews and
    escalation checks."""

    def __init__(self, modes: Sequence[str], objects: Objects, webhook: Authorizer | None = None) -> None:
        """Raises ValueError on an unknown mode. webhook is what mode Webhook asks."""
        self.rbac = RBAC(objects)
        self._known: dict[str, Authorizer] = {
            "Node": NodeAuthorizer(objects),
            "RBAC": self.rbac,
            "AlwaysAllow": AlwaysAllow(),
            "AlwaysDeny": AlwaysDeny(),
        }
        if webhook is not None:
            self._known["Webhook"] = webhook
        unknown = [mode for mode in modes if mode not in self._known]
        if unknown:
            raise ValueError(f"unknown authorization mode {unknown[0]!r}; known are {', '.join(self._known)}")
        made = [Named(mode, mode.lower(), self._known[mode]) for mode in modes]
        super().__init__(lambda: made)

    @classmethod
    def configured(cls, path: str, objects: Objects, clock: Clock) -> "Modes":
        """From an AuthorizationConfiguration, and as it is after each change of it. Raises OSError or ValueError.

        Node and RBAC can change places, but neither come nor go: what they allow would be in force or not in force for
        everybody at once, by an edit of one line."""
        modes = cls((), objects)
        first = configuration.load(path)
        fixed = {entry.type for entry in first} & FIXED
        webhooks: dict[configuration.Entry, Authorizer] = {}

        def read() -> Sequence[Named]:
            entries = configuration.load(path)
            if {entry.type for entry in entries} & FIXED != fixed:
                raise ValueError(f"{path}: Node and RBAC can be neither added nor removed without a restart")
            return [modes._named(entry, webhooks, clock) for entry in entries]

        modes._authorizers = Reloading("authorization", path, read, clock).current
        return modes

    @property
    def by_rules(self) -> bool:
        """Whether RBAC is one of them."""
        return any(kind == "RBAC" for kind, _, _ in self._authorizers())

    def unlisted(self, user: User) -> list[str]:
        """Why a list of somebody's rights is not all of them: authorizers that know rights only when asked."""
        kinds = {kind for kind, _, _ in self._authorizers()}
        told = []
        if "Node" in kinds and node_name(user):
            told.append("node authorizer does not support user rule resolution")
        if "Webhook" in kinds:
            told.append("webhook authorizer does not support user rule resolution")
        return told

    def _named(
        self, entry: configuration.Entry, webhooks: dict[configuration.Entry, Authorizer], clock: Clock
    ) -> Named:
        if entry.webhook is None:
            return Named(entry.type, entry.name, self._known[entry.type])
        if entry not in webhooks:
            # One that is as it was keeps what it remembers.
            webhooks[entry] = ConditionalWebhook(entry.name, entry.webhook, clock)
        return Named(entry.type, entry.name, webhooks[entry])
