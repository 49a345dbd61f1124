"""Mode Webhook: a server outside is asked whether a user may, where its match conditions say that it wants to be."""

import asyncio
import hashlib

import orjson

from pynetes.apiserver.authn.webhook import Memory, Post, poster
from pynetes.apiserver.authz.attributes import NO_OPINION, Attributes, Decision, Verdict
from pynetes.apiserver.authz.configuration import LONGEST, VARIABLES, WebhookSettings
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import cel
from pynetes.machinery.meta import Object

_EXCLUDED = REGISTRY.counter(
    "apiserver_authorization_match_condition_exclusions_total",
    "Total number of exclusions when an authorization webhook is skipped because match conditions exclude it.",
    "type",
    "name",
)
_ERRORS = REGISTRY.counter(
    "apiserver_authorization_match_condition_evaluation_errors_total",
    "Total number of errors when an authorization webhook encounters a match condition error split by type and name.",
    "type",
    "name",
)
_EVALUATED = REGISTRY.counter(
    "apiserver_authorization_webhook_evaluations_total",
    "Total number of round-trips to authorization webhooks split by name and result.",
    "name",
    "result",
)


class AccessWebhook:
    """Mode Webhook: asks SubjectAccessReview."""

    def __init__(
        self,
        post: Post,
        clock: Clock,
        *,
        allowed: float,
        denied: float,
        timeout: float = LONGEST,
        silence: Decision = NO_OPINION,
    ) -> None:
        """allowed, denied: seconds for which such answers are remembered. silence: what no answer is."""
        self._post, self._seconds = post, {True: allowed, False: denied}
        self._timeout, self._silence = timeout, silence
        self._memory: Memory[Decision] = Memory(clock)

    async def authorize(self, attributes: Attributes) -> Decision:
        """Its word; silence is no opinion unless told otherwise, so that nobody whom others allow is locked out."""
        return await self.ask(spec_of(attributes))

    async def ask(self, spec: Object) -> Decision:
        """The same, about a SubjectAccessReview's spec."""
        key = hashlib.blake2b(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).digest()
        found = self._memory.get(key)
        if found is not None:
            return found
        review: Object = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}
        try:
            async with asyncio.timeout(self._timeout):
                status = dict((await self._post(review)).get("status") or {})
        except (OSError, ValueError, TimeoutError):
            return self._silence
        reason = str(status.get("reason") or "")
        if status.get("denied"):
            verdict = Verdict.DENY
        else:
            verdict = Verdict.ALLOW if status.get("allowed") is True else Verdict.NO_OPINION
        return self._memory.put(key, Decision(verdict, reason), self._seconds[verdict is Verdict.ALLOW])


class ConditionalWebhook:
    """One of an AuthorizationConfiguration's webhooks."""

    def __init__(self, name: str, settings: WebhookSettings, clock: Clock, post: Post | None = None) -> None:
        """Raises ValueError, KubeconfigError for a kubeconfig that cannot be used."""
        self._name, self._conditions = name, settings.conditions
        why = f"the authorization webhook {name} does not answer"
        # An object of its own, so that silence can be told from a webhook without opinion.
        self._silence = Decision(Verdict.DENY, why) if settings.fails_closed else Decision(Verdict.NO_OPINION)
        self._webhook = AccessWebhook(
            post or poster(settings.kubeconfig),
            clock,
            allowed=settings.allowed,
            denied=settings.denied,
            timeout=settings.timeout,
            silence=self._silence,
        )

    async def authorize(self, attributes: Attributes) -> Decision:
        """No opinion where it need not be asked."""
        spec = spec_of(attributes)
        try:
            if not _hold(self._conditions, spec):
                _EXCLUDED.inc("Webhook", self._name)
                return NO_OPINION
        except cel.EvalError:
            _ERRORS.inc("Webhook", self._name)
            return self._silence
        decision = await self._webhook.ask(spec)
        _EVALUATED.inc(self._name, "error" if decision is self._silence else "success")
        return decision


def _hold(conditions: tuple[str, ...], spec: Object) -> bool:
    """Whether all of them do; one that is false outweighs one that fails. Raises EvalError."""
    failed: cel.EvalError | None = None
    for condition in conditions:
        try:
            if cel.program(condition, VARIABLES).eval({"request": spec}) is not True:
                return False
        except cel.EvalError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return True


def spec_of(attributes: Attributes) -> Object:
    """The question as a webhook gets it."""
    user = attributes.user.info()
    spec: Object = {"user": user.pop("username"), **user}
    if attributes.path:
        spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
        return spec
    asked = {
        "namespace": attributes.namespace,
        "verb": attributes.verb,
        "group": attributes.group,
        "version": attributes.version,
        "resource": attributes.resource,
        "subresource": attributes.subresource,
        "name": attributes.name,
    }
    spec["resourceAttributes"] = {name: value for name, value in asked.items() if value}
    return spec
