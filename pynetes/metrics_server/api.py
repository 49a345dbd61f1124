"""metrics.k8s.io/v1beta1 over HTTP: discovery, nodes and pods, as lists, single objects, and tables."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime

import orjson
from aiohttp import web

from pynetes.client import metrics
from pynetes.client.informer import Informer
from pynetes.component.clock import Clock
from pynetes.machinery import errors, fields, labels, table, time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.quantity import NANO, Quantity
from pynetes.machinery.resource import Resource
from pynetes.metrics_server.points import Points, Usage, earliest

API_VERSION = f"{metrics.GROUP}/{metrics.VERSION}"
ROOT = f"/apis/{API_VERSION}"


class Api:
    """Answers from the points; which nodes and pods there are, and their labels, comes from informers."""

    def __init__(self, points: Points, nodes: Informer, pods: Informer, clock: Clock) -> None:
        self._points, self._nodes, self._pods, self._clock = points, nodes, pods, clock

    def add(self, app: web.Application) -> None:
        """Add the routes."""
        routes: tuple[tuple[str, Callable[[web.Request], web.Response]], ...] = (
            ("/apis", lambda _: _json(_groups())),
            (f"/apis/{metrics.GROUP}", lambda _: _json({"kind": "APIGroup", "apiVersion": "v1", **_group()})),
            (ROOT, lambda _: _json(_resources())),
            (ROOT + "/{resource:nodes}", lambda request: self._listed(request, metrics.NODES, self._of_nodes)),
            (ROOT + "/{resource:nodes}/{name}", lambda request: self._one(request, metrics.NODES, self._of_nodes)),
            (ROOT + "/{resource:pods}", lambda request: self._listed(request, metrics.PODS, self._of_pods)),
            (
                ROOT + "/namespaces/{namespace}/{resource:pods}",
                lambda request: self._listed(request, metrics.PODS, self._of_pods),
            ),
            (
                ROOT + "/namespaces/{namespace}/{resource:pods}/{name}",
                lambda request: self._one(request, metrics.PODS, self._of_pods),
            ),
        )
        for path, answer in routes:
            app.router.add_get(path, _handler(answer))

    def _listed(
        self, request: web.Request, resource: Resource, found: Callable[[Iterable[Object]], Iterator[Object]]
    ) -> web.Response:
        try:
            wanted = labels.parse(request.query.get("labelSelector", ""))
            where = fields.parse(request.query.get("fieldSelector", ""))
        except ValueError as error:
            raise errors.bad_request(str(error)) from error
        informer = self._nodes if resource is metrics.NODES else self._pods
        objs = [
            obj
            for obj in informer.listed(namespace=request.match_info.get("namespace", ""))
            if wanted.matches(obj["metadata"].get("labels")) and where.matches(_fields(obj))
        ]
        items = list(found(objs))
        return self._sent(request, resource, items, listed=True)

    def _one(
        self, request: web.Request, resource: Resource, found: Callable[[Iterable[Object]], Iterator[Object]]
    ) -> web.Response:
        info = request.match_info
        informer = self._nodes if resource is metrics.NODES else self._pods
        obj = informer.get(Key(info.get("namespace", ""), info["name"]))
        items = list(found([obj] if obj else []))
        if not items:
            shown = f"{info['namespace']}/{info['name']}" if "namespace" in info else info["name"]
            raise errors.not_found(f"{resource.kind.lower()}", metrics.GROUP, shown)
        return self._sent(request, resource, items, listed=False)

    def _sent(self, request: web.Request, resource: Resource, items: list[Object], *, listed: bool) -> web.Response:
        if "as=Table" in request.headers.get("Accept", ""):
            include = request.query.get("includeObject", "Metadata")
            shown = table.render(resource, items, now=self._clock.now(), include=include)
            return _json(shown)
        if not listed:
            return _json(items[0])
        kind = f"{resource.kind}List"
        return _json({"kind": kind, "apiVersion": API_VERSION, "metadata": {}, "items": items})

    def _of_nodes(self, nodes: Iterable[Object]) -> Iterator[Object]:
        for node in nodes:
            used = self._points.of_node(node["metadata"]["name"])
            if used is not None:
                yield self._measured("NodeMetrics", node, used, {"usage": _amounts(used)})

    def _of_pods(self, pods: Iterable[Object]) -> Iterator[Object]:
        for pod in pods:
            metadata = pod["metadata"]
            used = self._points.of_pod(metadata["namespace"], metadata["name"])
            if used and (pod.get("status") or {}).get("phase") == "Running":
                each = [{"name": name, "usage": _amounts(one)} for name, one in used.items()]
                yield self._measured("PodMetrics", pod, earliest(used.values()), {"containers": each})

    def _measured(self, kind: str, obj: Object, used: Usage, what: Object) -> Object:
        metadata = {
            name: obj["metadata"][name] for name in ("name", "namespace", "labels") if obj["metadata"].get(name)
        }
        metadata["creationTimestamp"] = time.rfc3339(self._clock.now())
        taken = time.rfc3339(datetime.fromtimestamp(used.at, UTC))
        about = {"kind": kind, "apiVersion": API_VERSION, "metadata": metadata}
        return {**about, "timestamp": taken, "window": f"{used.window:.3f}s", **what}


def _fields(obj: Object) -> dict[str, str]:
    metadata = obj["metadata"]
    return {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace", "")}


def _amounts(used: Usage) -> Object:
    cpu = Quantity(int(used.cpu * NANO))
    return {"cpu": str(cpu), "memory": str(Quantity(int(used.memory) * NANO, "binary"))}


def _group() -> Object:
    version = {"groupVersion": API_VERSION, "version": metrics.VERSION}
    return {"name": metrics.GROUP, "versions": [version], "preferredVersion": version}


def _groups() -> Object:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group()]}


def _resources() -> Object:
    rows = [
        {
            "name": each.plural,
            "singularName": "",
            "namespaced": each.namespaced,
            "kind": each.kind,
            "verbs": list(each.verbs),
        }
        for each in (metrics.NODES, metrics.PODS)
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION, "resources": rows}


def _handler(answer: Callable[[web.Request], web.Response]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return answer(request)
        except StatusError as error:
            return web.Response(status=error.code, body=orjson.dumps(error.status), content_type="application/json")

    return handle


def _json(body: Object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
