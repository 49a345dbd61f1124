"""The kubelet's configuration: upstream's flags."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pynetes.component import spans
from pynetes.component.config import option, seconds
from pynetes.kubelet.eviction.thresholds import HARD


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a kubelet is told when it starts."""

    kubeconfig: str = option("--kubeconfig", "", "Path to the kubeconfig that names the API server and this node.")
    bootstrap_kubeconfig: str = option(
        "--bootstrap-kubeconfig", "", "Kubeconfig with a bootstrap token, for the first certificate of a new node."
    )
    cert_dir: str = option("--cert-dir", "/var/lib/kubelet/pki", "Where client certificates that were asked for lie.")
    rotate_certificates: bool = option(
        "--rotate-certificates", False, "Ask for a new client certificate before this one runs out."
    )
    server_tls_bootstrap: bool = option(
        "--rotate-server-certificates",
        False,
        "Ask for the serving certificate too, and for a new one before it runs out; somebody has to approve it.",
    )
    config: str = option(
        "--config", "", "Path to a KubeletConfiguration (kubelet.config.k8s.io/v1beta1); flags come before it."
    )
    hostname_override: str = option("--hostname-override", "", "The node's name instead of the machine's hostname.")
    node_ip: str = option("--node-ip", "", "Addresses of the node, comma-separated; found from the route out if empty.")
    container_runtime_endpoint: str = option(
        "--container-runtime-endpoint", "unix:///run/containerd/containerd.sock", "The socket of the container runtime."
    )
    root_dir: str = option("--root-dir", "/var/lib/kubelet", "Where volumes and other files of pods live.")
    pod_logs_dir: str = option("--pod-logs-dir", "", "Where logs of pods live; ROOT-DIR/logs if empty.")
    cluster_dns: tuple[str, ...] = option("--cluster-dns", (), "Addresses of the cluster's DNS.")
    cluster_domain: str = option("--cluster-domain", "cluster.local", "The cluster's DNS domain.")
    resolv_conf: str = option("--resolv-conf", "/etc/resolv.conf", "The node's resolver configuration.")
    address: str = option("--address", "0.0.0.0", "The address that the server listens on.")
    port: int = option("--port", 10250, "The port of the HTTPS server; 0 picks a free one.")
    tls_cert_file: str = option("--tls-cert-file", "", "The serving certificate; self-signed if empty.")
    tls_private_key_file: str = option("--tls-private-key-file", "", "The key of --tls-cert-file.")
    client_ca_file: str = option("--client-ca-file", "", "Authorities whose client certificates are trusted.")
    anonymous_auth: bool = option("--anonymous-auth", False, "Whether requests without credentials get a user at all.")
    authorization_mode: str = option(
        "--authorization-mode", "Webhook", "AlwaysAllow, or Webhook: ask the API server (SubjectAccessReview)."
    )
    node_labels: tuple[str, ...] = option("--node-labels", (), "Labels NAME=VALUE for the node when it registers.")
    register_with_taints: tuple[str, ...] = option(
        "--register-with-taints", (), "Taints KEY=VALUE:EFFECT for the node when it registers."
    )
    provider_id: str = option("--provider-id", "", "The node's ID at a cloud provider.")
    cloud_provider: str = option(
        "--cloud-provider", "", "external: a cloud controller manager looks after this node's addresses and labels."
    )
    cloud_metadata: str = option(
        "--cloud-metadata", "", "URL of the instance metadata service to take --provider-id and --node-ip from."
    )
    max_pods: int = option("--max-pods", 110, "How many pods may run here.")
    cgroup_root: str = option("--cgroup-root", "", "The cgroup below which pods' groups are made.")
    node_status_report_frequency: float = option(
        "--node-status-report-frequency", 300.0, "Seconds after which an unchanged node status is written again."
    )
    node_status_update_frequency: float = option(
        "--node-status-update-frequency", 10.0, "Seconds between looks at whether the node status has changed."
    )
    sync_frequency: float = option(
        "--sync-frequency", 60.0, "Seconds after which a pod is looked at again although nothing happened."
    )
    cpu_manager_policy: str = option(
        "--cpu-manager-policy", "none", "none, or static: containers that ask for whole CPUs have them for themselves."
    )
    topology_manager_policy: str = option(
        "--topology-manager-policy",
        "none",
        "Whether CPUs and devices have to be near to each other: none, best-effort, restricted or single-numa-node.",
    )
    reserved_cpus: str = option(
        "--reserved-cpus", "", "CPUs kept for the system, as 0-1,4; else counted from reserves."
    )
    kube_reserved: tuple[str, ...] = option(
        "--kube-reserved", (), "What Kubernetes itself needs: cpu=200m,memory=500Mi,ephemeral-storage=1Gi,pid=1000."
    )
    system_reserved: tuple[str, ...] = option(
        "--system-reserved", (), "What the rest of the system needs, written as --kube-reserved."
    )
    eviction_hard: tuple[str, ...] = option(
        "--eviction-hard", HARD, "Below these a pod is ended at once: SIGNAL<QUANTITY or SIGNAL<SHARE%."
    )
    eviction_soft: tuple[str, ...] = option(
        "--eviction-soft", (), "Below these for their grace period, a pod is ended in its own time."
    )
    eviction_soft_grace_period: tuple[str, ...] = option(
        "--eviction-soft-grace-period", (), "Grace periods of --eviction-soft: SIGNAL=1m30s."
    )
    eviction_minimum_reclaim: tuple[str, ...] = option(
        "--eviction-minimum-reclaim", (), "How far above a threshold is enough: SIGNAL=QUANTITY or SIGNAL=SHARE%."
    )
    eviction_max_pod_grace_period: int = option(
        "--eviction-max-pod-grace-period", 0, "The most seconds that a pod gets when a soft threshold ends it."
    )
    eviction_pressure_transition_period: float = option(
        "--eviction-pressure-transition-period", 300.0, "Seconds that a pressure condition outlasts its shortage."
    )
    image_gc_high_threshold: int = option(
        "--image-gc-high-threshold", 85, "Percent of the images' disk above which unused images are removed."
    )
    image_gc_low_threshold: int = option(
        "--image-gc-low-threshold", 80, "Percent of the images' disk down to which they are removed."
    )
    allowed_unsafe_sysctls: tuple[str, ...] = option(
        "--allowed-unsafe-sysctls",
        (),
        "Kernel settings that pods may change beside the safe ones; net.core.* is a pattern.",
    )
    seccomp_default: bool = option(
        "--seccomp-default", False, "Give containers that name no seccomp profile the runtime's default one."
    )
    pod_max_pids: int = option("--pod-max-pids", -1, "Processes that a pod may have; -1 for no limit.")
    csi_timeout: float = option("--csi-timeout", 120.0, "Seconds that a CSI driver may take to answer a call.")
    tracing_config_file: str = option(
        "--tracing-config-file", "", "A TracingConfiguration: where spans are sent over OTLP, and how many are begun."
    )
    paths_socket: str = option("--paths-socket", "", "Unix socket that shows the interactions of this process.")
    v: int = option("-v", 0, "Verbosity of the log, 0 to 10.")
    pod_infra_container_image: str = option(
        "--pod-infra-container-image", "", "Accepted and left to the runtime, whose own setting counts."
    )

    def tracing(self) -> spans.Config:
        """Where spans go: what its own file says, else `tracing` of the KubeletConfiguration."""
        if self.tracing_config_file or not self.config:
            return spans.load(self.tracing_config_file)
        document = yaml.safe_load(Path(self.config).read_text()) or {}
        return spans.of(document["tracing"], self.config) if document.get("tracing") else spans.Config()


#: Fields of a KubeletConfiguration that have a flag: name in the file to name here.
FILE_FIELDS = {
    "address": "address",
    "port": "port",
    "clusterDNS": "cluster_dns",
    "clusterDomain": "cluster_domain",
    "containerRuntimeEndpoint": "container_runtime_endpoint",
    "cgroupRoot": "cgroup_root",
    "maxPods": "max_pods",
    "podLogsDir": "pod_logs_dir",
    "providerID": "provider_id",
    "resolvConf": "resolv_conf",
    "rotateCertificates": "rotate_certificates",
    "allowedUnsafeSysctls": "allowed_unsafe_sysctls",
    "seccompDefault": "seccomp_default",
    "serverTLSBootstrap": "server_tls_bootstrap",
    "tlsCertFile": "tls_cert_file",
    "tlsPrivateKeyFile": "tls_private_key_file",
    "cpuManagerPolicy": "cpu_manager_policy",
    "topologyManagerPolicy": "topology_manager_policy",
    "reservedSystemCPUs": "reserved_cpus",
    "kubeReserved": "kube_reserved",
    "systemReserved": "system_reserved",
    "evictionHard": "eviction_hard",
    "evictionSoft": "eviction_soft",
    "evictionSoftGracePeriod": "eviction_soft_grace_period",
    "evictionMinimumReclaim": "eviction_minimum_reclaim",
    "evictionMaxPodGracePeriod": "eviction_max_pod_grace_period",
    "evictionPressureTransitionPeriod": "eviction_pressure_transition_period",
    "imageGCHighThresholdPercent": "image_gc_high_threshold",
    "imageGCLowThresholdPercent": "image_gc_low_threshold",
    "podPidsLimit": "pod_max_pids",
    "syncFrequency": "sync_frequency",
    "nodeStatusUpdateFrequency": "node_status_update_frequency",
    "nodeStatusReportFrequency": "node_status_report_frequency",
}


def merged(config: Config) -> Config:
    """The configuration with what its file says, where no flag says otherwise. ValueError names what is wrong."""
    if not config.config:
        return config
    document = yaml.safe_load(Path(config.config).read_text())
    if not isinstance(document, dict) or document.get("kind") != "KubeletConfiguration":
        raise ValueError(f"{config.config} is no KubeletConfiguration")
    given = {FILE_FIELDS[name]: value for name, value in document.items() if name in FILE_FIELDS}
    authentication = document.get("authentication") or {}
    if "enabled" in (authentication.get("anonymous") or {}):
        given["anonymous_auth"] = authentication["anonymous"]["enabled"]
    if "clientCAFile" in (authentication.get("x509") or {}):
        given["client_ca_file"] = authentication["x509"]["clientCAFile"]
    if "mode" in (document.get("authorization") or {}):
        given["authorization_mode"] = document["authorization"]["mode"]
    defaults = Config()
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if getattr(config, name) == getattr(defaults, name):
            kept[name] = _value(name, value, getattr(defaults, name))
    return replace(config, **kept)


def _value(name: str, value: Any, default: Any) -> Any:
    """A value of the file as the flag would have it: maps as NAME=VALUE or SIGNAL<VALUE, durations in seconds."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        sign = "<" if name in ("eviction_hard", "eviction_soft") else "="
        return tuple(f"{key}{sign}{text}" for key, text in value.items())
    return seconds(value) if isinstance(default, float) and isinstance(value, str) else value
