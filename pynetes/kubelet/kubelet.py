"""One kubelet: makes its parts, registers the node, keeps one worker per pod, and serves."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from pynetes.apis.core import nodes, pods, serviceaccounts, services
from pynetes.client.events import Recorder
from pynetes.client.informer import Informer
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs, serving, tasks
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.health import Checks
from pynetes.component.metrics import REGISTRY
from pynetes.component.remedy import RemedyError
from pynetes.kubelet import (
    admission,
    allocation,
    certificate,
    cloud,
    garbage,
    hosts,
    machine,
    metrics,
    node,
    orphans,
    podresources,
    resize,
    storage,
)
from pynetes.kubelet.backoff import Backoff
from pynetes.kubelet.claims import Claims
from pynetes.kubelet.cm import cpus, reserves, topology
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.config import Config
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.pleg import Pleg
from pynetes.kubelet.cri.runtime import Runtime, RuntimeFailure
from pynetes.kubelet.devices.manager import Devices
from pynetes.kubelet.eviction import setup
from pynetes.kubelet.eviction.manager import Eviction
from pynetes.kubelet.images import Images
from pynetes.kubelet.plugins.registry import Handler, Plugins
from pynetes.kubelet.podresources import PodResources
from pynetes.kubelet.probes.prober import Prober
from pynetes.kubelet.references import References
from pynetes.kubelet.server import app
from pynetes.kubelet.status_manager import StatusManager
from pynetes.kubelet.volumes.tokens import Tokens
from pynetes.kubelet.worker import Stage, Worker
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.rpc import otlp

log = logging.getLogger(__name__)

RUNNING = REGISTRY.gauge("kubelet_active_pods", "The number of pods the kubelet considers active.")
#: A list of containers older than this makes the node not ready, in seconds.
STALE = 180.0
#: Images in the node's status.
MOST_IMAGES = 50


class Kubelet:
    """The running kubelet; `run` it."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        client: Client | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        self.config = config
        self._client = client
        self._cgroups = cgroups or Cgroups(config.cgroup_root, pids=config.pod_max_pids)
        self.clock = clock or SystemClock()
        self.name = config.hostname_override or socket.gethostname().lower()
        if config.topology_manager_policy not in topology.POLICIES:
            known = ", ".join(topology.POLICIES)
            raise RemedyError(
                f"there is no topology manager policy {config.topology_manager_policy!r}", f"one of {known}"
            )
        self._cpus = cpus.Cpus.make(
            config.cpu_manager_policy,
            Path(config.root_dir) / cpus.STATE,
            reserved_cpus=config.reserved_cpus,
            reserved_milli=reserves.total(config).get("cpu", 0),
        )
        self._grants = resize.Grants(path=Path(config.root_dir) / resize.STATE)
        self.workers: dict[str, Worker] = {}
        self.eviction: Eviction | None = None
        #: Set once every pod bound to the node, and everything that runs, is known.
        self.started = asyncio.Event()
        #: Set when the node's status is to be written soon.
        self._status_due = asyncio.Event()
        self.node: Object = {"metadata": {"name": self.name}, "spec": {}}

    async def run(self) -> None:
        """Run until cancelled."""
        config = self.config
        if config.bootstrap_kubeconfig and self._client is None:
            await certificate.bootstrap(config, self.name, self.clock)
        client = self._client or Client.from_kubeconfig(config.kubeconfig, component="kubelet")
        runtime = Runtime(config.container_runtime_endpoint)
        try:
            async with tasks.Group() as group:
                await self._run(client, runtime, group)
        finally:
            await runtime.close()
            await client.close()

    async def _run(self, client: Client, runtime: Runtime, group: tasks.Group) -> None:
        version = await self._runtime_version(runtime)
        self.config = await cloud.learnt(self.config, self.clock)
        facts = replace(self._facts(f"{version[0]}://{version[1]}"), features=await runtime.features())
        recorder = Recorder(client, clock=self.clock, host=self.name)
        ctx = self._context(client, runtime, group, facts, recorder, version[0])
        self.ctx, self.facts = ctx, facts
        ctx.recursive_handlers = facts.features.with_recursive_read_only
        ctx.userns_handlers = facts.features.with_user_namespaces
        ctx.cdi, ctx.image_volumes = _newer(version, (2, 0)), _newer(version, (2, 1))
        group.start(recorder.run(), name="events")
        if self.config.rotate_certificates:
            group.start(certificate.rotate(client, self.config, self.name, self.clock), name="certificate")
        if self.config.server_tls_bootstrap and not self.config.tls_cert_file:
            asked = certificate.rotate(
                client, self.config, self.name, self.clock, kind=certificate.SERVING, addresses=facts.ips
            )
            group.start(asked, name="serving certificate")
        await asyncio.to_thread(ctx.cgroups.prepare, node.for_pods(facts))
        # Everything that runs already is known before the first pod is looked at: nothing is started twice.
        await ctx.pleg.relist()
        self.node = await node.register(client, facts, self.clock)
        ctx.events.event(self.node, "Normal", "Starting", "Starting kubelet.")
        ctx.events.event(self.node, "Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
        group.start(node.heartbeat(client, self.name, self.node["metadata"]["uid"], self.clock), name="lease")
        await self._start_plugins(group)
        async with self._serve(ctx) as port:
            self.facts = facts = replace(facts, port=port)
            self._services = Informer(client, services.RESOURCE, clock=self.clock)
            bound = Informer(client, pods.RESOURCE, clock=self.clock, field_selector=f"spec.nodeName={self.name}")
            own = Informer(client, nodes.RESOURCE, clock=self.clock, field_selector=f"metadata.name={self.name}")
            own.handle(self._node_seen)
            for informer in (self._services, own):
                group.start(informer.run())
            group.start(self._node_status(ctx, facts), name="node status")
            await self._services.wait_synced()
            bound.handle(lambda new, old, gone: self._pod_seen(group, new, old, gone))
            group.start(bound.run())
            await bound.wait_synced()
            group.start(ctx.pleg.run(self.config.container_runtime_endpoint), name="pleg")
            group.start(garbage.rotate_logs(ctx), name="logs")
            self.eviction, images = setup.build(
                self.config, ctx, self._evictable, warn=self._warn, changed=self._status_due.set
            )
            ctx.devices.keep_only(set(self.workers))
            ctx.claims.keep_only(set(self.workers))
            for gone in self._grants.allocated.keys() - self.workers.keys():
                self._grants.forget(gone)
            await orphans.stop_all(ctx, self.workers, group)
            lister = PodResources(self._active, ctx.devices.pool, ctx.cpus, ctx.claims.told)
            group.start(podresources.serve(Path(self.config.root_dir) / "pod-resources" / "kubelet.sock", lister))
            group.start(self.eviction.run(), name="eviction")
            group.start(images.run(), name="image garbage")
            group.start(self.storage.stats.run(), name="volume stats")
            self.started.set()
            await tasks.forever()

    async def _start_plugins(self, group: tasks.Group) -> None:
        """Learn what is mounted and given away, then let plugins register: before the first pod is looked at."""
        storage, root = self.storage, Path(self.config.root_dir)
        group.start(storage.csi_drivers.run(), name="csidrivers")
        await storage.csi_drivers.wait_synced()
        await storage.node_info.ensure()
        kept = await asyncio.to_thread(storage.volumes.csi.reconstruct)
        if kept:
            log.info(logs.fact("volumes of drivers found mounted", volumes=kept))
        devices = self.ctx.devices
        devices.restore()
        self._grants.load()
        self.ctx.claims.restore()
        group.start(devices.serve(), name="device plugins")
        handlers: dict[str, Handler] = {
            "CSIPlugin": storage.drivers,
            "DevicePlugin": devices,
            "DRAPlugin": self.ctx.claims,
        }
        plugins = Plugins(root / "plugins_registry", handlers, self.clock)
        (root / "plugins").mkdir(parents=True, exist_ok=True)
        group.start(plugins.run(), name="plugins")

    async def _runtime_version(self, runtime: Runtime) -> tuple[str, str]:
        while True:
            try:
                answer = await runtime.version()
                return answer.runtime_name, answer.runtime_version
            except RuntimeFailure as failure:
                log.warning(logs.fact("the container runtime does not answer", error=failure))
                await self.clock.sleep(1.0)

    def _facts(self, runtime: str) -> node.Facts:
        config = self.config
        found = machine.read(Path(config.root_dir))
        return node.Facts(
            name=self.name,
            ips=tuple(ip for ip in config.node_ip.split(",") if ip) or (machine.address(),),
            machine=found,
            reserved=reserves.total(config),
            kept_free=setup.kept_free(config, found),
            runtime=runtime,
            port=config.port,
            max_pods=config.max_pods,
            labels=dict(label.partition("=")[::2] for label in config.node_labels),
            taints=[taint(text) for text in config.register_with_taints],
            provider_id=config.provider_id,
            external=cloud.is_external(config),
        )

    def _context(
        self, client: Client, runtime: Runtime, group: tasks.Group, facts: node.Facts, recorder: Recorder, name: str
    ) -> Context:
        config, clock = self.config, self.clock
        root = Path(config.root_dir)
        events = _Events(recorder)

        async def token(namespace: str, account: str, request: Object) -> Object:
            key = Key(namespace, account)
            return await client.create(serviceaccounts.RESOURCE, request, subresource="token", key=key)

        def report(pod: Object, container: str, kind: str, reason: str, message: str) -> None:
            self.ctx.container_event(pod, container, kind, reason, message)

        tokens = Tokens(token, clock)
        references = References(client, clock, group, self._wake)
        self.storage = storage.build(
            root,
            client=client,
            clock=clock,
            group=group,
            node=self.name,
            references=references,
            tokens=tokens,
            wake=self._status_due.set,
            ill=self._volume_ill,
            timeout=config.csi_timeout,
            endpoint=config.container_runtime_endpoint,
        )
        return Context(
            node_name=self.name,
            node_ips=tuple(facts.ips),
            clock=clock,
            client=client,
            runtime=runtime,
            pleg=Pleg(runtime, clock, self._wake),
            images=Images(runtime, clock),
            volumes=self.storage.volumes,
            tokens=tokens,
            references=references,
            cgroups=self._cgroups,
            cpus=self._cpus,
            grants=self._grants,
            claims=Claims(client, root, clock, group),
            others=lambda uid: [one for one in self._active() if one["metadata"]["uid"] != uid],
            devices=Devices(root / "device-plugins", clock, group, self._status_due.set),
            prober=Prober(runtime, clock, group, wake=self._wake, report=report),
            statuses=StatusManager(client, clock, group, self._object_gone),
            events=events,
            services=lambda: self._services.listed(),
            allocatable=self._allocatable,
            dns=hosts.Dns(servers=config.cluster_dns, domain=config.cluster_domain, node_file=Path(config.resolv_conf)),
            memory=facts.machine.memory,
            log_root=Path(config.pod_logs_dir or root / "logs"),
            crashes=Backoff(),
            resync=config.sync_frequency,
            seccomp_default=config.seccomp_default,
            runtime_name=name,
        )

    @asynccontextmanager
    async def _serve(self, ctx: Context) -> AsyncIterator[int]:
        checks = Checks()
        checks.live("pleg", lambda: None if self.clock.monotonic() - ctx.pleg.relisted < STALE else "pleg is stale")
        async with (
            app.serve(self, checks) as port,
            serving.serve_paths(self.config.paths_socket, "kubelet"),
            otlp.exporting(self.config.tracing(), "kubelet", paths_socket=self.config.paths_socket),
        ):
            yield port

    def _volume_ill(self, uid: str, volume: str, message: str) -> None:
        if worker := self.workers.get(uid):
            text = f"Volume {volume}: {message}"
            self.ctx.events.event(worker.pod, "Warning", "VolumeConditionAbnormal", text)

    # Pods

    def _wake(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker:
            worker.wake()

    def _object_gone(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker and not worker.removed:
            worker.remove()

    def _node_seen(self, new: Object, old: Object | None, gone: bool) -> None:
        if not gone:
            self.node = new
            self.storage.attachments.seen(new)

    def _pod_seen(self, group: tasks.Group, new: Object, old: Object | None, gone: bool) -> None:
        uid = new["metadata"]["uid"]
        if gone:
            self._object_gone(uid)
            return
        if old is not None and old["metadata"]["uid"] != uid:
            # Deleted and made again under the same name between two looks.
            self._object_gone(old["metadata"]["uid"])
        worker = self.workers.get(uid)
        if worker is not None:
            worker.update(new)
            return
        worker = self.workers[uid] = Worker(self.ctx, new)
        RUNNING.set(len(self.workers))
        self._admit(worker, new)
        self.ctx.cgroups.share(self._active())
        group.start(self._work(worker), name=f"pod {new['metadata']['name']}")

    def _admit(self, worker: Worker, pod: Object) -> None:
        """Refuse what does not fit, unless it runs here already."""
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if ended or pod["metadata"].get("deletionTimestamp") or self.ctx.pleg.get(worker.uid).sandbox:
            return
        others = [other.pod for uid, other in self.workers.items() if uid != worker.uid and _active(other)]
        try:
            refusal = admission.pressed(pod, self._pressures())
            refusal = refusal or admission.admit(
                pod, others, self.node, self._allocatable(), sysctls=self.config.allowed_unsafe_sysctls
            )
        except (LookupError, ValueError, TypeError) as error:
            # A pod that cannot even be judged must not stop the others.
            refusal = admission.Refusal("UnexpectedAdmissionError", f"pod cannot be judged: {error!r}")
        if refusal:
            metrics.REJECTIONS.inc(refusal.reason)
            self.ctx.events.event(pod, "Warning", refusal.reason, refusal.message)
            worker.fail(refusal.reason, f"Pod was rejected: {refusal.message}")

    async def _allocate(self, worker: Worker) -> None:
        """Give a new pod its devices; it fails where there are none."""
        pod = worker.pod
        if worker.failed or pod["metadata"].get("deletionTimestamp") or self.ctx.pleg.get(worker.uid).sandbox:
            return
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return
        try:
            await allocation.allocate(self.ctx, pod, self.config.topology_manager_policy)
        except allocation.Refused as refusal:
            metrics.REJECTIONS.inc(refusal.reason)
            self.ctx.events.event(pod, "Warning", refusal.reason, str(refusal))
            worker.fail(refusal.reason, f"Pod was rejected: {refusal}")

    async def _work(self, worker: Worker) -> None:
        await self._allocate(worker)
        await worker.run()
        if self.ctx.cpus.release(worker.uid):
            await allocation.confine(self.ctx)
        for uid in self._grants.pending:
            # There may be room now for what it wished.
            self._wake(uid)
        if self.workers.get(worker.uid) is worker:
            del self.workers[worker.uid]
            RUNNING.set(len(self.workers))

    # Node

    async def _node_status(self, ctx: Context, facts: node.Facts) -> None:
        """Write the status when it changed, and every few minutes although it did not."""
        written: Object = {}
        at = float("-inf")
        while True:
            self._status_due.clear()
            try:
                images = await self._images(ctx)
                trouble = await self._trouble(ctx)
                in_use = sorted(self.storage.in_use.wanted)
                fresh = self._made_status(facts, images, trouble, in_use)
                due = self.clock.monotonic() - at >= self.config.node_status_report_frequency
                if due or node.differs(written, fresh):
                    patch = {"status": fresh}
                    key = Key("", self.name)
                    await ctx.client.patch(nodes.RESOURCE, key, patch, kind="strategic", subresource="status")
                    for kind, reason, message in node.news(self.name, written or self.node.get("status") or {}, fresh):
                        ctx.events.event(self.node, kind, reason, message)
                    written, at = fresh, self.clock.monotonic()
                self.storage.in_use.told(frozenset(in_use))
            except (StatusError, Unreachable) as error:
                log.warning(logs.fact("node status not written", node=self.name, error=error))
                if getattr(error, "reason", "") == "NotFound":
                    self.node = await node.register(ctx.client, facts, self.clock)
                    written = {}
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in written.get("conditions") or ())
            pause = self.config.node_status_update_frequency if ready else 0.2
            await tasks.first(self._status_due.wait(), self.clock.sleep(pause))

    def _made_status(self, facts: node.Facts, images: list[Object], trouble: str, in_use: list[str]) -> Object:
        return node.status(
            facts,
            images,
            trouble,
            self.node.get("status") or {},
            time.rfc3339(self.clock.now()),
            in_use=in_use,
            pressures=self._pressures(),
            extended=self._extended(),
        )

    def _extended(self) -> node.Extended:
        pool = self.ctx.devices.pool
        capacity, free = pool.capacity(), pool.allocatable()
        gone = frozenset(self.ctx.devices.gone)
        return node.Extended({k: str(v) for k, v in capacity.items()}, {k: str(v) for k, v in free.items()}, gone)

    def _allocatable(self) -> dict[str, str]:
        """What pods may take: the machine's, extended resources that others have told, and those of devices."""
        told = (self.node.get("status") or {}).get("allocatable") or {}
        others = {name: amount for name, amount in told.items() if "/" in name}
        return {**others, **self._extended().allocatable, **node.allocatable(self.facts)}

    def _evictable(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if _active(worker) and worker.stage == Stage.SYNC]

    def _pressures(self) -> set[str]:
        return self.eviction.pressures if self.eviction else set()

    def _warn(self, reason: str, message: str) -> None:
        self.ctx.events.event(self.node, "Warning", reason, message)

    def _active(self) -> list[Object]:
        """The pods that run here, or are about to."""
        return [worker.pod for worker in self.workers.values() if _active(worker)]

    async def _images(self, ctx: Context) -> list[Object]:
        try:
            found = await ctx.runtime.images()
        except RuntimeFailure:
            return []
        found.sort(key=lambda image: image.size, reverse=True)
        return [
            {"names": [*image.repo_digests, *image.repo_tags], "sizeBytes": image.size} for image in found[:MOST_IMAGES]
        ]

    async def _trouble(self, ctx: Context) -> str:
        """Why the node is not ready, "" when it is."""
        if self.clock.monotonic() - ctx.pleg.relisted > STALE:
            return "PLEG is not healthy: containers have not been listed for three minutes"
        try:
            conditions = await ctx.runtime.conditions()
        except RuntimeFailure as failure:
            return f"container runtime is down: {failure}"
        for kind, text in (("RuntimeReady", "container runtime not ready"), ("NetworkReady", "network not ready")):
            fine, why = conditions.get(kind, (False, f"{kind} is missing"))
            if not fine:
                return f"{text}: {why}"
        return ""


class _Events:
    """The recorder with the kubelet as its source."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def event(self, obj: Object, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        self._recorder.event({**obj, "fieldPath": field_path}, kind, reason, message, source="kubelet")


def _newer(version: tuple[str, str], least: tuple[int, int]) -> bool:
    """Whether the runtime is a containerd of at least this version: what it can do it does not always say."""
    name, text = version
    numbers = re.match(r"v?(\d+)\.(\d+)", text)
    return name == "containerd" and numbers is not None and (int(numbers[1]), int(numbers[2])) >= least


def _active(worker: Worker) -> bool:
    phase = (worker.pod.get("status") or {}).get("phase")
    return worker.stage in (Stage.SYNC, Stage.TERMINATING) and phase not in ("Succeeded", "Failed")


def taint(text: str) -> Object:
    """KEY=VALUE:EFFECT or KEY:EFFECT."""
    pair, _, effect = text.rpartition(":")
    key, equals, value = pair.partition("=")
    return {"key": key, "value": value, "effect": effect} if equals else {"key": key, "effect": effect}
