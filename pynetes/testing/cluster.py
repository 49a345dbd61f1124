"""A whole cluster in one process and one event loop, ready in a moment: what a test of an operator wants.

    async with Cluster(nodes=2) as cluster:
        await cluster.client.create(deployments.RESOURCE, deployment)
        await cluster.until(deployments.RESOURCE, key, lambda found: found["status"].get("readyReplicas") == 3)

The API server keeps everything in memory and serves real HTTPS on a free port (`cluster.kubeconfig` is for kubectl and
any other client); controllers and scheduler are the real ones; nodes are scripted (testing/nodes.py). Time may be
virtual, requests may fail on purpose, and all objects can be kept and brought back.
"""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TypeAlias

from cryptography.hazmat.primitives.serialization import Encoding

from pynetes import controllers
from pynetes.apis.core import nodes as node_kind
from pynetes.apis.core import pods as pod_kind
from pynetes.apis.core import serviceaccounts
from pynetes.apiserver import app, http
from pynetes.apiserver.config import Config
from pynetes.apiserver.identity import FEATURE
from pynetes.apiserver.server import TLS
from pynetes.client.controller import Controller
from pynetes.client.manager import Manager
from pynetes.client.rest import Client
from pynetes.client.transport import Call, InProcessTransport, Stream
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.tasks import Group
from pynetes.component.tracing import Identity
from pynetes.machinery.meta import Key, Object, Revision
from pynetes.machinery.resource import Resource
from pynetes.pki import issue, kubeconfig
from pynetes.pki.layout import CLUSTER_CA, MASTERS, Leaf, names
from pynetes.scheduler.scheduler import Scheduler
from pynetes.storage.backend import Backend
from pynetes.storage.memory import MemoryBackend
from pynetes.testing.clock import VirtualClock, settle
from pynetes.testing.faults import Faults
from pynetes.testing.kubelet import ScriptedKubelet
from pynetes.testing.nodes import ScriptedNode
from pynetes.testing.recording import Recording
from pynetes.testing.scripts import Scripts, Stage

NAME = "pynetes-test"
#: Seconds within which a failed key's next attempt counts as work left: the first five. Who fails for longer may do so
#: for ever, and must not keep a test from going on.
RETRY = 0.1
#: Seconds between looks while somebody waits for what is outside the event loop.
STEP = 0.001
#: Of the controllers' ServiceAccounts.
_GROUPS = "system:serviceaccounts,system:serviceaccounts:kube-system"


#: Every key of the store and its value.
Snapshot: TypeAlias = Mapping[str, bytes]


class Cluster:
    """See the module. With run_controllers or run_scheduler False, those are left to the test.

    store is "memory", or "sqlite" for the store that `pynetes apiserver --data-dir` has. content is what a snapshot of
    another cluster had: this one begins as its copy. With automatic, a virtual clock runs ahead whenever nobody has
    work left before the next moment that somebody waits for.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        run_controllers: bool = True,
        run_scheduler: bool = True,
        scripts: Scripts | None = None,
        clock: Clock | None = None,
        automatic: bool = False,
        store: str = "memory",
        content: Snapshot | None = None,
    ) -> None:
        self._nodes, self._clock, self._automatic = nodes, clock or SystemClock(), automatic
        self._store, self._content = store, content
        self._wanted = run_controllers, run_scheduler
        self._stack = AsyncExitStack()
        #: What pods do (testing/scripts.py).
        self.scripts = scripts or Scripts()
        #: Errors and delays on purpose (testing/faults.py).
        self.faults = Faults(self._clock)
        #: Every request (testing/recording.py).
        self.recording = Recording(self._clock)
        self._kubelet = ScriptedKubelet(self.scripts, lambda key: self.server.stored.get(pod_kind.RESOURCE, key))
        #: Requests of controllers, scheduler and nodes that are not answered yet.
        self._asking = 0
        self._running: dict[str, tuple[ScriptedNode, asyncio.Task[None]]] = {}

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
        # Names of ServiceAccounts are longer than a certificate's common name may be.
        self._tokens = {_account(controller): secrets.token_hex() for controller in self._controllers()}
        config, tls = self._configured(folder)
        files = (folder / name for name in ("kubelet.crt", "kubelet.key", "ca.crt"))
        await self._stack.enter_async_context(self._kubelet.serving(*files))
        self._backend = self._opened(folder)
        self._stack.push_async_callback(self._backend.close)
        last = (self.recording, self.faults)
        self.server = await self._stack.enter_async_context(
            app.running(app.build(config, self._backend, self._clock, last=last), tls=tls)
        )
        self.url = f"https://127.0.0.1:{self.server.port}"
        self.kubeconfig = folder / "admin.conf"
        self.kubeconfig.write_bytes(self._kubeconfig("kubernetes-admin", MASTERS))
        self.client = self.client_as("kubernetes-admin", MASTERS, component="kubectl")
        self._group = await self._stack.enter_async_context(Group())
        run_controllers, run_scheduler = self._wanted
        if run_controllers:
            self.start_controllers()
        if run_scheduler:
            client = self.client_as("system:kube-scheduler", component="kube-scheduler")
            self.scheduler = Scheduler(client, clock=self._clock)
            self._group.start(self.scheduler.run(), name="scheduler")
        for number in range(1, self._nodes + 1):
            self._start_node(number)
        if self._automatic and isinstance(self._clock, VirtualClock):
            self._group.start(self._fly(self._clock), name="clock")
        if run_controllers:
            # Before, pods would be refused: their ServiceAccount is not there yet, or no node is free of taints.
            await self.until(serviceaccounts.RESOURCE, Key("default", "default"), lambda _: True)
            for name in self._running:
                await self.until(node_kind.RESOURCE, Key("", name), _untainted)

    def start_controllers(self) -> None:
        """As when this controller manager has become the leader."""
        client = self.client_as("system:kube-controller-manager", component="kube-controller-manager")
        self.manager = Manager(client, self._controllers(), clock=self._clock, client_of=self._controller_client)
        self._managing = self._group.start(self.manager.run(), name="controllers")

    def _controllers(self) -> Sequence[Controller]:
        authority = self._authority
        return controllers.load(controllers.Config(root_ca=authority.certificate_pem.decode, signing=lambda: authority))

    async def stop_controllers(self) -> None:
        """As when it has lost its lease: nothing reconciles until start_controllers."""
        await _ended(self._managing)

    def _start_node(self, number: int) -> None:
        name = f"node-{number}"
        client = self.client_as(f"system:node:{name}", "system:nodes", component="kubelet")
        node = ScriptedNode(
            client, name, number, clock=self._clock, scripts=self.scripts, kubelet_port=self._kubelet.port
        )
        self._running[name] = node, self._group.start(node.run(), name=name)

    async def lose_node(self, name: str) -> None:
        """Its kubelet falls silent: no heartbeat, no status, and pods that are deleted stay."""
        await _ended(self._running.pop(name)[1])

    def find_node(self, name: str) -> None:
        """The node is back."""
        self._start_node(int(name.rpartition("-")[2]))

    async def become(self, key: Key, stage: Stage) -> None:
        """Take a pod to another state now: a probe fails, a container is killed. Raises StatusError without the pod."""
        pod = await self.client.get(pod_kind.RESOURCE, key)
        await self._running[pod["spec"]["nodeName"]][0].become(pod, stage)

    def drop_watches(self, resource: Resource) -> None:
        """End every watch of this kind; clients come back and go on from where they were."""
        self.server.cacher.of(resource).disconnect()

    def expire_watches(self, resource: Resource) -> None:
        """End them, and forget what happened so far: who comes back gets 410 and lists anew."""
        cache = self.server.cacher.of(resource)
        cache.disconnect()
        cache.settle()

    def snapshot(self) -> Snapshot:
        """Everything that is stored, for `restore` and `Cluster(content=…)`. Raises TypeError but for memory."""
        return self._memory().content()

    async def restore(self, content: Snapshot) -> None:
        """Bring the objects back to what a snapshot has; clients see every difference as a change."""
        await self.server.cacher.fresh(self._memory().restore(content))

    def _memory(self) -> MemoryBackend:
        if not isinstance(self._backend, MemoryBackend):
            raise TypeError(f"the store {self._store!r} cannot be copied; only memory can")
        return self._backend

    def _opened(self, folder: Path) -> Backend:
        if self._store == "memory":
            backend = MemoryBackend()
            backend.restore(self._content or {})
            return backend
        if self._store != "sqlite":
            raise ValueError(f"store {self._store!r}: memory or sqlite")
        from pynetes.storage.sqlite import SqliteBackend  # only where it is wanted

        return SqliteBackend(folder / "store.db")

    async def advance(self, seconds: float) -> None:
        """Let time pass on a virtual clock, everybody doing meanwhile what is due. Raises TypeError on a real one."""
        if not isinstance(self._clock, VirtualClock):
            raise TypeError("time passes by itself; give Cluster a VirtualClock")
        await self._clock.advance(seconds)

    async def _fly(self, clock: VirtualClock) -> None:
        while True:
            await self.settle()
            await clock.advance(clock.next_wake or 1.0)

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

        It is known, not guessed: every queue is empty, every request answered, every cache at the store's revision, and
        the event loop has nothing to run. What waits for time to pass (long back-offs, stages with a delay,
        heartbeats) does not count. Wrap it in asyncio.timeout: two controllers at odds never settle."""
        before: Revision | None = None
        while True:
            await settle()
            if await self._retries():
                before = None
                continue
            now, idle = await self._backend.current_revision(), self._idle()
            # Twice the same: the first look may have been at a moment between two steps of somebody in a thread.
            if idle and now == before == self.server.cacher.revision:
                return
            before = now
            if not idle:
                await asyncio.sleep(STEP)  # somebody waits for a thread or a socket

    async def _retries(self) -> bool:
        """Back-offs that are about to end are work: let one pass, by moving a virtual clock that little."""
        left = self.manager.retries_in() if self._wanted[0] else None
        if left is None or left > RETRY:
            return False
        wait = self._clock.advance if isinstance(self._clock, VirtualClock) else self._clock.sleep
        await wait(max(left, STEP))
        return True

    def _idle(self) -> bool:
        run_controllers, run_scheduler = self._wanted
        if self._asking or (run_controllers and not self.manager.idle):
            return False
        return not run_scheduler or (self.scheduler.unsynced() is None and not self.scheduler.queue.places["active"])

    def _controller_client(self, controller: Controller) -> Client:
        """Each controller has the rights of its own ServiceAccount, and no more."""
        user = _account(controller)
        handler = self._handler(b"", token=self._tokens[user])
        transport = InProcessTransport(handler, identity=Identity(subject=user))
        return Client(transport, component="kube-controller-manager", clock=self._clock)

    def _handler(self, certificate: bytes, *, token: str = "") -> Callable[[Call], Awaitable[Stream]]:
        async def handle(call: Call) -> Stream:
            request = http.request(call.method, call.target, headers=_lowered(call), body=call.body or b"")
            request.peer_certificate = certificate
            if token:
                request.headers.add("authorization", f"Bearer {token}")
            request.started = self._clock.monotonic()
            self._asking += 1
            try:
                response = await self.server.handle(request)
            finally:
                self._asking -= 1
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
            "kubelet.crt": (kubelet := self._kubelet_certificate()).certificate_pem,
            "kubelet.key": kubelet.key_pem,
            "client.crt": (client := self._issue("kube-apiserver-kubelet-client", ())).certificate_pem,
            "client.key": client.key_pem,
            "tokens.csv": "".join(f'{token},{user},,"{_GROUPS}"\n' for user, token in self._tokens.items()).encode(),
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
            kubelet_client_certificate=str(folder / "client.crt"),
            kubelet_client_key=str(folder / "client.key"),
            kubelet_certificate_authority=str(folder / "ca.crt"),
            kubelet_preferred_address_types=("InternalDNS",),
            token_auth_file=str(folder / "tokens.csv"),
            enable_bootstrap_token_auth=True,
            allow_privileged=True,
            service_account_projected_configmaps=(),
            # A virtual hour would be 360 renewals.
            feature_gates=(f"{FEATURE}=false",),
        )
        pair = str(folder / "apiserver.crt"), str(folder / "apiserver.key")
        return config, TLS(certificate=pair[0], key=pair[1], client_cas=(config.client_ca_file,))

    def _kubelet_certificate(self) -> issue.Issued:
        wanted = Leaf("kubelet", CLUSTER_CA, "system:node:scripted", server=True, names=names("localhost"))
        return issue.leaf(wanted, self._authority, datetime.now(UTC))

    def _issue(self, user: str, groups: Sequence[str]) -> issue.Issued:
        wanted = Leaf("client", CLUSTER_CA, user, organizations=tuple(groups), client=True)
        return issue.leaf(wanted, self._authority, datetime.now(UTC))

    def _kubeconfig(self, user: str, *groups: str) -> bytes:
        identity, ca = self._issue(user, groups), self._authority.certificate_pem
        return kubeconfig.build(cluster=NAME, server=self.url, ca=ca, user=user, identity=identity)


def _account(controller: Controller) -> str:
    return f"system:serviceaccount:kube-system:{controller.service_account or controller.name}"


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


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
