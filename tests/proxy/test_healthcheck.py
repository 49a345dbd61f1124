"""What load balancers are told of a Service with externalTrafficPolicy Local."""

import socket

import aiohttp

from pynetes.machinery.meta import Key
from pynetes.proxy.healthcheck import HealthChecks, wanted
from pynetes.proxy.tracker import Tracker
from tests.proxy.objects import endpoint, endpoint_slice, service


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tracked(tracker: Tracker, port: int, *nodes: str, policy: str = "Local") -> None:
    made = service("web", type="LoadBalancer", externalTrafficPolicy=policy, healthCheckNodePort=port)
    tracker.set_service(made)
    listed = [endpoint(f"10.0.0.{number}", node=node, ready=True) for number, node in enumerate(nodes, 1)]
    tracker.set_slice(endpoint_slice(*listed))
    tracker.take()


async def ask(port: int) -> tuple[int, dict[str, object], str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
        return answer.status, await answer.json(), answer.headers["X-Load-Balancing-Endpoint-Weight"]


async def test_the_node_says_whether_it_has_endpoints() -> None:
    """200 with some, 503 with none; the number goes along; without the policy there is no port."""
    tracker, port = Tracker("n1"), free_port()
    checks = HealthChecks(lambda: True, host="127.0.0.1")
    try:
        tracked(tracker, port, "n1", "n1", "n2")
        await checks.sync(tracker.forwards)
        status, said, weight = await ask(port)
        assert (status, weight, said["localEndpoints"]) == (200, "2", 2)
        assert said["service"] == {"namespace": "default", "name": "web"}
        tracked(tracker, port, "n2")
        await checks.sync(tracker.forwards)
        assert (await ask(port))[0] == 503
        tracked(tracker, port, "n1", policy="Cluster")
        await checks.sync(tracker.forwards)
        assert wanted(tracker.forwards) == {}
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    finally:
        await checks.close()


async def test_a_proxy_that_is_not_well_gets_nothing() -> None:
    """Endpoints are there, but the rules are not."""
    tracker, port = Tracker("n1"), free_port()
    checks = HealthChecks(lambda: False, host="127.0.0.1")
    try:
        tracked(tracker, port, "n1")
        await checks.sync(tracker.forwards)
        status, said, _ = await ask(port)
        assert status == 503 and said["serviceProxyHealthy"] is False
    finally:
        await checks.close()


async def test_a_port_that_is_taken_does_not_stop_the_proxy() -> None:
    """It is tried again at the next change."""
    tracker = Tracker("n1")
    checks = HealthChecks(lambda: True, host="127.0.0.1")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        tracked(tracker, port, "n1")
        await checks.sync(tracker.forwards)
    try:
        await checks.sync(tracker.forwards)
        assert (await ask(port))[0] == 200
        assert wanted(tracker.forwards)[port].service == Key("default", "web")
    finally:
        await checks.close()
