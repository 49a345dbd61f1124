"""A kubelet under test: the real one, on an API in memory and on whichever runtime answers at the socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pynetes.apis.core import events, nodes, pods, serviceaccounts
from pynetes.client.fake import FakeAPI
from pynetes.component import tasks
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.config import Config
from pynetes.kubelet.kubelet import Kubelet
from pynetes.machinery.meta import Key, Object

IMAGE = "pynetes.io/busybox:1.35"
PATIENCE = 30.0


def pod(name: str, command: str = "sleep 1000", **spec: Any) -> Object:
    """A pod of one container c that runs a shell command."""
    container = {
        "name": "c",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", command],
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", **spec.pop("metadata", {})},
        "spec": {
            "nodeName": "n1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }


class Rig:
    """The API, the kubelet, and what tests ask of both."""

    def __init__(self, kubelet: Kubelet, api: FakeAPI) -> None:
        self.kubelet, self.api = kubelet, api

    def status(self, name: str) -> Object:
        """A pod's status as the API has it."""
        found = self.api.get(pods.RESOURCE, Key("default", name)) or {}
        return found.get("status") or {}

    def container(self, name: str, container: str = "c") -> Object:
        """A container's status."""
        status = self.status(name)
        shown = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
        return next((one for one in shown if one["name"] == container), {})

    def ready(self, name: str) -> bool:
        """Whether a pod is Ready."""
        conditions = self.status(name).get("conditions") or ()
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def reasons(self, name: str) -> list[str]:
        """Reasons of the events about a pod."""
        return [one["reason"] for one in self.api.listed(events.RESOURCE) if one["involvedObject"]["name"] == name]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; fails, saying what there is, after a while."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            told = [f"{one['reason']}: {one['message']}" for one in self.api.listed(events.RESOURCE)]
            shown = [one.get("status") for one in self.api.listed(pods.RESOURCE)]
            raise AssertionError("\n".join(["it never held", *told, *map(str, shown)])) from None

    async def started(self, obj: Object) -> None:
        """Create a pod and wait until it is Ready."""
        self.api.put(obj)
        await self.until(lambda: self.ready(obj["metadata"]["name"]))

    async def deleted(self, name: str, grace: int = 1) -> None:
        """As deleted_object, with no other pods left."""
        await self.deleted_object(name, grace)
        await self.until(lambda: not self.kubelet.workers)

    async def deleted_object(self, name: str, grace: int = 1) -> None:
        """Ask for deletion as the API server marks it, and wait until the kubelet has let the object go."""
        found = self.api.get(pods.RESOURCE, Key("default", name))
        assert found
        marks = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
        self.api.put({**found, "metadata": {**found["metadata"], **marks}})
        await self.until(lambda: self.api.get(pods.RESOURCE, Key("default", name)) is None)

    def log(self, name: str, container: str = "c", attempt: int = 0) -> str:
        """What a container has written."""
        path = self.kubelet.ctx.log_root / f"default_{name}_uid-{name}" / container / f"{attempt}.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return "".join(line.split(" ", 3)[3] + "\n" for line in lines)

    async def exec(self, name: str, *command: str, container: str = "c") -> str:
        """Run a command in a container."""
        latest = self.kubelet.ctx.pleg.get(f"uid-{name}").latest(container)
        assert latest
        _, output = await self.kubelet.ctx.runtime.exec_sync(latest.id, command, 10)
        return output.decode()


@asynccontextmanager
async def running(
    endpoint: str, root: Path, api: FakeAPI | None = None, *, cgroups: Cgroups | None = None, **options: Any
) -> AsyncIterator[Rig]:
    """A kubelet until the block ends; its node is Ready."""
    api = api or FakeAPI()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    if api.get(serviceaccounts.RESOURCE, Key("default", "default")) is None:
        api.put(account)
    config = Config(
        hostname_override="n1",
        node_ip="10.0.0.5",
        container_runtime_endpoint=endpoint,
        root_dir=str(root),
        port=0,
        address="127.0.0.1",
        **{"authorization_mode": "AlwaysAllow", "anonymous_auth": True, **options},
    )
    kubelet = Kubelet(config, client=api.client(component="kubelet"), cgroups=cgroups)
    rig = Rig(kubelet, api)
    async with tasks.Group() as group:
        group.start(kubelet.run())
        await rig.until(lambda: _node_ready(api) and kubelet.started.is_set())
        yield rig


def _node_ready(api: FakeAPI) -> bool:
    node = api.get(nodes.RESOURCE, Key("", "n1")) or {}
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
