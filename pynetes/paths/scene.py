"""The stage on which paths are exercised: the running cluster, and a namespace with two pods on it.

The pods are made once, when a check first needs them, on two nodes where there are two, and removed at the end.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pynetes.apis.core import namespaces, nodes, pods, serviceaccounts, services
from pynetes.apis.rbac import rolebindings
from pynetes.client.rest import Client
from pynetes.component import command
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource

NAMESPACE = "pynetes-verify"
READY_WITHIN = 60.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the cluster is and what may be used on it."""

    state: Path
    kubeconfig: Path
    kubectl: str
    paths_dir: Path
    etcd: str
    dns_service: str
    domain: str
    proxy_mode: str
    #: An image with a shell, and one with Python.
    shell_image: str
    python_image: str
    #: Node name → CRI socket.
    runtimes: Mapping[str, Path]


@dataclass
class Scene:
    """A site with a client and, once asked for, pods."""

    site: Site
    client: Client
    _pods: list[Object] = field(default_factory=list)
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def kubectl(self, *argv: str, given: str = "", check: bool = True) -> command.Result:
        """Run the official kubectl as the administrator."""
        env = {**os.environ, "KUBECONFIG": str(self.site.kubeconfig)}
        return await command.run([self.site.kubectl, *argv], env=env, given=given, check=check, timeout=60)

    async def exec(self, pod: str, *argv: str, check: bool = True) -> str:
        """A command in one of the pods."""
        result = await self.kubectl("-n", NAMESPACE, "exec", pod, "--", *argv, check=check)
        return result.out + ("" if check else result.err)

    async def pods(self) -> list[Object]:
        """Two pods named web-0 and web-1 behind the Service web, Ready, on two nodes if there are two."""
        async with self._making:
            if not self._pods:
                self._pods = await self._make()
            return self._pods

    async def namespace(self) -> None:
        """The namespace, with its ServiceAccount. One that an earlier run has left is on its way out: wait for it."""

        async def made() -> bool:
            found = await self.ensure(namespaces.RESOURCE, {"metadata": {"name": NAMESPACE}})
            return "deletionTimestamp" not in found["metadata"]

        await eventually(made, f"the namespace {NAMESPACE} of an earlier run does not go away", within=READY_WITHIN)
        from_path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"

        async def there() -> bool:
            try:
                await self.client.request("GET", from_path)
            except StatusError:
                return False
            return True

        await eventually(there, f"no ServiceAccount default in {NAMESPACE}")

    async def token(self, name: str, role: str, *, seconds: int) -> str:
        """A token of a ServiceAccount of the namespace, which has a ClusterRole there and nowhere else."""
        await self.namespace()
        await self.ensure(serviceaccounts.RESOURCE, {"metadata": {"name": name}})
        binding: Object = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
        }
        await self.ensure(rolebindings.RESOURCE, binding)
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        key = Key(NAMESPACE, name)
        answer = await self.client.create(serviceaccounts.RESOURCE, request, subresource="token", key=key)
        return str(answer["status"]["token"])

    async def ensure(self, resource: Resource, obj: Object) -> Object:
        """Create it, or take the one that is there."""
        try:
            return await self.client.create(resource, obj, namespace=NAMESPACE if resource.namespaced else "")
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
        metadata = obj["metadata"]
        found = await self.client.find(resource, Key(NAMESPACE if resource.namespaced else "", metadata["name"]))
        # Gone between the two questions.
        return found or await self.ensure(resource, obj)

    async def _make(self) -> list[Object]:
        await self.namespace()
        names = [node["metadata"]["name"] for node in (await self.client.list(nodes.RESOURCE)).items]
        service = {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
        await self.ensure(services.RESOURCE, service)
        for number in range(2):
            await self.ensure(pods.RESOURCE, self._pod(f"web-{number}", names[number % len(names)]))
        made: list[Object] = []

        async def ready() -> bool:
            made[:] = (await self.client.list(pods.RESOURCE, namespace=NAMESPACE, label_selector="app=web")).items
            return len(made) == 2 and all(is_ready(pod) for pod in made)

        await eventually(ready, f"the pods in {NAMESPACE} are not Ready", within=READY_WITHIN)
        return sorted(made, key=lambda pod: str(pod["metadata"]["name"]))

    def _pod(self, name: str, node: str) -> Object:
        serve = "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www"
        container = {
            "name": "web",
            "image": self.site.shell_image,
            "command": ["sh", "-c", serve],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        }
        return {
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {
                "containers": [container],
                "nodeSelector": {"kubernetes.io/hostname": node},
                "terminationGracePeriodSeconds": 0,
            },
        }

    async def close(self) -> None:
        """Remove the namespace; it goes in the background."""
        try:
            await self.client.delete(namespaces.RESOURCE, Key("", NAMESPACE))
        except StatusError as error:
            if error.reason != "NotFound":
                raise


@asynccontextmanager
async def scene(site: Site) -> AsyncIterator[Scene]:
    """A scene while the block runs; what it made is removed afterwards."""
    client = Client.from_kubeconfig(str(site.kubeconfig), component="kubectl")
    made = Scene(site, client)
    try:
        yield made
        await made.close()
    finally:
        await client.close()


def is_ready(pod: Object) -> bool:
    """Whether its Ready condition is true."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


async def eventually(holds: Callable[[], Awaitable[bool]], problem: str, *, within: float = 20.0) -> float:
    """Wait until it holds; the seconds that took. Raises TimeoutError with the problem."""
    began = time.monotonic()
    while not await holds():
        if time.monotonic() - began > within:
            raise TimeoutError(f"{problem} within {within:.0f} s")
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def compact(document: Object) -> str:
    """JSON on one line, for evidence."""
    return json.dumps(document, separators=(",", ":"))
