"""`pynetes up`: the phases, in order, and what each of them does.

Phases in one row of STAGES run side by side. Each can be repeated: what is there already stays, what is missing is
made. When one fails in a cluster that did not exist before, everything is undone.
"""

import asyncio
import contextlib
import dataclasses
import errno
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Protocol

from pynetes.cluster import (
    cloud,
    hardening,
    joining,
    mounts,
    network,
    packages,
    preflight,
    probe,
    process,
    processes,
    supervisor,
    teardown,
)
from pynetes.cluster.addons import manifests
from pynetes.cluster.api import Api
from pynetes.cluster.config import Cluster, load
from pynetes.cluster.errors import ClusterError
from pynetes.cluster.images import store
from pynetes.component.remedy import RemedyError
from pynetes.machinery.meta import Object
from pynetes.pki import files, renew
from pynetes.pki import layout as pki_layout

#: What kubeadm binds its administrators with.
ADMINS: Object = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": pki_layout.ADMINS},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": pki_layout.ADMINS}],
}
#: What every address in use derives from.
FIXED = ("service_cidr", "pod_cidr", "domain")
READY_WITHIN = 120.0
STEP = 0.05
#: A process that ended this often while it was waited for will not come up by itself.
HOPELESS = 5


class Progress(Protocol):
    """Where phases say how far they are."""

    def started(self, title: str) -> None:
        """A phase begins."""

    def finished(self, title: str, result: str, seconds: float) -> None:
        """A phase is done; result says what it did."""


@dataclass
class Bringup:
    """What the phases share."""

    cluster: Cluster
    planned: network.ClusterNetwork | None = None
    archives: "asyncio.Future[dict[str, Path]]" = field(default_factory=asyncio.Future)

    @property
    def plan(self) -> network.ClusterNetwork:
        """The planned network; the phase that plans it comes first."""
        assert self.planned is not None
        return self.planned


class NotStarted(ClusterError):
    """Found before anything was made: there is nothing to undo."""


class Phase(NamedTuple):
    """A step of `up`; run returns a few words about what it did."""

    title: str
    run: Callable[[Bringup], Awaitable[str]]


async def up(cluster: Cluster, progress: Progress) -> Bringup:
    """Bring the cluster up. Raises ClusterError; a cluster that was not there before is then removed again."""
    before = load(cluster.name, cluster.data_dir)
    ran = await _alive(cluster)
    bringup = Bringup(cluster)
    try:
        for stage in STAGES:
            async with asyncio.TaskGroup() as group:
                for phase in stage:
                    group.create_task(_run(phase, bringup, progress))
    except Exception as errors:
        error = _told(errors)
        await _undo(cluster, complete=bool(before and before.complete), ran=ran, error=error)
        raise error from None
    bringup.cluster = dataclasses.replace(bringup.cluster, complete=True)
    bringup.cluster.save()
    return bringup


async def _undo(cluster: Cluster, *, complete: bool, ran: bool, error: Exception) -> None:
    """Leave the machine as it was: without the cluster if there never was a whole one, stopped if it was stopped."""
    if isinstance(error, NotStarted):
        return
    if not complete:
        await teardown.reset(cluster, keep_logs=True)
    elif not ran:
        await teardown.down(cluster)


def _told(error: BaseException) -> Exception:
    """The error to tell a person: of several the one with a remedy. What is a bug stays as it is."""
    leaves = list(_leaves(error))
    for found in leaves:
        if isinstance(found, RemedyError):
            return found
    for found in leaves:
        if isinstance(found, OSError):
            return _of_system(found)
    return next((found for found in leaves if isinstance(found, Exception)), ClusterError(str(error)))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _of_system(error: OSError) -> ClusterError:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ClusterError(f"{where}{error.strerror}", "free some space, or choose another place with --data-dir")
    return ClusterError(f"{where}{error.strerror or error}", "see `pynetes preflight`")


async def _run(phase: Phase, bringup: Bringup, progress: Progress) -> None:
    began = monotonic()
    progress.started(phase.title)
    result = await phase.run(bringup)
    progress.finished(phase.title, result, monotonic() - began)


async def _check(bringup: Bringup) -> str:
    cluster = bringup.cluster
    try:
        preflight.refuse(preflight.before_packages(cluster))
        _unchanged(cluster, load(cluster.name, cluster.data_dir))
    except ClusterError as error:
        raise NotStarted(str(error), error.remedy) from None
    return "root, disk, cgroups, ports"


def _unchanged(cluster: Cluster, before: Cluster | None) -> None:
    """Addresses that Services and pods already have cannot move to other networks."""
    for name in FIXED if before and before.complete else ():
        old, new = getattr(before, name), getattr(cluster, name)
        if old != new:
            raise ClusterError(
                f"the cluster has --{name.replace('_', '-')} {old}, it cannot become {new}",
                f"leave the flag out, or start anew after `pynetes reset{cluster.flags}`",
            )


async def _alive(cluster: Cluster) -> bool:
    """Whether anything of it runs, with or without a supervisor."""
    return any(process.marked(cluster.run)) or await _running(cluster) is not None


async def _running(cluster: Cluster) -> Object | None:
    with contextlib.suppress(OSError):
        return await supervisor.request(cluster.control_socket, do="status")
    return None


async def _packages(bringup: Bringup) -> str:
    wanted = packages.missing(manifests.packages(bringup.cluster))
    try:
        await packages.install(wanted)
    except RemedyError as error:
        raise NotStarted(str(error), error.remedy) from None
    return f"installed {', '.join(wanted)}" if wanted else "all there"


async def _network(bringup: Bringup) -> str:
    cluster = bringup.cluster
    mode = await preflight.proxy_mode(cluster.proxy_mode)
    bringup.cluster = cluster = dataclasses.replace(cluster, proxy_mode=mode)
    plan = await network.plan(
        cluster.name,
        cluster.node_names(),
        pod_cidr=cluster.pod_cidr,
        service_cidr=cluster.service_cidr,
        cloud=cluster.cloud == "local",
    )
    # Which pod network a node has is the API's decision: until it is known, no route may lead elsewhere.
    known = {node: network.assigned(cluster.containerd(node).cni_conf_dir) for node in cluster.node_names()}
    plan = dataclasses.replace(
        plan, nodes=tuple(dataclasses.replace(node, pod_cidr=known[node.name]) for node in plan.nodes)
    )
    bringup.planned = plan
    # Before anything is made, so that `down` and `reset` find it whatever happens next.
    cluster.save()
    if not await _alive(cluster):
        await teardown.forget_networks(cluster)
    for node in teardown.surplus(cluster):
        await teardown.remove_node(cluster, node)
    for place in plan.nodes:
        await network.create(plan, place)
    await network.trim(plan)
    await (cloud.create if plan.cloud_cidr else cloud.remove)(plan)
    return (
        f"pods {cluster.pod_cidr}, services {cluster.service_cidr}"
        + (f", nodes {plan.node_cidr}" if plan.node_cidr else "")
        + (f", load balancers {plan.cloud_cidr}" if plan.cloud_cidr else "")
    )


async def _certificates(bringup: Bringup) -> str:
    cluster, plan = bringup.cluster, bringup.plan
    hosts = pki_layout.Hosts(
        node_name=plan.nodes[0].name,
        addresses=tuple(filter(None, (plan.nodes[0].address, plan.gateway, "127.0.0.1"))),
        service_ips=(cluster.first_service_address,),
        dns_domain=cluster.domain,
        server=f"https://{plan.nodes[0].address}:{cluster.secure_port}",
        cluster=cluster.name,
    )
    try:
        done = await asyncio.to_thread(renew.ensure, pki_layout.Layout(cluster.state), hosts)
        joining.prepare(cluster, plan, hosts.server)
    except renew.PKIError as error:
        message, _, remedy = str(error).partition("; ")
        raise ClusterError(message, remedy) from None
    return f"{len(done)} files written" if done else "all good"


async def _images(bringup: Bringup) -> str:
    wanted = [image for addon in manifests.chosen(bringup.cluster) if not addon.late for image in addon.images]
    archives = await asyncio.to_thread(store.pack, bringup.cluster.images, wanted)
    bringup.archives.set_result(archives)
    return ", ".join(name.rpartition("/")[2] for name in archives)


async def _processes(bringup: Bringup) -> str:
    """Start a supervisor, unless one runs exactly these processes; an older one hands its processes over."""
    cluster = bringup.cluster
    for folder in processes.folders(cluster):
        folder.mkdir(parents=True, exist_ok=True)
    await mounts.share(cluster.state / "nodes")
    hardening.write(cluster)
    if bringup.plan.cloud_cidr:
        cloud.write(cluster, bringup.plan)
    for node in cluster.node_names():
        await asyncio.to_thread(cluster.containerd(node).write)
    # Once their files are written, which are a part of how they are started.
    wanted = processes.of(cluster, bringup.plan)
    running = await _running(cluster)
    if running and {item["digest"] for item in running["processes"]} == {item.digest for item in wanted}:
        return "already running"
    files.write(cluster.run / "processes.json", process.to_json(wanted))
    if running:
        await supervisor.request(cluster.control_socket, do="leave")
        # It removes its socket when it ends, which must not be the next one's.
        await _until(lambda: _left(cluster), lambda: _why(cluster, "supervisor"), seconds=10)
    supervisor.daemonize(cluster.run, cluster.logs)
    return f"{len(wanted)} under one supervisor"


async def _left(cluster: Cluster) -> bool:
    return not cluster.control_socket.exists()


async def _administrators(bringup: Bringup) -> str:
    """admin.conf has no rights of its own: a binding gives it them, so that it can be taken back."""
    cluster = bringup.cluster
    await _until(lambda: _ready(cluster, "apiserver"), lambda: _why(cluster, "apiserver"))
    async with Api(cluster, kubeconfig="super-admin.conf") as api:
        await api.apply([ADMINS, *joining.objects(cluster)])
    return "the API server is ready"


async def _ready(cluster: Cluster, name: str) -> bool:
    """Whether the process is ready. Raises ClusterError when it ends again and again."""
    status = await _running(cluster)
    found = next((item for item in (status or {"processes": []})["processes"] if item["name"] == name), None)
    if found and found["restarts"] >= HOPELESS and not found["ready"]:
        raise await _why(cluster, name)
    return bool(found and found["ready"])


async def _why(cluster: Cluster, name: str) -> ClusterError:
    """What the process said last, since its log may soon be gone."""
    log = cluster.logs / f"{name}.log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    said = lines[-1] if lines else "it said nothing"
    return ClusterError(
        f"{name} did not become ready: {said}", f"read {log}, or {teardown.kept_logs(cluster)}/{log.name}"
    )


async def _until(
    holds: Callable[[], Awaitable[bool]],
    error: Callable[[], Awaitable[ClusterError]],
    *,
    seconds: float = READY_WITHIN,
    step: float = STEP,
) -> None:
    deadline = monotonic() + seconds
    while not await holds():
        if monotonic() > deadline:
            raise await error()
        await asyncio.sleep(step)


async def _import(bringup: Bringup) -> str:
    """Into every node's containerd, side by side."""
    archives = await bringup.archives
    async with asyncio.TaskGroup() as group:
        for node in bringup.cluster.node_names():
            group.create_task(_import_into(bringup.cluster, node, archives))
    return f"{len(archives)} images on {bringup.cluster.nodes} node(s)"


async def _import_into(cluster: Cluster, node: str, archives: dict[str, Path]) -> None:
    name = f"containerd-{node}"
    await _until(lambda: _ready(cluster, name), lambda: _why(cluster, name))
    # The first node most likely gets the add-ons' pods, and the processor waits for the API server now.
    await store.import_all(archives, cluster.containerd(node), unpack=node == cluster.node_names()[0])


async def _pods(bringup: Bringup) -> str:
    """Give every node the pod network that the API assigned to it: CNI's configuration and routes."""
    cluster, plan = bringup.cluster, bringup.plan
    async with Api(cluster) as api:
        await api.forget_nodes(re.compile(rf"{re.escape(cluster.name)}-node-\d+"), keep=cluster.node_names())
        cidrs = await api.pod_cidrs(cluster.node_names(), within=READY_WITHIN)
        await api.label_control_plane(cluster.node_names()[0])
    for node in plan.nodes:
        home = cluster.containerd(node.name).cni_conf_dir
        assigned = dataclasses.replace(node, pod_cidr=cidrs[node.name])
        network.write_cni_conf(plan, assigned, conf_dir=home, data_dir=cluster.leases(node.name))
    await network.ensure_routes(plan, cidrs)
    return ", ".join(f"{name} {cidr}" for name, cidr in cidrs.items())


async def _addons(bringup: Bringup) -> str:
    cluster = bringup.cluster
    async with Api(cluster) as api:
        wanted = [addon for addon in manifests.chosen(cluster) if not addon.late]
        objects = manifests.objects(cluster, wanted, await bringup.archives)
        await api.apply(objects)
        # A new cluster has nothing to take away.
        gone = await api.remove(manifests.objects(cluster, manifests.others(cluster))) if cluster.complete else 0
    return f"{len(objects)} objects applied" + (f", {gone} removed" if gone else "")


async def _late(bringup: Bringup) -> str:
    """What the first pods do without: images first, or its own pods would be told that there are none."""
    cluster = bringup.cluster
    late = [addon for addon in manifests.chosen(cluster) if addon.late]
    if not late:
        return "none"
    images = [image for addon in late for image in addon.images]
    packed = await asyncio.to_thread(store.pack, cluster.images, images)
    archives = {name: archive for name, archive in packed.items() if name in images}
    async with asyncio.TaskGroup() as group:
        for node in cluster.node_names():
            group.create_task(_import_into(cluster, node, archives))
    async with Api(cluster) as api:
        await api.apply(manifests.objects(cluster, late, archives))
    return ", ".join(addon.name for addon in late)


async def _answers(bringup: Bringup) -> str:
    """All nodes Ready and the cluster's DNS answering."""
    cluster = bringup.cluster
    async with Api(cluster) as api:
        await api.nodes_ready(cluster.node_names(), within=READY_WITHIN)
        await joining.forget(cluster, api)
        for addon in manifests.chosen(cluster):
            for name in addon.waits_for:
                await api.deployment_available("kube-system", name, within=READY_WITHIN)
    # What the API says of the pod may be from before a reboot.
    name = f"kubernetes.default.svc.{cluster.domain}"
    await _until(lambda: probe.resolves(cluster.dns_service, name), lambda: _no_dns(cluster))
    return f"{bringup.cluster.nodes} node(s) Ready, DNS answers"


async def _no_dns(cluster: Cluster) -> ClusterError:
    return ClusterError(
        f"the cluster's DNS at {cluster.dns_service} does not answer",
        f"see `pynetes kubectl{cluster.flags} -n kube-system logs deployment/coredns`",
    )


#: The order that matters, in one place.
STAGES: tuple[tuple[Phase, ...], ...] = (
    (Phase("Check the machine", _check),),
    (Phase("Debian packages", _packages),),
    (Phase("Plan the network", _network),),
    (Phase("Certificates", _certificates),),
    (Phase("Start the processes", _processes),),
    (Phase("Pack images", _images), Phase("Import images", _import), Phase("Administrators", _administrators)),
    (Phase("Pod networks", _pods), Phase("Add-ons", _addons)),
    (Phase("Wait until it answers", _answers), Phase("Late add-ons", _late)),
)
