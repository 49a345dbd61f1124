"""What the runtime is asked to make: configurations of sandboxes and containers, from the pod. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pynetes.kubelet import env, hosts, logs, podspec, security
from pynetes.kubelet.cm import resources
from pynetes.kubelet.cri import state
from pynetes.kubelet.devices.manager import ForContainer
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

PROTOCOLS = {"TCP": pb.TCP, "UDP": pb.UDP, "SCTP": pb.SCTP}
MESSAGE_PATH = "/dev/termination-log"


def sandbox(pod: Object, *, attempt: int, log_root: Path, dns: hosts.Dns, cgroup_parent: str) -> pb.PodSandboxConfig:
    """The sandbox of a pod."""
    metadata, spec = pod["metadata"], pod["spec"]
    namespace, name, uid = metadata.get("namespace", ""), metadata["name"], metadata["uid"]
    sysctls = (spec.get("securityContext") or {}).get("sysctls") or ()
    domain = hosts.domain_of(pod, dns)
    hostname = podspec.hostname(pod)
    if spec.get("setHostnameAsFQDN") and domain:
        hostname = f"{hostname}.{domain}"
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, uid=uid, namespace=namespace, attempt=attempt),
        hostname="" if podspec.host_network(pod) else hostname,
        log_directory=str(logs.directory(log_root, namespace, name, uid)),
        dns_config=hosts.dns_config(pod, dns),
        port_mappings=[] if podspec.host_network(pod) else _ports(pod),
        labels={**(metadata.get("labels") or {}), **_labels(pod)},
        annotations={**(metadata.get("annotations") or {}), state.POD_GRACE: str(podspec.grace(pod))},
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_parent,
            security_context=security.of_sandbox(pod),
            sysctls={sysctl["name"]: sysctl["value"] for sysctl in sysctls},
        ),
    )


def _labels(pod: Object) -> dict[str, str]:
    metadata = pod["metadata"]
    return {
        state.POD_NAME: metadata["name"],
        state.POD_NAMESPACE: metadata.get("namespace", ""),
        state.POD_UID: metadata["uid"],
    }


def _ports(pod: Object) -> list[pb.PortMapping]:
    mappings = []
    for container in [*podspec.inits(pod), *podspec.regulars(pod)]:
        for port in container.get("ports") or ():
            mappings.append(
                pb.PortMapping(
                    protocol=PROTOCOLS[port.get("protocol") or "TCP"],
                    container_port=port["containerPort"],
                    host_port=port.get("hostPort", 0),
                    host_ip=port.get("hostIP", ""),
                )
            )
    return mappings


def container(
    pod: Object,
    spec: Object,
    *,
    attempt: int,
    image: pb.Image,
    environment: Mapping[str, str],
    mounts: Sequence[pb.Mount],
    devices: Sequence[pb.Device] = (),
    extras: ForContainer | None = None,
    memory_capacity: int,
    cpuset: str = "",
    target: str = "",
    seccomp_default: bool = False,
) -> pb.ContainerConfig:
    """A container of a pod."""
    command = [env.expand(word, environment) for word in spec.get("command") or ()]
    args = [env.expand(word, environment) for word in spec.get("args") or ()]
    name = spec["name"]
    extras = extras or ForContainer()
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=name, attempt=attempt),
        image=pb.ImageSpec(image=image.id, user_specified_image=spec.get("image", "")),
        command=command,
        args=args,
        working_dir=spec.get("workingDir", ""),
        envs=[pb.KeyValue(key=key, value=value.encode(errors="surrogateescape")) for key, value in environment.items()],
        mounts=[*mounts, *extras.mounts],
        devices=[*devices, *extras.devices],
        CDI_devices=[pb.CDIDevice(name=one) for one in extras.cdi],
        labels={**_labels(pod), state.CONTAINER_NAME: name},
        annotations={
            **extras.annotations,
            state.CONTAINER_HASH: podspec.container_hash(spec),
            state.RESTART_COUNT: str(attempt),
            state.MESSAGE_PATH: spec.get("terminationMessagePath") or MESSAGE_PATH,
            state.MESSAGE_POLICY: spec.get("terminationMessagePolicy") or "File",
            state.POD_GRACE: str(podspec.grace(pod)),
        },
        log_path=f"{name}/{attempt}.log",
        stdin=bool(spec.get("stdin")),
        stdin_once=bool(spec.get("stdinOnce")),
        tty=bool(spec.get("tty")),
        stop_signal=(spec.get("lifecycle") or {}).get("stopSignal") or "RUNTIME_DEFAULT",
        linux=pb.LinuxContainerConfig(
            resources=resources.of_container(pod, spec, memory_capacity, cpuset=cpuset),
            security_context=security.of_container(pod, spec, image, target=target, seccomp_default=seccomp_default),
        ),
    )
