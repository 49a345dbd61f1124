"""A node of a cloud: what its kubelet takes from the metadata service, and how it registers; without one, neither."""

from dataclasses import replace

import pytest
from aiohttp import web

from pynetes.component import serving
from pynetes.kubelet import cloud
from pynetes.kubelet.config import Config
from pynetes.kubelet.machine import Machine
from pynetes.kubelet.node import Facts, initial
from pynetes.machinery.meta import Object
from pynetes.testing.clock import VirtualClock

KNOWN = {
    "instance-id": "i-1", "placement/availability-zone": "local-a", "services/partition": "local",
    "instance-type": "local.2c4g", "placement/region": "local", "local-ipv4": "192.0.2.7",
}  # fmt: skip
CONFIG = Config(cloud_provider="external")
MACHINE = Machine(
    cpus=2, memory=1 << 32, swap=0, disk=1 << 34, machine_id="m", system_uuid="s", boot_id="b", kernel="6",
    os_image="Debian", architecture="amd64",
)  # fmt: skip


def service(refusals: int = 0) -> web.Application:
    """A metadata service that knows one session token, and does not answer the first requests for it."""
    left = refusals

    async def token(_request: web.Request) -> web.Response:
        nonlocal left
        left -= 1
        return web.Response(status=503) if left >= 0 else web.Response(text="t")

    async def read(request: web.Request) -> web.Response:
        if request.headers.get("X-aws-ec2-metadata-token") != "t":
            return web.Response(status=401)
        return web.Response(text=KNOWN[request.match_info["path"]])

    app = web.Application()
    app.router.add_put("/latest/api/token", token)
    app.router.add_get("/latest/meta-data/{path:.*}", read)
    return app


async def test_provider_id_and_address_come_from_the_metadata_service() -> None:
    """A flag that says otherwise counts more; with both flags nothing is asked."""
    async with serving.serve(service()) as port:
        asking = replace(CONFIG, cloud_metadata=f"http://127.0.0.1:{port}")
        found = await cloud.learnt(asking, VirtualClock())
        assert (found.provider_id, found.node_ip) == ("local:///local-a/i-1", "192.0.2.7")
        told = await cloud.learnt(replace(asking, node_ip="192.0.2.9"), VirtualClock())
        assert (told.provider_id, told.node_ip) == ("local:///local-a/i-1", "192.0.2.9")
    both = replace(CONFIG, cloud_metadata="http://127.0.0.1:1", provider_id="x:///y", node_ip="192.0.2.9")
    assert await cloud.learnt(both, VirtualClock()) == both


async def test_a_service_that_is_not_there_yet_is_waited_for() -> None:
    """A node must not register as somebody else because its cloud was late."""

    class Patient(VirtualClock):
        """Sleeping takes no time, and is counted."""

        slept = 0

        async def sleep(self, seconds: float) -> None:
            self.slept += 1

    clock = Patient()
    async with serving.serve(service(refusals=3)) as port:
        found = await cloud.learnt(replace(CONFIG, cloud_metadata=f"http://127.0.0.1:{port}"), clock)
    assert found.provider_id == "local:///local-a/i-1" and clock.slept == 3


@pytest.mark.parametrize("external", [True, False])
def test_only_a_cloud_taints_new_nodes(external: bool) -> None:
    """With --cloud-provider=external: the uninitialized taint and the address to prefer. Without: neither."""
    made: Object = initial(
        Facts(
            name="n1", ips=["192.0.2.7"], machine=MACHINE, runtime="containerd://1", port=10250, max_pods=110,
            labels={}, taints=(), provider_id="local:///local-a/i-1" if external else "",
            external=cloud.is_external(CONFIG if external else Config()),
        )
    )  # fmt: skip
    assert made["spec"] == ({"taints": [cloud.UNINITIALIZED], "providerID": "local:///local-a/i-1"} if external else {})
    assert (cloud.PROVIDED_NODE_IP in made["metadata"]["annotations"]) is external
