"""Reads metrics where autoscalers take them from: metrics.k8s.io, custom.metrics.k8s.io, external.metrics.k8s.io."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from pynetes import apis
from pynetes.client import metrics
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.controllers.horizontalpodautoscaler.replicas import CannotTell, Sample
from pynetes.machinery import labels, time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import parse
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema.rules import duration

CUSTOM = ("/apis/custom.metrics.k8s.io/v1beta2", "/apis/custom.metrics.k8s.io/v1beta1")
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
_WINDOW = timedelta(minutes=1)


async def of_resource(
    client: Client, namespace: str, selector: str, resource: str, container: str
) -> dict[str, Sample]:
    """Usage by pod, of all containers or of one. Raises CannotTell."""
    try:
        listed = await client.list(metrics.PODS, namespace=namespace, label_selector=selector)
    except (StatusError, Unreachable) as error:
        text = f"unable to get metrics for resource {resource}: unable to fetch metrics from resource metrics API: "
        raise CannotTell(text + str(error)) from error
    if not listed.items:
        raise CannotTell(
            f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        )
    found: dict[str, Sample] = {}
    for pod in listed.items:
        used = [each["usage"].get(resource) for each in pod["containers"] if container in ("", each["name"])]
        if used and None not in used:
            amount = sum(parse(each).milli() for each in used)
            found[pod["metadata"]["name"]] = Sample(amount, time.parse(pod["timestamp"]), duration(pod["window"]))
    return found


async def of_pods(client: Client, namespace: str, selector: str, metric: Object) -> dict[str, Sample]:
    """A custom metric by pod. Raises CannotTell."""
    query = {"labelSelector": selector, "metricLabelSelector": _selector(metric)}
    items = await _custom(client, f"/namespaces/{namespace}/pods/*/{metric['name']}", query)
    return {
        each["describedObject"]["name"]: Sample(
            parse(each["value"]).milli(),
            time.parse(each["timestamp"]),
            timedelta(seconds=each["windowSeconds"]) if each.get("windowSeconds") else _WINDOW,
        )
        for each in items
    }


async def resource_of(client: Client, named: Object) -> Resource:
    """The resource of what apiVersion and kind name: a built-in one, or whatever the API serves under them.

    Raises LookupError, StatusError and Unreachable."""
    api_version, kind = named.get("apiVersion") or "v1", named["kind"]
    found = apis.by_kind(api_version, kind)
    if found is not None:
        return found
    group, _, version = api_version.rpartition("/")
    answer = await client.request("GET", f"/apis/{api_version}" if group else f"/api/{version}")
    for row in orjson.loads(answer.body).get("resources") or ():
        if row["kind"] == kind and "/" not in row["name"]:
            return Resource(
                group=group, versions=(version,), kind=kind, plural=row["name"], namespaced=row["namespaced"]
            )
    raise LookupError(f'no matches for kind "{kind}" in version "{api_version}"')


async def of_object(client: Client, namespace: str, about: Object, metric: Object) -> int:
    """A custom metric of one object. Raises CannotTell."""
    try:
        resource = await resource_of(client, about)
    except (LookupError, StatusError, Unreachable) as error:
        raise CannotTell(f"unable to get metric {metric['name']}: {error}") from error
    place = f"/{resource.qualified}/{about['name']}/{metric['name']}"
    if about["kind"] == "Namespace":
        place = f"/namespaces/{about['name']}/metrics/{metric['name']}"
    elif resource.namespaced:
        place = f"/namespaces/{namespace}{place}"
    items = await _custom(client, place, {"metricLabelSelector": _selector(metric)})
    if not items:
        raise CannotTell(f"unable to get metric {metric['name']}: no metrics returned from custom metrics API")
    return parse(items[0]["value"]).milli()


async def of_outside(client: Client, namespace: str, metric: Object) -> int:
    """An external metric: the sum of all its series. Raises CannotTell."""
    items = await _items(
        client, f"{EXTERNAL}/namespaces/{namespace}/{metric['name']}", {"labelSelector": _selector(metric)}
    )
    if not items:
        text = "no metrics returned from external metrics API"
        raise CannotTell(f"unable to get external metric {namespace}/{metric['name']}: {text}")
    return sum(parse(each["value"]).milli() for each in items)


async def _custom(client: Client, place: str, query: Mapping[str, str]) -> list[Any]:
    try:
        return await _items(client, CUSTOM[0] + place, query)
    except CannotTell as problem:
        cause = problem.__cause__
        if not isinstance(cause, StatusError) or cause.code != 404:
            raise
        try:
            return await _items(client, CUSTOM[1] + place, query)
        except CannotTell as older:
            # Neither version has it: the adapter's own words stand in the answer of the version that it serves.
            raise (older if _is_unserved(cause) else problem) from cause


def _is_unserved(error: StatusError) -> bool:
    return "could not find the requested resource" in str(error)


async def _items(client: Client, path: str, query: Mapping[str, str]) -> list[Any]:
    try:
        answer = await client.request("GET", path, query=query)
        return list(orjson.loads(answer.body).get("items") or ())
    except (StatusError, Unreachable, ValueError, AttributeError) as error:
        raise CannotTell(f"unable to fetch metrics from {path}: {error}") from error


def _selector(metric: Object) -> str:
    return str(labels.from_label_selector(metric["selector"])) if metric.get("selector") else ""
