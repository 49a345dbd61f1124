"""A dashboard in front of a cluster in this process, and people to look at it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from multidict import CIMultiDictProxy

from pynetes.apis.core import namespaces, serviceaccounts
from pynetes.apis.rbac import clusterrolebindings, rolebindings
from pynetes.component import serving, tasks
from pynetes.dashboard import app
from pynetes.machinery.meta import Key, Object
from pynetes.testing.cluster import Cluster


@dataclass
class Answer:
    """A whole answer of the dashboard."""

    status: int
    headers: "CIMultiDictProxy[str]"
    body: bytes

    def json(self) -> Object:
        """The body as an object."""
        found: Object = orjson.loads(self.body)
        return found


class Browser:
    """What a browser does of HTTP: keeps the cookie, sends the page's secret with writes."""

    def __init__(self, url: str) -> None:
        self.url, self.guard, self.user = url, "", {}
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), cookie_jar=aiohttp.CookieJar(unsafe=True)
        )

    async def ask(self, method: str, path: str, body: object = None, *, guard: bool = True, **headers: str) -> Answer:
        """Send a request; header names have _ for -."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if guard and self.guard:
            sent.setdefault("X-Pynetes-Guard", self.guard)
        async with self.http.request(method, self.url + path, json=body, headers=sent) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def login(self, credential: str) -> Answer:
        """Log in and keep what the page would."""
        answer = await self.ask("POST", "/session", {"credential": credential})
        if answer.status == 200:
            self.guard, self.user = str(answer.json()["guard"]), answer.json()["user"]
        return answer


@dataclass
class Dashboard:
    """Where it is, and the cluster behind it."""

    url: str
    cluster: Cluster

    async def token(self, namespace: str, name: str, role: str = "", *, everywhere: bool = False) -> str:
        """A new ServiceAccount's token; with a ClusterRole in its namespace, or everywhere."""
        client = self.cluster.client
        if await client.find(namespaces.RESOURCE, Key("", namespace)) is None:
            await client.create(namespaces.RESOURCE, {"metadata": {"name": namespace}})
        await client.create(serviceaccounts.RESOURCE, {"metadata": {"name": name}}, namespace=namespace)
        if role:
            kind = clusterrolebindings.RESOURCE if everywhere else rolebindings.RESOURCE
            binding: Object = {
                "metadata": {"name": f"{namespace}-{name}-{role}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            await client.create(kind, binding, namespace="" if everywhere else namespace)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = await client.request("POST", path, body=request)
        return str(orjson.loads(answer.body)["status"]["token"])


@asynccontextmanager
async def served(cluster: Cluster, **more: Any) -> AsyncIterator[Dashboard]:
    """The component itself, on a free port."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    given = {"kubeconfig": str(cluster.kubeconfig), "bind_address": "127.0.0.1", "secure_port": 0, "health_port": 0}
    config = app.Config(**{**given, **more})
    async with tasks.Group() as group:
        group.start(app.run(config, listening=found.set_result))
        yield Dashboard(f"https://127.0.0.1:{await found}", cluster)


@pytest.fixture
async def dashboard(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Dashboard]:
    """In front of the cluster, with the traffic of this process on its map."""
    seen = serving.serve_paths(str(tmp_path / "apiserver.sock"), "kube-apiserver")
    async with seen, served(cluster, paths_dir=str(tmp_path)) as running:
        yield running


@pytest.fixture
async def browser(dashboard: Dashboard) -> AsyncIterator[Browser]:
    """Nobody is logged in yet."""
    made = Browser(dashboard.url)
    yield made
    await made.http.close()
