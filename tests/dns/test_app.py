"""The whole component against a fake API server: not ready before it knows all, then following every change."""

import asyncio
import socket
import urllib.error
import urllib.request

from pynetes.client.fake import FakeAPI
from pynetes.component.clock import SystemClock
from pynetes.component.tasks import Group
from pynetes.dns import app
from pynetes.machinery.meta import Object
from tests.dns.objects import namespace, question, service
from tests.dns.test_server import udp


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def fetch(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


async def eventually(port: int, path: str) -> None:
    async with asyncio.timeout(10):
        while (await asyncio.to_thread(fetch, port, path))[0] != 200:
            await asyncio.sleep(0.02)


async def test_names_health_and_metrics() -> None:
    """A name that is there at the start, one that comes and one that goes; the probes' endpoints; the metrics."""
    api = FakeAPI(clock=SystemClock())
    kinds = {"apiVersion": "v1", "kind": "Service"}
    first: Object = {**kinds, **service("first", ips=("10.3.0.1",))}
    api.put({"apiVersion": "v1", "kind": "Namespace", **namespace()})
    api.put(first)
    port, health, ready, metrics = free_ports(4)
    config = app.Config(
        bind_address="127.0.0.1", port=port, health_port=health, ready_port=ready, metrics_port=metrics, forward=()
    )
    async with Group() as group:
        group.start(app.run(config, client=api.client()))
        await eventually(ready, "/ready")
        assert (await asyncio.to_thread(fetch, health, "/health"))[0] == 200
        assert len((await udp(port, question("first.default.svc.cluster.local"))).rr) == 1
        second: Object = {**kinds, **service("second", ips=("10.3.0.2",))}
        assert not (await udp(port, question("second.default.svc.cluster.local"))).rr
        api.put(second)
        api.remove(first)
        async with asyncio.timeout(5):
            while not (await udp(port, question("second.default.svc.cluster.local"))).rr:
                await asyncio.sleep(0.01)
            while (await udp(port, question("first.default.svc.cluster.local"))).rr:
                await asyncio.sleep(0.01)
        text = (await asyncio.to_thread(fetch, metrics, "/metrics"))[1]
        assert 'coredns_dns_responses_total{server="dns://:53",zone=".",view="",rcode="NXDOMAIN",plugin=""}' in text
