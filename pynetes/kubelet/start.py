"""Starts sandboxes and containers: gathers what they need, asks the runtime, runs the postStart hook."""

import asyncio

from pynetes.apis.node import runtimeclasses
from pynetes.kubelet import env, handlers, hosts, logs, metrics, podspec, resize, specs, userns
from pynetes.kubelet.claims import ClaimFailure
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.cri.state import PodRuntime
from pynetes.kubelet.devices import cdi
from pynetes.kubelet.devices.endpoint import PluginFailure
from pynetes.kubelet.images import ImageFailure
from pynetes.kubelet.volumes import container as container_volumes
from pynetes.kubelet.volumes.sources import Inputs
from pynetes.kubelet.volumes.spec import VolumeFailure
from pynetes.machinery.meta import Key, Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

#: Seconds until a failed start is tried again.
RETRY = 10.0


class StartFailure(Exception):
    """A container did not start; reason is what it waits with."""

    def __init__(self, reason: str, message: str, retry: float = RETRY) -> None:
        super().__init__(message)
        self.reason, self.retry = reason, retry


class SandboxFailure(Exception):
    """The sandbox could not be made."""


def references(pod: Object) -> set[tuple[str, Key]]:
    """Every ConfigMap and Secret that a pod names."""
    namespace = pod["metadata"].get("namespace", "")
    config_maps: set[str] = set()
    secrets = {entry["name"] for entry in pod["spec"].get("imagePullSecrets") or () if entry.get("name")}
    for container in podspec.everything(pod):
        one, other = env.referenced(container)
        config_maps.update(one)
        secrets.update(other)
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            if "configMap" in source:
                config_maps.add(source["configMap"]["name"])
            if "secret" in source:
                secrets.add(source["secret"].get("secretName") or source["secret"].get("name", ""))
    return {("configmaps", Key(namespace, name)) for name in config_maps} | {
        ("secrets", Key(namespace, name)) for name in secrets
    }


async def mount(ctx: Context, pod: Object) -> None:
    """Make or refresh the pod's volumes. Raises VolumeFailure."""
    inputs = Inputs(
        config_map=lambda namespace, name: ctx.references.get("configmaps", namespace, name),
        secret=lambda namespace, name: ctx.references.get("secrets", namespace, name),
        token=ctx.tokens.get,
        node=ctx.facts(),
    )
    try:
        await ctx.volumes.mount(pod, inputs)
    except VolumeFailure as failure:
        ctx.events.event(pod, "Warning", failure.reason, str(failure))
        raise


def sandbox_config(ctx: Context, pod: Object, attempt: int) -> pb.PodSandboxConfig:
    """The configuration of a pod's sandbox."""
    config = specs.sandbox(
        pod, attempt=attempt, log_root=ctx.log_root, dns=ctx.dns, cgroup_parent=ctx.cgroups.parent(pod)
    )
    namespace = userns.of(ctx.volumes.home(pod["metadata"]["uid"])) if userns.wanted(pod) else None
    if namespace is not None:
        config.linux.security_context.namespace_options.userns_options.CopyFrom(namespace)
    return config


async def sandbox(ctx: Context, pod: Object, attempt: int) -> str:
    """Start a sandbox; its ID. Raises SandboxFailure."""
    handler = await _handler(ctx, pod)
    if userns.wanted(pod):
        _take_ids(ctx, pod, handler)
    config = sandbox_config(ctx, pod, attempt)
    folder = logs.directory(ctx.log_root, config.metadata.namespace, config.metadata.name, config.metadata.uid)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        await ctx.claims.prepare(pod)
    except ClaimFailure as failure:
        message = f"Failed to prepare dynamic resources: {failure}"
        ctx.events.event(pod, "Warning", "FailedPrepareDynamicResources", message)
        raise SandboxFailure(str(failure)) from failure
    with metrics.CGROUP_SECONDS.timing("create"):
        await asyncio.to_thread(ctx.cgroups.create, pod)
    try:
        with metrics.SANDBOX_SECONDS.timing(handler):
            made = await ctx.runtime.run_sandbox(config, handler)
        metrics.STARTED_PODS.inc()
        return made
    except RuntimeFailure as failure:
        metrics.STARTED_PODS_ERRORS.inc()
        metrics.SANDBOX_ERRORS.inc(handler)
        message = f"Failed to create pod sandbox: {failure}"
        ctx.events.event(pod, "Warning", "FailedCreatePodSandBox", message)
        raise SandboxFailure(str(failure)) from failure


def _take_ids(ctx: Context, pod: Object, handler: str) -> None:
    """Users of the pod's own. Raises SandboxFailure where the runtime has none: it never runs in the node's user
    namespace instead, where root in the pod would be root."""
    try:
        if handler not in ctx.userns_handlers:
            shown = f"its handler {handler!r}" if handler else "its default handler"
            raise userns.Exhausted(f"user namespaces are not supported by this node's runtime ({shown})")
        userns.take(ctx.volumes.home(pod["metadata"]["uid"]))
    except (userns.Exhausted, OSError, ValueError) as error:
        ctx.events.event(pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
        raise SandboxFailure(str(error)) from error


async def _handler(ctx: Context, pod: Object) -> str:
    """What the runtime calls the pod's RuntimeClass, "" for its default. Raises SandboxFailure."""
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return ""
    found = await ctx.client.find(runtimeclasses.RESOURCE, Key("", name))
    if found is None:
        ctx.events.event(pod, "Warning", "FailedCreatePodSandBox", f'RuntimeClass "{name}" not found')
        raise SandboxFailure(f'RuntimeClass "{name}" not found')
    return str(found["handler"])


async def container(ctx: Context, pod: Object, runtime: PodRuntime, name: str) -> None:
    """Start one container in the pod's newest sandbox. Raises StartFailure."""
    spec = podspec.find(pod, name)
    if spec is None or runtime.sandbox is None:
        return
    latest = runtime.latest(name)
    attempt = latest.attempt + 1 if latest else _attempts(ctx, pod, name)
    kind = "container" if spec in podspec.regulars(pod) else "init_container"
    of = sandbox_config(ctx, pod, runtime.sandbox.attempt)
    image = await _image(ctx, pod, spec, of)
    config = await _config(ctx, pod, spec, runtime, image, attempt, of)
    if userns.wanted(pod):
        userns.into_container(config, of.linux.security_context.namespace_options.userns_options)
    try:
        container_id = await ctx.runtime.create_container(runtime.sandbox.id, config, of)
    except RuntimeFailure as failure:
        ctx.container_event(pod, name, "Warning", "Failed", f"Error: {failure}")
        metrics.STARTED_CONTAINERS_ERRORS.inc(kind, "CreateContainerError")
        raise StartFailure("CreateContainerError", str(failure)) from failure
    ctx.container_event(pod, name, "Normal", "Created", "Container created")
    try:
        await ctx.runtime.start_container(container_id)
    except RuntimeFailure as failure:
        ctx.container_event(pod, name, "Warning", "Failed", f"Error: {failure}")
        metrics.STARTED_CONTAINERS_ERRORS.inc(kind, "RunContainerError")
        raise StartFailure("RunContainerError", str(failure)) from failure
    metrics.STARTED_CONTAINERS.inc(kind)
    ctx.container_event(pod, name, "Normal", "Started", "Container started")
    if name in resize.wanted(pod):
        ctx.grants.started(pod["metadata"]["uid"], name, spec.get("resources") or {})
    await _post_start(ctx, pod, spec, container_id, ctx.pod_ips(pod, runtime.ips))


def _attempts(ctx: Context, pod: Object, name: str) -> int:
    """The attempts that a container has had although the runtime knows of none: a restarted machine forgot them."""
    status = ctx.statuses.current(pod)
    for kind in ("containerStatuses", "initContainerStatuses"):
        for one in status.get(kind) or ():
            if one["name"] == name:
                # What was running when it was lost has been counted when its status was made.
                ended = "terminated" in (one.get("state") or {})
                return int(one.get("restartCount") or 0) + ended
    return 0


async def _image(ctx: Context, pod: Object, spec: Object, of: pb.PodSandboxConfig) -> pb.Image:
    name = spec["name"]
    namespace = pod["metadata"].get("namespace", "")
    named = [entry["name"] for entry in pod["spec"].get("imagePullSecrets") or () if entry.get("name")]
    found = [await ctx.references.get("secrets", namespace, secret) for secret in named]
    try:
        return await ctx.images.ensure(
            spec,
            of,
            [secret for secret in found if secret],
            lambda kind, reason, message: ctx.container_event(pod, name, kind, reason, message),
        )
    except ImageFailure as failure:
        raise StartFailure(failure.reason, str(failure), failure.retry) from failure


async def _image_volumes(ctx: Context, pod: Object, spec: Object, of: pb.PodSandboxConfig) -> dict[str, pb.Image]:
    """Pull the images of the image volumes that a container mounts; those that the runtime is to mount.

    Raises StartFailure, env.BadConfig, VolumeFailure."""
    mounted = {mount["name"] for mount in spec.get("volumeMounts") or ()}
    found = {}
    for name, one in ctx.volumes.specs(pod["metadata"]["uid"]).items():
        if one.kind == "image" and name in mounted:
            if not ctx.image_volumes and ctx.runtime_name != "containerd":
                raise env.BadConfig(f"volume {name}: the container runtime has no image volumes")
            wanted = {"name": spec["name"], "image": one.source.get("reference", "")}
            if one.source.get("pullPolicy"):
                wanted["imagePullPolicy"] = one.source["pullPolicy"]
            image = await _image(ctx, pod, wanted, of)
            if ctx.image_volumes:
                found[name] = image
            else:
                await ctx.volumes.images.mount(image.id, ctx.volumes.path(pod, one))
    return found


async def _recursive(ctx: Context, pod: Object, spec: Object) -> bool:
    """Whether the pod's handler makes mounts below a read-only one read-only; looked for where it matters."""
    asked = any(mount.get("recursiveReadOnly") for mount in spec.get("volumeMounts") or ())
    return asked and await _handler(ctx, pod) in ctx.recursive_handlers


async def _config(
    ctx: Context,
    pod: Object,
    spec: Object,
    runtime: PodRuntime,
    image: pb.Image,
    attempt: int,
    of: pb.PodSandboxConfig,
) -> pb.ContainerConfig:
    try:
        extras = await ctx.devices.for_container(pod, spec)
        extras.cdi += [one for one in ctx.claims.cdi(pod, spec) if one not in extras.cdi]
        if extras.cdi and not ctx.cdi:
            extras.take(cdi.resolve(extras.cdi))
        # The pod's own variables come before those of its devices.
        environment = {**extras.environment, **await _environment(ctx, pod, spec, runtime)}
        mounts = container_volumes.mounts(
            ctx.volumes,
            pod,
            spec,
            environment,
            images=await _image_volumes(ctx, pod, spec, of),
            recursive=await _recursive(ctx, pod, spec),
        )
        mounts += _own_mounts(ctx, pod, spec, ctx.pod_ips(pod, runtime.ips), attempt)
        aimed = runtime.latest(spec.get("targetContainerName", "")) if spec.get("targetContainerName") else None
        return specs.container(
            pod,
            spec,
            attempt=attempt,
            image=image,
            environment=environment,
            mounts=mounts,
            devices=container_volumes.devices(ctx.volumes, pod, spec),
            extras=extras,
            cpuset=ctx.cpus.cpuset(pod["metadata"]["uid"], spec["name"]),
            seccomp_default=ctx.seccomp_default,
            memory_capacity=ctx.memory,
            target=aimed.id if aimed else "",
        )
    except (
        env.BadConfig, ClaimFailure, PluginFailure, SandboxFailure, VolumeFailure, cdi.Unresolved, ValueError, OSError
    ) as error:  # fmt: skip
        ctx.container_event(pod, spec["name"], "Warning", "Failed", f"Error: {error}")
        raise StartFailure("CreateContainerConfigError", str(error)) from error


async def _environment(ctx: Context, pod: Object, spec: Object, runtime: PodRuntime) -> dict[str, str]:
    namespace = pod["metadata"].get("namespace", "")
    config_maps, secrets = env.referenced(spec)
    sources = env.Sources(
        config_maps={name: await ctx.references.get("configmaps", namespace, name) for name in config_maps},
        secrets={name: await ctx.references.get("secrets", namespace, name) for name in secrets},
        services=ctx.services(),
        node=ctx.facts(ctx.pod_ips(pod, runtime.ips)),
    )
    return env.build(pod, spec, sources)


def _own_mounts(ctx: Context, pod: Object, spec: Object, ips: tuple[str, ...], attempt: int) -> list[pb.Mount]:
    """The managed /etc/hosts, unless the container mounts its own, and the file for the termination message."""
    home = ctx.volumes.home(pod["metadata"]["uid"])
    made = []
    mounted = {mount["mountPath"].rstrip("/") for mount in spec.get("volumeMounts") or ()}
    if "/etc/hosts" not in mounted and (not podspec.host_network(pod) or pod["spec"].get("hostAliases")):
        path = home / "etc-hosts"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(hosts.hosts_file(pod, ips, ctx.dns))
        path.chmod(0o644)
        made.append(pb.Mount(container_path="/etc/hosts", host_path=str(path)))
    folder = home / "containers" / spec["name"]
    folder.mkdir(parents=True, exist_ok=True)
    message = folder / f"{attempt}.message"
    message.touch()
    message.chmod(0o666)
    where = spec.get("terminationMessagePath") or specs.MESSAGE_PATH
    made.append(pb.Mount(container_path=where, host_path=str(message)))
    return made


async def _post_start(ctx: Context, pod: Object, spec: Object, container_id: str, ips: tuple[str, ...]) -> None:
    hook = (spec.get("lifecycle") or {}).get("postStart")
    if not hook:
        return
    target = handlers.Target.of(pod, container_id, spec, ips)
    outcome = await handlers.perform(hook, target, ctx.runtime, timeout=0, hook=True)
    if not outcome.success:
        message = f"PostStartHook failed: {outcome.output}"
        ctx.container_event(pod, spec["name"], "Warning", "FailedPostStartHook", message)
        await ctx.runtime.stop_container(container_id, podspec.grace(pod))
        raise StartFailure("PostStartHookError", outcome.output)
