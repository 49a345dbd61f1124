"""Asks each metric of an autoscaler for its number of replicas; the largest counts."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pynetes.client.rest import Client
from pynetes.controllers.horizontalpodautoscaler import replicas, sources
from pynetes.controllers.horizontalpodautoscaler.replicas import CannotTell, Tolerances
from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import NANO, Quantity, parse

#: The reason of a metric that is of no type we know.
UNKNOWN_SOURCE = "InvalidMetricSourceType"


class Scene(NamedTuple):
    """What all metrics are judged by."""

    client: Client
    namespace: str
    selector: str
    pods: Sequence[Object]
    #: Of the scale's spec and status.
    current: int
    observed: int
    tolerances: Tolerances
    now: datetime


class Asked(NamedTuple):
    """What a metric asks for: replicas, its name for people, and its part of status.currentMetrics."""

    replicas: int
    name: str
    status: Object


class Failed(NamedTuple):
    """A metric that gave no number: the condition's reason and the problem."""

    reason: str
    problem: str


async def ask(scene: Scene, metric: Object) -> Asked | Failed:
    """One of spec.metrics."""
    kind = metric["type"]
    source = _SOURCES.get(kind)
    if source is None:
        return Failed(UNKNOWN_SOURCE, f'unknown metric source type "{kind}"')
    reason, member, function = source
    try:
        return await function(scene, metric[member])
    except CannotTell as problem:
        return Failed(reason, str(problem))


async def _resource(scene: Scene, source: Object) -> Asked:
    return await _usage(scene, source, "", "resource", "Resource")


async def _container(scene: Scene, source: Object) -> Asked:
    return await _usage(scene, source, source["container"], "container resource", "ContainerResource")


async def _usage(scene: Scene, source: Object, container: str, words: str, kind: str) -> Asked:
    resource, target = source["name"], source["target"]
    member = kind[0].lower() + kind[1:]
    about = {"name": resource, **({"container": container} if container else {})}
    try:
        samples = await sources.of_resource(scene.client, scene.namespace, scene.selector, resource, container)
        if target.get("averageValue") is not None:
            found = replicas.by_average(
                scene.current, parse(target["averageValue"]).milli(), scene.pods, samples,
                resource=resource, tolerances=scene.tolerances, now=scene.now,
            )  # fmt: skip
            name = f"{resource} {words}"
        else:
            found = replicas.by_utilization(
                scene.current, target["averageUtilization"], scene.pods, samples,
                resource=resource, container=container, tolerances=scene.tolerances, now=scene.now,
            )  # fmt: skip
            name = f"{resource} {words} utilization (percentage of request)"
    except CannotTell as problem:
        what = "usage" if target.get("averageValue") is not None else "utilization"
        raise CannotTell(f"failed to get {resource} {what}: {problem}") from problem
    current: Object = {"averageValue": _amount(found.average)}
    if found.utilization is not None:
        current["averageUtilization"] = found.utilization
    return Asked(found.replicas, name, {"type": kind, member: {**about, "current": current}})


async def _pods(scene: Scene, source: Object) -> Asked:
    metric = source["metric"]
    samples = await sources.of_pods(scene.client, scene.namespace, scene.selector, metric)
    found = replicas.by_average(
        scene.current, parse(source["target"]["averageValue"]).milli(), scene.pods, samples,
        tolerances=scene.tolerances, now=scene.now,
    )  # fmt: skip
    status = {"type": "Pods", "pods": {"metric": metric, "current": {"averageValue": _amount(found.average)}}}
    return Asked(found.replicas, f"pods metric {metric['name']}", status)


async def _object(scene: Scene, source: Object) -> Asked:
    metric, about = source["metric"], source["describedObject"]
    value = await sources.of_object(scene.client, scene.namespace, about, metric)
    wanted, current = _of_number(scene, source["target"], value)
    status = {"type": "Object", "object": {"describedObject": about, "metric": metric, "current": current}}
    return Asked(wanted, f"{about['kind']} metric {metric['name']}", status)


async def _external(scene: Scene, source: Object) -> Asked:
    metric = source["metric"]
    value = await sources.of_outside(scene.client, scene.namespace, metric)
    wanted, current = _of_number(scene, source["target"], value)
    return Asked(
        wanted,
        f"external metric {metric['name']}",
        {"type": "External", "external": {"metric": metric, "current": current}},
    )


def _of_number(scene: Scene, target: Object, value: int) -> tuple[int, Object]:
    """Replicas and what is shown, for a target as a value or as an average."""
    if target.get("averageValue") is not None:
        wanted = replicas.by_share(scene.observed, parse(target["averageValue"]).milli(), value, scene.tolerances)
        return wanted, {"averageValue": _amount(-(-value // max(scene.observed, 1)))}
    goal = parse(target["value"]).milli()
    return replicas.by_value(scene.current, goal, value, scene.pods, scene.tolerances), {"value": _amount(value)}


def _amount(milli: int) -> str:
    return str(Quantity(milli * NANO // 1000))


_Source = tuple[str, str, Callable[[Scene, Object], Awaitable[Asked]]]
#: Type → reason of its failure, member, function.
_SOURCES: Mapping[str, _Source] = {
    "Resource": ("FailedGetResourceMetric", "resource", _resource),
    "ContainerResource": ("FailedGetContainerResourceMetric", "containerResource", _container),
    "Pods": ("FailedGetPodsMetric", "pods", _pods),
    "Object": ("FailedGetObjectMetric", "object", _object),
    "External": ("FailedGetExternalMetric", "external", _external),
}
