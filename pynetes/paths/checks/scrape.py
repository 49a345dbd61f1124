"""Paths 28 and 29: a real Prometheus finds the API server and every kubelet, and what it scrapes answers dashboards.

Prometheus' own API says what it found, when it last scraped it and with what outcome; the scraped side says who it was.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import orjson

from pynetes.apis.apps import deployments
from pynetes.apis.core import nodes
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.paths import observed
from pynetes.paths.check import Absent, Check, expect
from pynetes.paths.scene import Scene, eventually

API = "/api/v1/namespaces/kube-system/services/prometheus:http/proxy/api/v1"
KEY = Key("kube-system", "prometheus")
USER = "system:serviceaccount:kube-system:prometheus"
ENDPOINTS = ("/metrics", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes")
#: Two intervals and what a Prometheus needs to start.
WITHIN = 60.0
#: Seconds after which a scrape is old: three intervals.
FRESH = 45.0
#: What dashboards of containers and kubelets ask, in short.
QUERIES = (
    'sum by (namespace) (rate(container_cpu_usage_seconds_total{job="kubelet",image!=""}[1m]))',
    'sum by (pod) (container_memory_working_set_bytes{job="kubelet",container!=""})',
    'sum(kubelet_running_pods{job="kubelet"})',
)


async def _of_the_api_server(scene: Scene) -> str:
    """Discovered, up, freshly scraped, and its own numbers can be queried."""
    await _installed(scene)
    found = await _targets(scene, lambda target: target["labels"]["job"] == "apiserver", 1)
    data = await _query(scene, 'sum(apiserver_request_total{job="apiserver"})')
    expect(data, "apiserver_request_total has no samples in Prometheus")
    everything = await _active(scene)
    down = [f"{each['scrapeUrl']} ({each['lastError']})" for each in everything if each["health"] == "down"]
    expect(not down, f"targets are down: {', '.join(down)}")
    pools = sorted({each["scrapePool"] for each in everything})
    return (
        f"{found[0]['scrapeUrl']} scraped {_age(found[0]):.0f} s ago as {await _identity(scene, 28)}; "
        f"{float(data[0]['value'][1]):.0f} requests counted there; "
        f"{len(everything)} targets of {len(pools)} jobs, none down"
    )


async def _of_the_kubelets(scene: Scene) -> str:
    """All four endpoints of every node, and what dashboards ask of them has answers."""
    await _installed(scene)
    names = sorted(node["metadata"]["name"] for node in (await scene.client.list(nodes.RESOURCE)).items)

    def of_kubelet(target: Object) -> bool:
        return bool(target["labels"]["job"] == "kubelet")

    found = await _targets(scene, of_kubelet, len(names) * len(ENDPOINTS))
    seen = {(each["labels"]["node"], each["labels"]["metrics_path"]) for each in found}
    missing = [f"{name}{path}" for name in names for path in ENDPOINTS if (name, path) not in seen]
    expect(not missing, f"not discovered: {', '.join(missing)}")
    answered = [len(await _query(scene, query)) for query in QUERIES]
    expect(all(answered), f"no data for {QUERIES[answered.index(0)] if 0 in answered else ''}")
    return (
        f"{', '.join(ENDPOINTS)} of {', '.join(names)} up, the oldest scrape {max(map(_age, found)):.0f} s ago, "
        f"as {await _identity(scene, 29)}; {len(QUERIES)} dashboard queries gave {sum(answered)} series"
    )


async def _installed(scene: Scene) -> None:
    try:
        await scene.client.get(deployments.RESOURCE, KEY)
    except StatusError as error:
        if error.code == 404:
            raise Absent("the cluster has no Prometheus: `pynetes up --with prometheus`") from None
        raise


async def _targets(scene: Scene, ours: Callable[[Object], bool], count: int) -> Sequence[Object]:
    """The targets, once there are as many and each is up and was scraped lately."""
    found: list[Object] = []

    async def scraped() -> bool:
        found[:] = [each for each in await _active(scene) if ours(each)]
        if len(found) >= count and all(each["health"] == "up" and _age(each) < FRESH for each in found):
            return True
        await asyncio.sleep(0.5)
        return False

    try:
        await eventually(scraped, "", within=WITHIN)
    except TimeoutError:
        shown = [f"{each['scrapeUrl']} {each['health']} {each['lastError']}".strip() for each in found]
        expect(False, f"of {count} targets Prometheus has {', '.join(shown) or 'none'}")
    return found


async def _active(scene: Scene) -> list[Object]:
    answer: list[Object] = (await _ask(scene, "/targets?state=active"))["activeTargets"]
    return answer


async def _query(scene: Scene, query: str) -> list[Object]:
    """The result, once there is one: rates need two scrapes."""
    found: list[Object] = []

    async def answered() -> bool:
        found[:] = (await _ask(scene, f"/query?query={quote(query)}"))["result"]
        if not found:
            await asyncio.sleep(0.5)
        return bool(found)

    await eventually(answered, f"no data for {query}", within=WITHIN)
    return found


async def _ask(scene: Scene, path: str) -> Object:
    answer = orjson.loads((await scene.kubectl("get", "--raw", API + path)).out)
    expect(answer["status"] == "success", f"Prometheus answered {answer}")
    data: Object = answer["data"]
    return data


def _age(target: Object) -> float:
    if target["lastScrape"].startswith("0001"):
        return float("inf")
    # Go writes nanoseconds and a zone; seconds are enough here.
    moment = times.parse(f"{target['lastScrape'][:19]}Z")
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())


async def _identity(scene: Scene, number: int) -> str:
    """Whom the scraped side saw on this path, and by what right."""
    began = time.monotonic()
    while True:
        for document in await observed.snapshots(scene.site.paths_dir):
            identity = (document["counters"].get(str(number)) or {}).get("identity") or {}
            if identity.get("subject") == USER:
                return USER + f" ({identity['rule']})" * bool(identity.get("rule"))
        expect(time.monotonic() - began < FRESH, f"nobody was asked by {USER} on path {number}")
        await asyncio.sleep(0.5)


CHECKS = (Check((28,), _of_the_api_server), Check((29,), _of_the_kubelets))
