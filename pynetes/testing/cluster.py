"""A whole cluster in one process and one event loop, ready in a moment: what a test of an operator wants.

    async with Cluster(nodes=2) as cluster:
        await cluster.client.create(deployments.RESOURCE, deployment)
        await cluster.until(deployments.RESOURCE, key, lambda found: found["status"].get("readyReplicas") == 3)

The API server keeps everything in memory and serves real HTTPS on a free port (`cluster.kubeconfig` is for kubectl and
any other client); controllers and scheduler are the real ones; nodes are scripted (testing/nodes.py).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from cryptography.hazmat.primitives.serialization import Encoding

from pynetes import controllers
from pynetes.apis.core import nodes as node_kind
from pynetes.apis.core import serviceaccounts
from pynetes.apiserver import app, http
from pynetes.apiserver.config import Config
from pynetes.apiserver.server import TLS
from pynetes.client.controller import Controller
from pynetes.client.manager import Manager
from pynetes.client.rest import Client
from pynetes.client.transport import Call, InProcessTransport, Stream
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.tasks import Group
from pynetes.component.tracing import Identity
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.pki import issue, kubeconfig
from pynetes.pki.layout import CLUSTER_CA, MASTERS, Leaf, names
from pynetes.scheduler.scheduler import Scheduler
from pynetes.storage.memory import MemoryBackend
from pynetes.testing.clock import settle
from pynetes.testing.nodes import ScriptedNode, Stages, default_stages

NAME = "pynetes-test"
#: Looks in a row at a cluster where nothing happens, after which it has settled.
CALM = 3
_ACCOUNT_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:kube-system")


class Cluster:
    """See the module. With run_controllers or run_scheduler False, those are left to the test."""

    def __init__(
        self,
        *,
        nodes: int = 1,
        run_controllers: bool = True,
        run_scheduler: bool = True,
        stages: Stages = default_stages,
        clock: Clock | None = None,
    ) -> None:
        self._nodes, self._stages, self._clock = nodes, stages, clock or SystemClock()
        self._wanted = run_controllers, run_scheduler
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Cluster":
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def _start(self) -> None:
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="pynetes-")))
        self._authority = issue.authority(CLUSTER_CA.common_name, datetime.now(UTC))
        config, tls = self._configured(folder)
        self.server = await self._stack.enter_async_context(
            app.running(app.build(config, MemoryBackend(), self._clock), tls=tls)
        )
        self.url = f"https://127.0.0.1:{self.server.port}"
        self.kubeconfig = folder / "admin.conf"
        self.kubeconfig.write_bytes(self._kubeconfig("kubernetes-admin", MASTERS))
        self.client = self.client_as("kubernetes-admin", MASTERS, component="kubectl")
        group = await self._stack.enter_async_context(Group())
        run_controllers, run_scheduler = self._wanted
        if run_controllers:
            self._masters = self._issue("kubernetes-super-admin", [MASTERS]).certificate.public_bytes(Encoding.DER)
            client = self.client_as("system:kube-controller-manager", component="kube-controller-manager")
            authority = self._authority
            settings = controllers.Config(
                root_ca=authority.certificate_pem.decode,
                signing=lambda: authority,
            )
            found = controllers.load(settings)
            self.manager = Manager(client, found, clock=self._clock, client_of=self._controller_client)
            group.start(self.manager.run(), name="controllers")
        if run_scheduler:
            client = self.client_as("system:kube-scheduler", component="kube-scheduler")
            self.scheduler = Scheduler(client, clock=self._clock)
            group.start(self.scheduler.run(), name="scheduler")
        for number in range(1, self._nodes + 1):
            name = f"node-{number}"
            client = self.client_as(f"system:node:{name}", "system:nodes", component="kubelet")
            node = ScriptedNode(client, name, number, clock=self._clock, stages=self._stages)
            group.start(node.run(), name=name)

        if run_controllers:
            # Before, pods would be refused: their ServiceAccount is not there yet, or no node is free of taints.
            await self.until(serviceaccounts.RESOURCE, Key("default", "default"), lambda _: True)
            for number in range(1, self._nodes + 1):
                await self.until(node_kind.RESOURCE, Key("", f"node-{number}"), _untainted)

    def client_as(self, user: str, *groups: str, component: str = "kubectl") -> Client:
        """A client in this process that is authenticated as a user, by a certificate like any other."""
        certificate = self._issue(user, groups).certificate
        identity = Identity(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            expires=certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        transport = InProcessTransport(self._handler(certificate.public_bytes(Encoding.DER)), identity=identity)
        return Client(transport, component=component, clock=self._clock)

    def ssl_context(self) -> ssl.SSLContext:
        """Trusts the API server, for clients that take no kubeconfig."""
        return ssl.create_default_context(cadata=self._authority.certificate_pem.decode())

    async def until(self, resource: Resource, key: Key, holds: Callable[[Object], bool]) -> Object:
        """Wait, by watching, until an object is there and a condition holds for it; the object then.

        Wrap it in asyncio.timeout: it waits forever."""
        while True:
            listed = await self.client.list(resource, namespace=key.namespace, field_selector=_named(key))
            if listed.items and holds(listed.items[0]):
                return listed.items[0]
            watch = self.client.watch(
                resource, namespace=key.namespace, name=key.name, resource_version=listed.resource_version
            )
            async with watch as events:
                async for event in events:
                    if event.type in ("ADDED", "MODIFIED") and holds(event.object):
                        return event.object

    async def settle(self) -> None:
        """Wait until no controller and no pod has work left and nothing is written any more.

        What waits for time to pass (back-off, stages with a delay, heartbeats) does not count. Wrap it in
        asyncio.timeout: two controllers at odds never settle."""
        calm, before = 0, ""
        while calm < CALM:
            await settle()
            await asyncio.sleep(0.001)  # for those who work in threads or over sockets
            now = (await self.client.list(node_kind.RESOURCE, limit=1)).resource_version
            calm = calm + 1 if now == before and self._idle() else 0
            before = now

    def _idle(self) -> bool:
        run_controllers, run_scheduler = self._wanted
        if run_controllers and not self.manager.idle:
            return False
        return not run_scheduler or (self.scheduler.unsynced() is None and not self.scheduler.queue.places["active"])

    def _controller_client(self, controller: Controller) -> Client:
        """Each controller has the rights of its own ServiceAccount, and no more."""
        user = f"system:serviceaccount:kube-system:{controller.service_account or controller.name}"
        handler = self._handler(self._masters, impersonate=(user, *_ACCOUNT_GROUPS))
        transport = InProcessTransport(handler, identity=Identity(subject=user))
        return Client(transport, component="kube-controller-manager", clock=self._clock)

    def _handler(self, certificate: bytes, *, impersonate: Sequence[str] = ()) -> Callable[[Call], Awaitable[Stream]]:
        async def handle(call: Call) -> Stream:
            request = http.request(call.method, call.target, headers=_lowered(call), body=call.body or b"")
            request.peer_certificate = certificate
            for name, value in zip(("impersonate-user", *["impersonate-group"] * 2), impersonate, strict=False):
                request.headers.add(name, value)
            request.started = self._clock.monotonic()
            response = await self.server.handle(request)
            headers = {"content-type": response.content_type, **{n.lower(): v for n, v in response.headers}}
            return Stream(response.status, headers, _chunks(response.body))

        return handle

    def _configured(self, folder: Path) -> tuple[Config, TLS]:
        serving = issue.leaf(
            Leaf("apiserver", CLUSTER_CA, "kube-apiserver", server=True, names=names("localhost", "127.0.0.1")),
            self._authority,
            datetime.now(UTC),
        )
        signing = issue.new_key()
        files = {
            "ca.crt": self._authority.certificate_pem,
            "apiserver.crt": serving.certificate_pem,
            "apiserver.key": serving.key_pem,
            "sa.key": issue.private_pem(signing),
            "sa.pub": issue.public_pem(signing),
        }
        for name, content in files.items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(content)
        config = Config(
            bind_address="127.0.0.1",
            advertise_address="127.0.0.1",
            secure_port=0,
            client_ca_file=str(folder / "ca.crt"),
            service_account_key_file=(str(folder / "sa.pub"),),
            service_account_signing_key_file=str(folder / "sa.key"),
            authorization_mode=("Node", "RBAC"),
            enable_bootstrap_token_auth=True,
            allow_privileged=True,
        )
        pair = str(folder / "apiserver.crt"), str(folder / "apiserver.key")
        return config, TLS(certificate=pair[0], key=pair[1], client_cas=(config.client_ca_file,))

    def _issue(self, user: str, groups: Sequence[str]) -> issue.Issued:
        wanted = Leaf("client", CLUSTER_CA, user, organizations=tuple(groups), client=True)
        return issue.leaf(wanted, self._authority, datetime.now(UTC))

    def _kubeconfig(self, user: str, *groups: str) -> bytes:
        identity, ca = self._issue(user, groups), self._authority.certificate_pem
        return kubeconfig.build(cluster=NAME, server=self.url, ca=ca, user=user, identity=identity)


def _untainted(node: Object) -> bool:
    return not node["spec"].get("taints")


def _named(key: Key) -> str:
    return f"metadata.name={key.name}"


def _lowered(call: Call) -> dict[str, str]:
    return {name.lower(): value for name, value in call.headers.items()}


async def _chunks(body: http.Body) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
    elif isinstance(body, http.Pieces):
        for piece in body.pieces:
            yield piece
    else:
        try:
            async for chunk in body:
                yield chunk
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
