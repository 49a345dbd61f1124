"""A metrics adapter to run as a process of its own: the numbers that it serves stand in a file, read for each request.

python adapter.py NUMBERS CERTIFICATE KEY     writes its port to NUMBERS.port and serves until it is ended

NUMBERS is JSON: {"versions": ["v1beta2"], "external": {metric: [[labels, value]]},
"custom": {"RESOURCE/NAME/METRIC": value}, "pods": {metric: {pod: value}}, "usage": {pod: {container: {cpu: …}}},
"at": time}.
"""

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

CUSTOM, EXTERNAL, RESOURCE = "custom.metrics.k8s.io", "external.metrics.k8s.io", "metrics.k8s.io"


class Adapter:
    """Answers as prometheus-adapter and metrics-server do."""

    def __init__(self, numbers: Path) -> None:
        self._numbers = numbers

    def read(self) -> dict[str, Any]:
        """The numbers as they are now."""
        found: dict[str, Any] = json.loads(self._numbers.read_text())
        return found

    async def discovery(self, request: web.Request) -> web.Response:
        """Which group versions there are."""
        group, version = request.match_info["group"], request.match_info["version"]
        if group == CUSTOM and version not in self.read()["versions"]:
            return _missing("the server could not find the requested resource")
        rows: list[Any] = []
        return web.json_response({"kind": "APIResourceList", "groupVersion": f"{group}/{version}", "resources": rows})

    async def external(self, request: web.Request) -> web.Response:
        """The series that carry all labels of the selector."""
        metric, selector = request.match_info["metric"], request.query.get("labelSelector", "")
        numbers = self.read()
        if metric not in numbers.get("external", {}):
            return _missing(f"the server could not find the metric {metric}")
        wanted = dict(each.split("=") for each in selector.split(",") if each)
        items = [
            {"metricName": metric, "metricLabels": labels, "timestamp": numbers["at"], "value": value}
            for labels, value in numbers["external"][metric]
            if wanted.items() <= labels.items()
        ]
        return web.json_response(_list("ExternalMetricValueList", f"{EXTERNAL}/v1beta1", items))

    async def custom(self, request: web.Request) -> web.Response:
        """Of all pods, or of one object."""
        version, place = request.match_info["version"], request.match_info["place"]
        numbers = self.read()
        if version not in numbers["versions"]:
            return _missing("the server could not find the requested resource")
        resource, name, metric = place.split("/")
        if (resource, name) == ("pods", "*"):
            values = numbers.get("pods", {}).get(metric, {})
        elif place in numbers.get("custom", {}):
            values = {name: numbers["custom"][place]}
        else:
            return _missing(f"the server could not find the metric {metric} for {resource} {name}")
        about = {"metricName": metric} if version == "v1beta1" else {"metric": {"name": metric}}
        items = [
            {"describedObject": {"name": one, "kind": resource}, **about, "timestamp": numbers["at"], "value": value}
            for one, value in values.items()
        ]
        return web.json_response(_list("MetricValueList", f"{CUSTOM}/{version}", items))

    async def usage(self, request: web.Request) -> web.Response:
        """Of containers, over a window that is written as other programs write durations."""
        numbers = self.read()
        items = [
            {
                "metadata": {"name": pod, "namespace": request.match_info["namespace"]},
                "timestamp": numbers["at"],
                "window": "1m0.5s",
                "containers": [{"name": name, "usage": used} for name, used in containers.items()],
            }
            for pod, containers in numbers.get("usage", {}).items()
        ]
        return web.json_response(_list("PodMetricsList", f"{RESOURCE}/v1beta1", items))


def _list(kind: str, version: str, items: list[Any]) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": version, "metadata": {}, "items": items}


def _missing(message: str) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}
    return web.json_response({**status, "reason": "NotFound", "message": message}, status=404)


async def main(numbers: str, certificate: str, key: str) -> None:
    """Serve."""
    adapter, app = Adapter(Path(numbers)), web.Application()
    namespaced = "/namespaces/{namespace}/"
    app.router.add_get("/apis/{group}/{version}", adapter.discovery)
    app.router.add_get(f"/apis/{EXTERNAL}/v1beta1{namespaced}{{metric}}", adapter.external)
    app.router.add_get(f"/apis/{CUSTOM}/{{version}}{namespaced}{{place:.+}}", adapter.custom)
    app.router.add_get(f"/apis/{RESOURCE}/v1beta1{namespaced}pods", adapter.usage)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = Path(f"{numbers}.new")
    port.write_text(str(runner.addresses[0][1]))
    port.rename(f"{numbers}.port")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
