"""How long kube-proxy takes to bring a change into the kernel, with many Services there already.

Needs root: each measurement has a network namespace of its own, so nothing of the machine is touched."""

import asyncio
import os
import time

from pyroute2 import netns

from bench.figures import Figure
from pynetes.component.clock import SystemClock
from pynetes.machinery.meta import Object
from pynetes.proxy import backend
from pynetes.proxy.nftables import Settings
from pynetes.proxy.sync import Proxier
from pynetes.proxy.tracker import Tracker

NAMESPACE = "pynetes-bench-proxy"
SERVICES = 1000
ENDPOINTS = 10
ROUNDS = 15


def _service(number: int) -> Object:
    ip = f"10.96.{number // 250}.{number % 250 + 1}"
    spec = {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80}]}
    return {"metadata": {"namespace": "default", "name": f"service-{number}"}, "spec": spec}


def _slice(number: int, endpoints: int) -> Object:
    addresses = [f"10.{244 + each % 2}.{number % 250}.{each + 1}" for each in range(endpoints)]
    name = f"service-{number}"
    return {
        "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in addresses],
    }


async def _measure(mode: str) -> list[Figure]:
    tracker = Tracker("here")
    proxier = Proxier(tracker, lambda family: backend.MODES[mode](family, Settings()), clock=SystemClock())
    for number in range(SERVICES):
        tracker.set_service(_service(number))
        tracker.set_slice(_slice(number, ENDPOINTS))
    first = await _timed(proxier)
    changes, additions = [], []
    for turn in range(ROUNDS):
        tracker.set_slice(_slice(turn, ENDPOINTS + 1))
        changes.append(await _timed(proxier))
        tracker.set_service(_service(SERVICES + turn))
        tracker.set_slice(_slice(SERVICES + turn, 2))
        additions.append(await _timed(proxier))
    name = f"{mode}, {SERVICES} Services with {ENDPOINTS} endpoints"
    return [
        Figure(name=f"{name}: all from nothing", value=first * 1e3, unit="ms"),
        Figure(name=f"{name}: one endpoint more, p50", value=sorted(changes)[ROUNDS // 2] * 1e3, unit="ms"),
        Figure(name=f"{name}: one Service more, p50", value=sorted(additions)[ROUNDS // 2] * 1e3, unit="ms"),
    ]


async def _timed(proxier: Proxier) -> float:
    start = time.perf_counter()
    await proxier.sync()
    return time.perf_counter() - start


def figures() -> list[Figure]:
    """The figures of `make bench`; none without root."""
    if os.geteuid():
        return []
    found = []
    for mode in backend.MODES:
        netns.create(NAMESPACE)
        netns.pushns(NAMESPACE)
        try:
            found += asyncio.run(_measure(mode))
        finally:
            netns.popns()
            netns.remove(NAMESPACE)
    return found


MEASURE = figures
