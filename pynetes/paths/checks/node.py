"""Paths 10, 11 and 14: the API server and the kubelets, both ways, and a kubelet with its container runtime."""

import asyncio
import ssl
from datetime import UTC, datetime

from pynetes.apis.coordination import leases
from pynetes.apis.core import nodes, secrets
from pynetes.client.rest import Client
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.paths.check import Check, Failed, expect
from pynetes.paths.scene import NAMESPACE, Scene
from pynetes.pki.layout import Layout
from pynetes.rpc import channel
from pynetes.rpc.cri import runtime_v1_pb2 as messages
from pynetes.rpc.cri import runtime_v1_pb2_grpc as stubs

PORT = 10250
#: A Lease is renewed every 10 s and given up after 40.
FRESH = 40


async def _api_to_kubelet(scene: Scene) -> str:
    """Logs come through the API server; a dial with no identity is refused, and the certificate names the node."""
    evidence = []
    for pod in await scene.pods():
        name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
        said = (await scene.exec(name, "hostname")).strip()
        expect(said == name, f"exec in {name} on {node} said {said!r}")
        address = _address(await scene.client.get(nodes.RESOURCE, Key("", node)))
        evidence.append(f"{node} ({address}): {await _anonymous(scene, address)}")
    return "exec through every kubelet; " + "; ".join(dict.fromkeys(evidence))


async def _anonymous(scene: Scene, address: str) -> str:
    """What a kubelet answers to somebody with no certificate and no token."""
    ca = Layout(scene.site.state).pair("ca").certificate
    context = ssl.create_default_context(cafile=str(ca))
    reader, writer = await asyncio.open_connection(address, PORT, ssl=context, server_hostname=address)
    subject = dict(pair[0] for pair in writer.get_extra_info("peercert")["subject"])
    writer.write(f"GET /pods HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
    status = (await reader.readline()).decode().split(" ", 2)
    writer.close()
    expect(status[1] in ("401", "403"), f"{address}:{PORT} answered {status[1]} to a request without identity")
    return f"{subject['commonName']} answers {status[1]} without identity"


def _address(node: Object) -> str:
    addresses = {item["type"]: item["address"] for item in node["status"]["addresses"]}
    return str(addresses["InternalIP"])


async def _kubelet_to_api(scene: Scene) -> str:
    """The Lease is fresh, and a node's own credentials reach neither other secrets nor other nodes."""
    layout = Layout(scene.site.state)
    evidence = []
    names = sorted(scene.site.runtimes)
    await scene.namespace()
    await scene.ensure(secrets.RESOURCE, {"metadata": {"name": "private"}, "stringData": {"k": "v"}})
    for name in names:
        renewed = (await scene.client.get(leases.RESOURCE, Key("kube-node-lease", name)))["spec"]["renewTime"]
        age = (datetime.now(UTC) - time.parse(renewed)).total_seconds()
        expect(age < FRESH, f"the Lease of {name} is {age:.0f} s old")
        kubelet = Client.from_kubeconfig(str(layout.node(name).kubeconfig("kubelet.conf")))
        try:
            refusals = [await _refused(kubelet, "read a secret no pod of its uses", secret=True)]
            others = [other for other in names if other != name]
            if others:
                refusals.append(await _refused(kubelet, f"change the node {others[0]}", node=others[0]))
        finally:
            await kubelet.close()
        evidence.append(f"{name}: Lease {age:.1f} s old; " + "; ".join(refusals))
    return "; ".join(evidence)


async def _refused(kubelet: Client, what: str, *, secret: bool = False, node: str = "") -> str:
    try:
        if secret:
            await kubelet.get(secrets.RESOURCE, Key(NAMESPACE, "private"))
        if node:
            await kubelet.patch(nodes.RESOURCE, Key("", node), {"metadata": {"labels": {"stolen": "yes"}}})
    except StatusError as error:
        if error.reason == "Forbidden":
            return f"403 when it tries to {what}"
        raise
    raise Failed(f"a node was allowed to {what}")


async def _runtime(scene: Scene) -> str:
    """Each node's runtime speaks CRI, and has a sandbox for each running pod that the API knows on the node."""
    evidence = []
    web = await scene.pods()
    for name, socket in sorted(scene.site.runtimes.items()):
        connection = channel.unix_channel(socket, path=0, source="pynetes", target="containerd")
        try:
            runtime = stubs.RuntimeServiceStub(connection)  # type: ignore[no-untyped-call] # generated
            version = await runtime.Version(messages.VersionRequest())
            listed = await runtime.ListPodSandbox(messages.ListPodSandboxRequest())
        finally:
            await connection.close()
        uids = {item.metadata.uid for item in listed.items if item.state == messages.SANDBOX_READY}
        for pod in web:
            here = pod["spec"]["nodeName"] == name
            expect(not here or pod["metadata"]["uid"] in uids, f"{name} has no sandbox for {pod['metadata']['name']}")
        runs = f"{version.runtime_name} {version.runtime_version} (CRI {version.runtime_api_version})"
        evidence.append(f"{name}: {runs}, {len(uids)} sandboxes")
    return "; ".join(evidence)


CHECKS = (Check((10,), _api_to_kubelet), Check((11,), _kubelet_to_api), Check((14,), _runtime))
