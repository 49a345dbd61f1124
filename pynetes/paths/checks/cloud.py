"""Paths 19, 26 and 27: the cloud controller manager and its cloud, and nodes and their metadata service."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import yaml

from pynetes.apis.coordination import leases
from pynetes.apis.core import nodes, services
from pynetes.cloud import names, providers
from pynetes.cloud.provider import Denied, Instance, Provider, balancer_name
from pynetes.cloud.providers import Settings
from pynetes.component import command
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.paths.check import Absent, Check, Failed, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually

GIB = 1 << 30
REMEDY = "this cluster has no cloud; `pynetes up --cloud local` gives it one"
SERVICE = "verify-balanced"
#: Seconds in which a balancer must answer.
WITHIN = 30.0


def _configuration(scene: Scene) -> Object:
    """What the local cloud was told. Raises Absent where there is none."""
    path = scene.site.state / "cloud" / "local-cloud.yaml"
    if not path.exists():
        raise Absent(REMEDY)
    document: Object = yaml.safe_load(path.read_text())
    return document


@asynccontextmanager
async def _cloud(scene: Scene, *, token: str = "") -> AsyncIterator[Provider]:
    """The cloud, through the provider that the controllers use, with their credentials or others."""
    cluster = _configuration(scene)["cluster"]
    given = yaml.safe_load((scene.site.state / "cloud" / "cloud-config.yaml").read_text())
    if token:
        given = {**given, "token": token}
    provider = await providers.connect("local", Settings(config=yaml.safe_dump(given), cluster=cluster))
    try:
        yield provider
    finally:
        await provider.close()


async def _nodes(scene: Scene) -> str:
    """Every node is what the cloud says of its instance; wrong credentials are refused."""
    _configuration(scene)
    async with _cloud(scene) as provider:
        machines = {each.provider_id: each for each in await provider.instances.list()}
    async with _cloud(scene, token="not-the-token") as stranger:
        try:
            await stranger.instances.list()
            raise Failed("the cloud answered to a wrong token")
        except Denied as error:
            refusal = str(error)
    told = [_compared(node, machines) for node in (await scene.client.list(nodes.RESOURCE)).items]
    lease = await scene.client.get(leases.RESOURCE, Key("kube-system", "cloud-controller-manager"))
    return f"{'; '.join(told)}; led by {lease['spec']['holderIdentity']}; a wrong token: {refusal}"


def _compared(node: Object, machines: dict[str, Instance]) -> str:
    name, labels = node["metadata"]["name"], node["metadata"]["labels"]
    machine = machines.get(node["spec"].get("providerID", ""))
    if machine is None:
        raise Failed(f"{name} has the provider ID {node['spec'].get('providerID')!r}, which the cloud does not know")
    taints = [taint["key"] for taint in node["spec"].get("taints") or ()]
    expect(names.UNINITIALIZED not in taints, f"{name} still waits for its cloud")
    addresses = {(each["type"], each["address"]) for each in node["status"]["addresses"]}
    expect(set(machine.addresses) <= addresses, f"{name} has {addresses}, the cloud says {machine.addresses}")
    wanted = {names.INSTANCE_TYPE: machine.type, names.ZONE: machine.zone, names.REGION: machine.region}
    for label, value in wanted.items():
        expect(labels.get(label) == value, f"{name}: {label} is {labels.get(label)!r}, the cloud says {value!r}")
    return f"{name} is {machine.provider_id}, {machine.type}, {', '.join(each.address for each in machine.addresses)}"


async def _balancers_and_volumes(scene: Scene) -> str:
    """A balancer answers and goes; a volume is made, attached, grown, copied, detached and removed."""
    _configuration(scene)
    await scene.pods()
    async with _cloud(scene) as provider:
        return f"{await _balanced(scene, provider)}; {await _stored(provider)}"


async def _balanced(scene: Scene, provider: Provider) -> str:
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    began = time.monotonic()
    service = await scene.ensure(services.RESOURCE, {"metadata": {"name": SERVICE}, "spec": spec})
    key, address, said = Key(NAMESPACE, SERVICE), "", ""
    try:

        async def answers() -> bool:
            nonlocal address, said
            found = await scene.client.get(services.RESOURCE, key)
            ingress = (found["status"].get("loadBalancer") or {}).get("ingress") or ()
            address = ingress[0]["ip"] if ingress else ""
            said = await _get(f"http://{address}/") if address else ""
            return said.startswith("web-")

        await eventually(answers, f"nothing answers at {address or 'any address'}", within=WITHIN)
        seconds = time.monotonic() - began
        name = balancer_name(service["metadata"]["uid"])
        assert provider.balancers is not None
        expect((await provider.balancers.names()).get(name) == key, f"the cloud has no balancer {name} for {key}")
    finally:
        await _delete(scene, key)

    async def gone() -> bool:
        assert provider.balancers is not None
        return name not in await provider.balancers.names() and await _absent(scene, key)

    await eventually(gone, f"the balancer {name} stays", within=WITHIN)
    return f"{address} answered {said.strip()} {seconds:.1f} s after the Service was made, and is gone with it"


async def _get(url: str) -> str:
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        await asyncio.sleep(0.05)
        return ""


async def _delete(scene: Scene, key: Key) -> None:
    try:
        await scene.client.delete(services.RESOURCE, key)
    except StatusError as error:
        if error.reason != "NotFound":
            raise


async def _absent(scene: Scene, key: Key) -> bool:
    return await scene.client.find(services.RESOURCE, key) is None


async def _stored(provider: Provider) -> str:
    volumes = provider.volumes
    assert volumes is not None
    machine = (await provider.instances.list())[0]
    made = await volumes.create("pynetes-verify", size=GIB, zone=machine.zone, tags={})
    try:
        device = await volumes.attach(made.id, machine.id)
        before = await _size(device)
        grown = await volumes.expand(made.id, 2 * GIB)
        after = await _size(device)
        expect((before, after) == (made.size, grown), f"{device} has {before} and then {after} bytes")
        copy = await volumes.snapshot("pynetes-verify", made.id)
        await volumes.delete_snapshot(copy.id)
        await volumes.detach(made.id, machine.id)
    finally:
        await volumes.detach(made.id, machine.id)
        await volumes.delete(made.id)
    left = [each.id for each in await volumes.list() if each.id == made.id]
    expect(not left, f"the volume {made.id} is still there")
    return f"{made.id}: {device} on {machine.name} grew from {before >> 20} to {after >> 20} MiB, copied, removed"


async def _size(device: str) -> int:
    return int((await command.run(["blockdev", "--getsize64", device])).out)


#: Run on a node: who it is, what a request without token gets, and whether the role's credentials come.
_ASK = """
import asyncio, json, aiohttp
from pynetes.client.imds import ADDRESS, Metadata
async def main():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
        async with session.get(ADDRESS + "/latest/meta-data/instance-id") as answer:
            bare = answer.status
    async with Metadata(source="pynetes") as metadata:
        me, role = await metadata.whoami(), await metadata.get("iam/security-credentials/")
        credentials = json.loads(await metadata.get("iam/security-credentials/" + role))
    print(json.dumps({"id": me.provider_id, "bare": bare, "role": role, "until": credentials["Expiration"]}))
asyncio.run(main())
"""


async def _metadata(scene: Scene) -> str:
    """Every node learns who it is, with a token only; a pod on it learns nothing."""
    told = []
    found = {node["metadata"]["name"]: node for node in (await scene.client.list(nodes.RESOURCE)).items}
    for machine in _configuration(scene)["instances"]:
        if machine["name"] not in found:
            continue
        inside = ["nsenter", f"--net=/run/netns/{machine['namespace']}", "--"] if machine["namespace"] else []
        said = json.loads((await command.run([*inside, sys.executable, "-c", _ASK], timeout=30)).out)
        expected = found[machine["name"]]["spec"].get("providerID")
        expect(said["id"] == expected, f"{machine['name']} learns that it is {said['id']}, but is {expected}")
        expect(said["bare"] == 401, f"{machine['name']} got {said['bare']} without a token")
        told.append(f"{machine['name']} is {said['id']}, {said['role']} until {said['until']}")
    for pod in await scene.pods():
        name = pod["metadata"]["name"]
        url = "http://169.254.169.254/latest/meta-data/"
        answer = await scene.exec(name, "wget", "-T", "3", "-qO-", url, check=False)
        expect("401" not in answer and "instance-id" not in answer, f"the pod {name} reached it: {answer!r}")
    return f"{'; '.join(told)}; 401 without a token; refused to pods on {len(await scene.pods())} nodes"


CHECKS = (Check((19,), _nodes), Check((26,), _balancers_and_volumes), Check((27,), _metadata))
