"""Paths 12, 13, 17 and 20: a Service reaches the kernel, and packets find pods through it."""

import asyncio
import json
import shutil

from pynetes.apis.core import services
from pynetes.component import command
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key
from pynetes.paths.check import Check, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually

#: Enough requests that two endpoints are both met but for a chance of one in a million.
REQUESTS = 20


async def _rules(scene: Scene) -> str:
    """A new Service's address is in the kernel's rules of this machine soon after, and gone soon after its deletion."""
    await scene.pods()
    spec = {"selector": {"app": "web"}, "ports": [{"port": 81, "targetPort": 8080}]}
    key = Key(NAMESPACE, "ruled")
    try:
        await scene.client.delete(services.RESOURCE, key)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
    service = await scene.client.create(
        services.RESOURCE, {"metadata": {"name": key.name}, "spec": spec}, namespace=NAMESPACE
    )
    address = service["spec"]["clusterIP"]

    async def there() -> bool:
        return address in await _ruleset()

    added = await eventually(there, f"{address} of the Service ruled is not in the kernel's rules")
    await scene.client.delete(services.RESOURCE, key)

    async def gone() -> bool:
        return not await there()

    removed = await eventually(gone, f"{address} stayed in the kernel's rules")
    return (
        f"{scene.site.proxy_mode}: {address}:81 in the rules {added * 1000:.0f} ms after the Service was made, "
        f"out {removed * 1000:.0f} ms after it was deleted"
    )


async def _ruleset() -> str:
    """Both kinds of rules, whichever the proxy writes."""
    listings = [["nft", "list", "ruleset"], ["iptables-save", "-t", "nat"]]
    found = [await command.run(argv, check=False) for argv in listings if shutil.which(argv[0])]
    return "".join(result.out for result in found)


async def _packets(scene: Scene) -> str:
    """Both pods answer through the Service, asked from each of the pods (so also from themselves), and by address."""
    web = await scene.pods()
    service = await scene.client.get(services.RESOURCE, Key(NAMESPACE, "web"))
    address = service["spec"]["clusterIP"]
    loop = f"for i in $(seq {REQUESTS}); do timeout 5 wget -q -O - http://{address}/; done"
    found = await asyncio.gather(*(scene.exec(pod["metadata"]["name"], "sh", "-c", loop) for pod in web))
    names = {pod["metadata"]["name"] for pod in web}
    shares = []
    for pod, text in zip(web, found, strict=True):
        answers = text.split()
        expect(set(answers) == names, f"{pod['metadata']['name']} heard from {sorted(set(answers))}")
        own = answers.count(pod["metadata"]["name"])
        shares.append(f"{pod['metadata']['name']} on {pod['spec']['nodeName']}: {own} of {len(answers)} from itself")
    for source, target in ((web[0], web[1]), (web[1], web[0])):
        url = f"http://{target['status']['podIP']}:8080/"
        said = (await scene.exec(source["metadata"]["name"], "timeout", "5", "wget", "-q", "-O", "-", url)).strip()
        expect(said == target["metadata"]["name"], f"{url} answered {said!r}")
    return f"through {address}: {json.dumps(shares)[1:-1]}; and directly both ways"


CHECKS = (Check((12, 13, 17), _rules), Check((20,), _packets))
