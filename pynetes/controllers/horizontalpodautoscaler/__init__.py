"""HorizontalPodAutoscaler: every fifteen seconds, as many replicas as the metrics ask for.

replicas.py is the arithmetic of one metric, limits.py the windows and rates, sources.py reads the metrics APIs,
proposals.py asks all metrics. Here: the scale of the target, the conditions, the events.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from pynetes.apis.autoscaling import horizontalpodautoscalers as autoscalers
from pynetes.apis.core import pods
from pynetes.client.context import ControllerContext
from pynetes.client.controller import Controller, Lookup, Rule, Watch
from pynetes.client.transport import Unreachable
from pynetes.controllers import _conditions as conditions
from pynetes.controllers._config import Config
from pynetes.controllers.horizontalpodautoscaler import limits, metrics, sources
from pynetes.controllers.horizontalpodautoscaler.limits import Change, Limited, Memory
from pynetes.controllers.horizontalpodautoscaler.proposals import UNKNOWN_SOURCE, Asked, Failed, Scene, ask
from pynetes.controllers.horizontalpodautoscaler.replicas import TOLERANCE, Tolerances
from pynetes.machinery import labels, time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, uid_of
from pynetes.machinery.quantity import NANO, parse
from pynetes.machinery.resource import Resource

PERIOD = timedelta(seconds=15)


class _Stuck(Exception):
    """This round ends here; what is wrong stands in the conditions. whose: of the spec, or internal."""

    def __init__(self, text: str, whose: str = "internal") -> None:
        super().__init__(text)
        self.whose = whose


class Round:
    """One look at one autoscaler: its status grows as it goes."""

    def __init__(self, ctx: ControllerContext, hpa: Object, memory: Memory) -> None:
        self.ctx, self.hpa, self.memory = ctx, hpa, memory
        self.spec: Object = hpa["spec"]
        self.status: Object = dict(hpa.get("status") or {})

    def condition(self, kind: str, value: str, reason: str, message: str) -> None:
        """Set a condition of the new status."""
        known = self.status.get("conditions") or ()
        self.status["conditions"] = conditions.put(known, kind, value, reason, message, self.ctx.now())

    def stuck(self, kind: str, reason: str, message: str, told: str = "") -> _Stuck:
        """A condition that is False, and the event about it."""
        self.condition(kind, "False", reason, message)
        self.ctx.event(self.hpa, "Warning", reason, told or message)
        return _Stuck(message)

    async def run(self) -> None:
        """Look and act."""
        with metrics.looking() as look:
            try:
                resource, scale = await self._scale()
                look.action = metrics.action(await self._act(resource, scale))
            except _Stuck as stuck:
                look.error = stuck.whose
        await self.ctx.update_status(autoscalers.RESOURCE, self.hpa | {"status": self.status})

    async def _scale(self) -> tuple[Resource, Object]:
        target, namespace = self.spec["scaleTargetRef"], self.hpa["metadata"]["namespace"]
        try:
            resource = await sources.resource_of(self.ctx.client, target)
            key = Key(namespace, target["name"])
            return resource, await self.ctx.client.get(resource, key, subresource="scale")
        except (StatusError, Unreachable, LookupError) as error:
            text = f"the HPA controller was unable to get the target's current scale: {error}"
            raise self.stuck("AbleToScale", "FailedGetScale", text, str(error)) from error

    async def _act(self, resource: Resource, scale: Object) -> int:
        """By how many replicas it grew."""
        text = "the HPA controller was able to get the target's current scale"
        self.condition("AbleToScale", "True", "SucceededGetScale", text)
        current = (scale.get("spec") or {}).get("replicas") or 0
        if not self.memory.recommended:
            self.memory.recommended.append(Change(self.ctx.now(), current))
        self.status |= {"currentReplicas": current, "desiredReplicas": self.status.get("desiredReplicas", current)}
        wanted, reason = await self._wanted(scale, current)
        if wanted != current:
            await self._rescale(resource, scale, wanted, reason)
            self.memory.changed.append(Change(self.ctx.now(), wanted - current))
            self.status["lastScaleTime"] = time.rfc3339(self.ctx.now())
        self.status["desiredReplicas"] = wanted
        return wanted - current

    async def _wanted(self, scale: Object, current: int) -> tuple[int, str]:
        low, high = self.spec.get("minReplicas", 1), self.spec["maxReplicas"]
        if current == 0 and low != 0:
            text = "scaling is disabled since the replica count of the target is zero"
            self.condition("ScalingActive", "False", "ScalingDisabled", text)
            return 0, ""
        if current > high:
            return high, "Current number of replicas above Spec.MaxReplicas"
        if current < low:
            return low, "Current number of replicas below Spec.MinReplicas"
        best = await self._asked(scale, current)
        reason = f"{best.name} above target" if best.replicas > current else "All metrics below target"
        found = limits.apply(self.spec, current, best.replicas, self.memory, self.ctx.now())
        self._tell(found)
        return found.replicas, reason

    def _tell(self, found: Limited) -> None:
        self.condition("AbleToScale", "True", *found.able)
        self.condition("ScalingLimited", "True" if found.is_limited else "False", *found.limited)

    async def _asked(self, scale: Object, current: int) -> Asked:
        """The metric that asks for most."""
        selector = (scale.get("status") or {}).get("selector") or ""
        if not selector:
            text = "the HPA target's scale is missing a selector"
            stuck = self.stuck("ScalingActive", "InvalidSelector", text, "selector is required")
            stuck.whose = "spec"
            raise stuck
        namespace, matches = self.hpa["metadata"]["namespace"], labels.parse(selector).matches
        selected = [
            pod for pod in self.ctx.listed(pods.RESOURCE, namespace=namespace) if matches(pod["metadata"].get("labels"))
        ]
        observed = (scale.get("status") or {}).get("replicas") or 0
        scene = Scene(
            self.ctx.client, namespace, selector, selected, current, observed, _tolerances(self.spec), self.ctx.now()
        )
        found = [await _timed(scene, metric) for metric in self.spec.get("metrics") or ()]
        good = [each for each in found if isinstance(each, Asked)]
        # In the order of spec.metrics, which is how they are read: one that failed keeps its place.
        self.status["currentMetrics"] = [each.status if isinstance(each, Asked) else {"type": ""} for each in found]
        bad = [each for each in found if isinstance(each, Failed)]
        for each in bad:
            self.ctx.event(self.hpa, "Warning", each.reason, each.problem)
        best = max(good, key=lambda each: each.replicas, default=None)
        if best is None or (bad and best.replicas < current):
            self._complain(bad, len(found))
        assert best is not None
        text = f"the HPA was able to successfully calculate a replica count from {best.name}"
        self.condition("ScalingActive", "True", "ValidMetricFound", text)
        return best

    def _complain(self, bad: list[Failed], total: int) -> None:
        first = bad[0] if bad else Failed("InvalidMetricSourceType", "no metrics")
        text = f"the HPA was unable to compute the replica count: {first.problem}"
        self.condition("ScalingActive", "False", first.reason, text)
        text = f"invalid metrics ({len(bad)} invalid out of {total}), first error is: {first.problem}"
        self.ctx.event(self.hpa, "Warning", "FailedComputeMetricsReplicas", text)
        raise _Stuck(text)

    async def _rescale(self, resource: Resource, scale: Object, wanted: int, reason: str) -> None:
        new = scale | {"spec": {**(scale.get("spec") or {}), "replicas": wanted}}
        try:
            await self.ctx.client.update(resource, new, subresource="scale")
        except (StatusError, Unreachable) as error:
            text = f"the HPA controller was unable to update the target scale: {error}"
            told = f"New size: {wanted}; reason: {reason}; error: {error}"
            self.ctx.event(self.hpa, "Warning", "FailedRescale", told)
            self.condition("AbleToScale", "False", "FailedUpdateScale", text)
            raise _Stuck(text) from error
        text = f"the HPA controller was able to update the target scale to {wanted}"
        self.condition("AbleToScale", "True", "SucceededRescale", text)
        self.ctx.event(self.hpa, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {reason}")


async def _timed(scene: Scene, metric: Object) -> Asked | Failed:
    with metrics.computing(metric["type"]) as look:
        answer = await ask(scene, metric)
        if isinstance(answer, Failed):
            look.error = "spec" if answer.reason == UNKNOWN_SOURCE else "internal"
        else:
            look.action = metrics.action(answer.replicas - scene.current)
    return answer


def _tolerances(spec: Object) -> Tolerances:
    behavior = spec.get("behavior") or {}
    each = [(behavior.get(name) or {}).get("tolerance") for name in ("scaleDown", "scaleUp")]
    down, up = (TOLERANCE if one is None else parse(one).nanos / NANO for one in each)
    return Tolerances(down, up)


def respecified(_: Lookup, hpa: Object, old: Object | None) -> Iterable[Key]:
    """A changed spec is looked at at once; our own status writes are not, for the round comes by itself."""
    if old is None or old["spec"] != hpa["spec"]:
        yield Key(hpa["metadata"]["namespace"], hpa["metadata"]["name"])


def nobody(*_: Any) -> Iterable[Key]:
    """Pods wake no autoscaler: they are only read."""
    return ()


def controller(_: Config) -> Controller:
    """With a memory of its own."""
    memories: dict[Key, Memory] = {}

    async def reconcile(ctx: ControllerContext, key: Key) -> timedelta | None:
        hpa = await ctx.cached(autoscalers.RESOURCE, key)
        if hpa is None or hpa["metadata"].get("deletionTimestamp"):
            memories.pop(key, None)
            return None
        memory = memories.get(key)
        if memory is None or memory.uid != uid_of(hpa):
            memory = memories[key] = Memory(uid_of(hpa))
        await Round(ctx, hpa, memory).run()
        return PERIOD

    return Controller(
        name="horizontal-pod-autoscaler-controller",
        service_account="horizontal-pod-autoscaler",
        reconcile=reconcile,
        watches=(Watch(autoscalers.RESOURCE, keys=respecified), Watch(pods.RESOURCE, keys=nobody)),
        rules=(
            Rule("horizontalpodautoscalers.autoscaling", "get,list,watch"),
            Rule("horizontalpodautoscalers.autoscaling/status", "update"),
            Rule("*/scale", "get,update"),
            Rule("pods", "list,watch"),
            Rule("pods.metrics.k8s.io", "list,watch"),
            Rule("*.custom.metrics.k8s.io,*.external.metrics.k8s.io", "get,list,watch"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
