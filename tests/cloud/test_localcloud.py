"""The local cloud's own API: who may do what, what it refuses, what it remembers, and haproxy's configuration."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pynetes.cloud.localcloud import api, app, haproxy
from pynetes.cloud.localcloud.plumbing import Paper
from pynetes.cloud.metadata.credentials import Issuer
from pynetes.cloud.provider import Balancer, Denied, Health, Listener, Refused, Target
from pynetes.component.clock import SystemClock
from pynetes.machinery.meta import Key
from tests.cloud import clouds
from tests.cloud.clouds import Local

WANTED: dict[str, Any] = {
    "listeners": [{"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080}],
    "targets": [{"node": "n1", "instance": "i-n1", "address": "10.0.0.1"}],
    "health": {"port": 10256, "path": "/healthz"},
    "sourceRanges": ["192.0.2.0/24"],
    "sticky": True,
    "proxyProtocol": True,
    "tags": {"kubernetes.io/cluster/trial": "owned"},
}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Local]:
    """A fresh one."""
    async with clouds.local(tmp_path) as made:
        yield made


async def ask(site: Local, method: str, path: str, body: Any = None, *, token: str = "right") -> tuple[int, Any]:
    """A request by hand."""
    context = ssl.create_default_context(cafile=str(site.ca))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, site.url + path, data=data, headers=headers, ssl=context) as answer,
    ):
        return answer.status, await answer.json()


async def test_the_document_describes_every_operation(site: Local) -> None:
    """It is served to everybody, and every operation of it is there."""
    status, document = await ask(site, "GET", "/openapi.json", token="")
    assert status == 200 and document["openapi"].startswith("3.")
    told = {each["operationId"] for path in document["paths"].values() for each in path.values()}
    assert told == {each.name for each in api.OPERATIONS}
    for operation in api.OPERATIONS:
        path = operation.path.replace("{id}", "nothing").replace("{name}", "nothing")
        assert (await ask(site, operation.method, path, token=""))[0] == 401, operation.name


async def test_credentials_of_an_instance_may_read_only(site: Local) -> None:
    """Until they expire; a wrong token may nothing."""
    key = (site.cloud.config.state / "signing.key").read_bytes()
    good = Issuer(key, seconds=60, clock=SystemClock()).issue("pynetes-node", "i-n1").token
    old = Issuer(key, seconds=-1, clock=SystemClock()).issue("pynetes-node", "i-n1").token
    assert (await ask(site, "GET", "/v1/instances", token=good))[0] == 200
    assert (await ask(site, "DELETE", "/v1/instances/i-n1", token=good))[0] == 403
    assert (await ask(site, "GET", "/v1/instances", token=old))[0] == 401
    assert (await ask(site, "GET", "/v1/instances", token="wrong"))[0] == 401
    async with AsyncExitStack() as stack:
        stranger = await clouds.connected(stack, site.url, site.ca, token="wrong")
        with pytest.raises(Denied):
            await stranger.instances.list()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"listeners": "80"}, "listeners must be of type array"),
        ({"listeners": [{"name": "", "protocol": "TCP", "port": "80", "nodePort": 1}]}, "listeners[0].port"),
        ({"colour": "red"}, "colour is not known"),
        ({"tags": None}, "tags must be of type object"),
        ({"tags": {"a": 1}}, "tags.a must be of type string"),
        ({"sticky": 1}, "sticky must be of type boolean"),
        ({"requestedAddress": "192.0.2.1"}, "not in the pool"),
        ({"listeners": [{"name": "", "protocol": "UDP", "port": 53, "nodePort": 30053}]}, "speak TCP only"),
    ],
)
async def test_what_is_wrong_is_named(site: Local, change: dict[str, Any], words: str) -> None:
    """With the member's place; nothing is kept."""
    status, said = await ask(site, "PUT", "/v1/load-balancers/a", {**WANTED, **change})
    assert status == 422 and words in said["message"]
    assert (await ask(site, "GET", "/v1/load-balancers"))[1]["items"] == []


async def test_a_body_that_is_no_json(site: Local) -> None:
    """400."""
    assert (await ask(site, "PUT", "/v1/load-balancers/a", b"{"))[0] == 400


async def test_what_haproxy_does_not_take_is_refused_and_not_kept(site: Local) -> None:
    """The other balancers must not suffer."""
    await ask(site, "PUT", "/v1/load-balancers/good", WANTED)
    site.paper.failing = "check"
    status, said = await ask(site, "PUT", "/v1/load-balancers/bad", WANTED)
    assert status == 422 and "haproxy" in said["message"]
    assert [each["name"] for each in (await ask(site, "GET", "/v1/load-balancers"))[1]["items"]] == ["good"]


async def test_addresses_run_out_with_a_word(site: Local) -> None:
    """And come back when a balancer goes."""
    addresses = site.cloud.config.addresses
    for number in range(len(addresses)):
        await site.cloud.ensure_balancer(f"b{number}", dict(WANTED))
    status, said = await ask(site, "PUT", "/v1/load-balancers/more", WANTED)
    assert status == 409 and said["code"] == "AddressLimitExceeded"
    await site.cloud.delete_balancer("b7")
    assert (await ask(site, "PUT", "/v1/load-balancers/more", WANTED))[1]["address"] == addresses[7]


async def test_it_remembers(tmp_path: Path) -> None:
    """After a restart everything is there, and is done to the machine again."""
    async with clouds.local(tmp_path) as site:
        await ask(site, "PUT", "/v1/load-balancers/a", WANTED)
        await ask(site, "PUT", "/v1/routes/r", {"cidr": "10.244.2.0/24", "instance": "i-n2", "tags": {}})
        made = (await ask(site, "POST", "/v1/volumes", {"name": "v", "size": 1 << 30, "tags": {}}))[1]
        await ask(site, "POST", f"/v1/volumes/{made['id']}/attach", {"instance": "i-n1"})
        await ask(site, "PUT", "/v1/instances/i-n1/metadata-options", {"openToPods": True})
        await ask(site, "DELETE", "/v1/instances/i-n3")
        before = [(await ask(site, "GET", f"/v1/{kind}"))[1] for kind in ("instances", "load-balancers", "volumes")]
    async with clouds.local(tmp_path) as site:
        after = [(await ask(site, "GET", f"/v1/{kind}"))[1] for kind in ("instances", "load-balancers", "volumes")]
        assert after == before
        done = set(site.paper.done)
        assert {"balance", "route 10.244.2.0/24 n2", "shield n1 open", "shield n2 closed"} <= done
        assert f"attach {made['id']}.img" in done and "shield n3 closed" not in done


async def test_a_restart_forgets_instances_that_are_no_more(tmp_path: Path) -> None:
    """What the configuration does not list any more has no state."""
    async with clouds.local(tmp_path) as site:
        await ask(site, "DELETE", "/v1/instances/i-n3")
    config = clouds.config(tmp_path)
    fewer = type(config)(**{**vars(config), "instances": config.instances[:2]})
    async with AsyncExitStack() as stack:
        cloud, _ = await app.serve(fewer, Paper(), SystemClock(), stack)
        assert cloud.state.of("instances") == {}


async def test_a_terminated_instance_leaves_its_volumes(site: Local) -> None:
    """They can be attached elsewhere; its routes are dead."""
    made = (await ask(site, "POST", "/v1/volumes", {"name": "v", "size": 1, "zone": "local-c", "tags": {}}))[1]
    await ask(site, "POST", f"/v1/volumes/{made['id']}/attach", {"instance": "i-n3"})
    await ask(site, "PUT", "/v1/routes/r", {"cidr": "10.244.3.0/24", "instance": "i-n3", "tags": {}})
    await ask(site, "DELETE", "/v1/instances/i-n3")
    assert (await ask(site, "GET", f"/v1/volumes/{made['id']}"))[1]["attached"] == {}
    assert (await ask(site, "GET", "/v1/routes"))[1]["items"][0]["state"] == "blackhole"
    assert (await ask(site, "POST", f"/v1/volumes/{made['id']}/attach", {"instance": "i-n3"}))[0] == 404


async def test_a_machine_that_will_not_is_an_error_worth_repeating(site: Local) -> None:
    """503, with the program's words."""
    site.paper.failing = "stop"
    status, said = await ask(site, "POST", "/v1/instances/i-n1/stop")
    assert status == 503 and "stop n1" in said["message"]


async def test_udp_is_refused_to_the_service(site: Local) -> None:
    """As a Refused, which becomes an event."""
    assert site.provider.balancers is not None
    wanted = Balancer(
        name="a",
        service=Key("default", "dns"),
        listeners=(Listener("dns", "UDP", 53, 30053),),
        targets=(Target("n1", "i-n1", "10.0.0.1"),),
        health=Health(10256, "/healthz"),
    )
    with pytest.raises(Refused, match="TCP only"):
        await site.provider.balancers.ensure(wanted)


def test_the_configuration_of_haproxy() -> None:
    """Who may connect, how nodes are asked, and what they are told."""
    balancer = {**WANTED, "name": "a", "address": "172.31.255.4"}
    text = haproxy.configuration([balancer], stats="/s")
    lines = [line.strip() for line in text.splitlines()]
    for line in (
        "listen a:80",
        "bind 172.31.255.4:80",
        "acl permitted src 192.0.2.0/24",
        "tcp-request connection reject if !permitted",
        "balance source",
        "option httpchk GET /healthz",
        "server n1 10.0.0.1:30080",
    ):
        assert line in lines
    assert any("send-proxy-v2" in line and "port 10256" in line for line in lines)
    open_to_all = haproxy.configuration([{**balancer, "sourceRanges": [], "proxyProtocol": False}], stats="/s")
    assert "reject" not in open_to_all and "send-proxy" not in open_to_all
