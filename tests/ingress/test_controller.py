"""The controller as a whole: what it tells, what it serves first, and how it takes changes."""

import asyncio
import time

import pytest

from pynetes.apis.networking import ingresses
from pynetes.ingress.nginx.configuration import Location, Settings
from pynetes.ingress.nginx.server import Rejected
from pynetes.machinery.meta import Key
from tests.ingress.conftest import Edge, running

pytestmark = pytest.mark.root


async def until(edge: Edge, name: str, word: str) -> None:
    """Wait for an Event about an Ingress."""
    async with asyncio.timeout(10):
        while not any(word in message for message in edge.messages(name)):
            await asyncio.sleep(0.02)


async def test_status_has_the_address(edge: Edge) -> None:
    """Each served Ingress shows where traffic enters; one that is left out does not."""
    edge.ingress("good", ("a.test", "/", "Prefix", "s"))
    edge.ingress("bad", ("b.test", "/", "Prefix", "s"), proxy_body_size="huge")
    await until(edge, "bad", "proxy-body-size")
    async with asyncio.timeout(10):
        while True:
            good = edge.api.get(ingresses.RESOURCE, Key("default", "good"))
            if good and good.get("status", {}).get("loadBalancer", {}).get("ingress") == [{"ip": "192.0.2.7"}]:
                break
            await asyncio.sleep(0.02)
    bad = edge.api.get(ingresses.RESOURCE, Key("default", "bad"))
    assert bad is not None
    assert "ingress" not in bad.get("status", {}).get("loadBalancer", {})


async def test_events_name_what_is_wrong(edge: Edge) -> None:
    """A bad annotation, a missing Secret, a path that another has; and what is served is said once."""
    await edge.server("s")
    edge.ingress("good", ("a.test", "/", "Prefix", "s"))
    edge.ingress("twin", ("a.test", "/", "Prefix", "s"))
    edge.ingress("tls", ("t.test", "/", "Prefix", "s"), tls={"hosts": ["t.test"], "secretName": "nowhere"})
    edge.ingress("auth", ("c.test", "/", "Prefix", "s"), auth_type="basic", auth_secret="nowhere")
    await until(edge, "tls", "there is no Secret default/nowhere")
    await until(edge, "auth", "there is no Secret default/nowhere")
    await until(edge, "twin", "older Ingress default/good")
    assert edge.messages("good") == ["Scheduled for sync"]


async def test_a_repaired_ingress_is_served(edge: Edge) -> None:
    """Once the Secret that it needs is there."""
    await edge.server("s")
    edge.ingress("auth", ("c.test", "/", "Prefix", "s"), auth_type="basic", auth_secret="late")
    await edge.settled()
    assert (await edge.get("c.test")).status == 404
    edge.secret("late", auth="ann:x\n")
    async with asyncio.timeout(10):
        while (await edge.get("c.test")).status != 401:
            await asyncio.sleep(0.02)


async def test_what_is_gone_is_not_served(edge: Edge) -> None:
    """A deleted Ingress is 404 soon after."""
    await edge.server("s")
    made = edge.ingress("i", ("a.test", "/", "Prefix", "s"))
    await edge.settled()
    assert (await edge.get("a.test")).status == 200
    edge.api.remove(made)
    async with asyncio.timeout(10):
        while (await edge.get("a.test")).status != 404:
            await asyncio.sleep(0.02)


async def test_a_configuration_that_nginx_rejects_stays_out(edge: Edge) -> None:
    """nginx -t refuses; the old configuration goes on, and the metric says so."""
    await edge.server("s")
    edge.ingress("i", ("a.test", "/", "Prefix", "s"))
    await edge.settled()
    nginx = edge.controller.nginx
    assert nginx.settings is not None
    with pytest.raises(Rejected, match="does not accept"):
        await nginx.apply(Settings(listeners=nginx.settings.listeners, memory=-1))
    assert (await edge.get("a.test")).status == 200
    async with edge.session.get(f"http://127.0.0.1:{edge.health}/metrics") as answer:
        assert "nginx_ingress_controller_config_last_reload_successful 0" in await answer.text()


async def test_metrics_count_requests(edge: Edge) -> None:
    """By Ingress, Service, method and status, with durations."""
    await edge.server("s")
    edge.ingress("i", ("a.test", "/", "Prefix", "s"))
    await edge.settled()
    for _ in range(3):
        await edge.get("a.test")
    async with edge.session.get(f"http://127.0.0.1:{edge.health}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    labels = '{kind="Ingress",namespace="default",ingress="i",service="s",method="GET",status="200"}'
    assert f"nginx_ingress_controller_requests{labels} 3" in lines
    assert f"nginx_ingress_controller_request_duration_seconds_count{labels} 3" in lines
    assert any(line.startswith("nginx_ingress_controller_nginx_process_connections") for line in lines)


async def test_the_default_backend_flag(edge: Edge) -> None:
    """--default-backend-service serves what nothing else does."""
    async with running(default_backend_service="default/fallback") as other:
        await other.server("fallback")
        await other.settled()
        assert (await other.get("nowhere.test")).server == "fallback"


async def test_no_request_fails_while_everything_changes(edge: Edge) -> None:
    """360 requests during 40 changes of endpoints, paths and locations: each is answered by an endpoint."""
    ports = [await edge.echo(f"e{number}") for number in range(4)]
    edge.service("s", [("127.0.0.1", port) for port in ports])
    edge.ingress("i", ("a.test", "/", "Prefix", "s"))
    await edge.settled()
    statuses: list[int] = []

    async def ask(count: int) -> None:
        for _ in range(count):
            statuses.append((await edge.get("a.test")).status)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(ask(60))
        for change in range(40):
            kept = [port for number, port in enumerate(ports) if number != change % 4]
            edge.endpoints("s", [("127.0.0.1", port) for port in kept])
            edge.ingress(f"more-{change}", (f"m{change}.test", "/", "Prefix", "s"))
            if change % 10 == 0:
                edge.ingress("sized", ("z.test", "/", "Prefix", "s"), proxy_body_size=f"{2 << change // 10}m")
            await asyncio.sleep(0.02)
    assert set(statuses) == {200}


async def test_a_thousand_ingresses_with_five_thousand_endpoints(edge: Edge) -> None:
    """All are served; then one endpoint's change takes the short way."""
    port = await edge.echo("e")
    addresses = [f"10.1.{number // 250}.{number % 250 + 1}" for number in range(5000)]
    for number in range(1000):
        given = [(address, 80) for address in addresses[number * 5 : number * 5 + 5]]
        edge.service(f"s{number}", given)
        edge.ingress(f"i{number}", (f"h{number}.test", "/", "Prefix", f"s{number}"))
    began = time.monotonic()
    await edge.settled()
    took = time.monotonic() - began
    edge.endpoints("s7", [("127.0.0.1", port)] + [("10.9.9.9", 80)] * 0)
    began = time.monotonic()
    while (await edge.get("h7.test")).status != 200:
        await asyncio.sleep(0.002)
    print(f"1,000 Ingresses: {took:.2f} s; one endpoint: {(time.monotonic() - began) * 1000:.0f} ms")


async def test_settings_are_compared_by_value() -> None:
    """The same settings need no reload."""
    assert Settings(listeners=()) == Settings(listeners=())
    assert Location().name == "http_1048576_100"
