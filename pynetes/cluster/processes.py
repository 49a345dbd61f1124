"""Every process of a cluster, declared: its command line with upstream's flags, what it waits for, when it is ready."""

import dataclasses
import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pynetes.cluster import cloud, hardening, joining
from pynetes.cluster.config import Cluster
from pynetes.cluster.images.archive import architecture
from pynetes.cluster.network import ClusterNetwork, NodeNetwork
from pynetes.cluster.probe import Probe
from pynetes.cluster.process import Process
from pynetes.pki.layout import Layout

KUBELET_PORT = 10250
#: Of one pod: no fork bomb takes the machine along.
MOST_PROCESSES = 8192
#: Everything else, certificates above all, is read again by whoever uses it when it changes.
READ_AT_START = (".toml", ".pub", "local-cloud.yaml", "cloud-config.yaml")


def of(cluster: Cluster, network: ClusterNetwork) -> list[Process]:
    """All processes, in the order of their dependencies."""
    clouds = cloud.processes(cluster, network) if network.cloud_cidr else ()
    nodes = (process for node in network.nodes for process in _node(cluster, node))
    return [
        dataclasses.replace(process, stamp=_stamp(process.argv))
        for process in (*_control_plane(cluster, network), *nodes, *clouds)
    ]


def _stamp(argv: Sequence[str]) -> str:
    """Of the files that the flags name and that are read but once: etcd keeps the authorities it started with."""
    known = hashlib.sha256()
    for flag in argv:
        path = Path(flag.partition("=")[2] or flag)
        if (path.name.endswith(READ_AT_START) or "trusted-ca-file" in flag) and path.is_file():
            known.update(path.read_bytes())
    return known.hexdigest()[:16]


def _pynetes(component: str, *flags: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pynetes.cmd.main", component, *flags)


def _control_plane(cluster: Cluster, network: ClusterNetwork) -> Iterator[Process]:
    layout = Layout(cluster.state)
    yield _etcd(cluster, layout)
    yield _api_server(cluster, network, layout)
    ca = layout.pair("ca")
    yield Process(
        name="controller-manager",
        argv=_pynetes(
            "controller-manager",
            f"--kubeconfig={layout.kubeconfig('controller-manager.conf')}",
            f"--root-ca-file={ca.certificate}",
            f"--service-account-private-key-file={layout.service_account.key}",
            f"--cluster-signing-cert-file={ca.certificate}",
            f"--cluster-signing-key-file={ca.key}",
            f"--kubelet-serving-nodes={joining.names_file(cluster)}",
            f"--cluster-cidr={cluster.pod_cidr}",
            "--allocate-node-cidrs=true",
            *(("--cloud-provider=external",) if network.cloud_cidr else ()),
            "--use-service-account-credentials=true",
            "--terminated-pod-gc-threshold=1000",
            f"--client-ca-file={ca.certificate}",
            "--bind-address=127.0.0.1",
            *_observed(cluster, "controller-manager"),
        ),
        after=("apiserver",),
        ready=Probe(port=10257),
    )
    yield Process(
        name="scheduler",
        argv=_pynetes(
            "scheduler",
            f"--kubeconfig={layout.kubeconfig('scheduler.conf')}",
            f"--client-ca-file={ca.certificate}",
            "--bind-address=127.0.0.1",
            *_observed(cluster, "scheduler"),
        ),
        after=("apiserver",),
        ready=Probe(port=10259),
    )
    if "prometheus" in cluster.addons:
        yield _metrics_guard(cluster, network)


def _metrics_guard(cluster: Cluster, network: ClusterNetwork) -> Process:
    """Shows a pod that scrapes, at the same ports of the node's address, what is on loopback."""
    layout, address = Layout(cluster.state), network.nodes[0].address
    shown = {10257: "https", 10259: "https", cluster.etcd_metrics_port: "http"}
    return Process(
        name="metrics-guard",
        argv=_pynetes(
            "metrics-guard",
            # The least that any component has; the add-on lets it ask who may.
            f"--kubeconfig={layout.kubeconfig('kube-proxy.conf')}",
            f"--secure-listen-address={address}",
            f"--upstreams={','.join(f'{port}={scheme}://127.0.0.1:{port}' for port, scheme in shown.items())}",
        ),
        after=("apiserver",),
    )


def _observed(cluster: Cluster, component: str) -> tuple[str, ...]:
    """Where it shows what it exchanges with others; and traces, once somebody has said where they go."""
    shown = f"--paths-socket={cluster.paths_dir / component}.sock"
    return (shown, f"--tracing-config-file={cluster.tracing}") if cluster.tracing.exists() else (shown,)


def _etcd(cluster: Cluster, layout: Layout) -> Process:
    ca, server, peer = (layout.pair(stem) for stem in ("etcd/ca", "etcd/server", "etcd/peer"))
    probe = layout.pair("etcd/healthcheck-client")
    clients = f"https://127.0.0.1:{cluster.etcd_port}"
    peers = f"https://127.0.0.1:{cluster.etcd_port + 1}"
    return Process(
        name="etcd",
        argv=(
            shutil.which("etcd") or "etcd",
            f"--name={cluster.name}",
            f"--data-dir={cluster.state / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster={cluster.name}={peers}",
            "--client-cert-auth",
            # It would dial etcd with the server's certificate, which is for no client.
            "--enable-grpc-gateway=false",
            f"--trusted-ca-file={ca.certificate}",
            f"--cert-file={server.certificate}",
            f"--key-file={server.key}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={ca.certificate}",
            f"--peer-cert-file={peer.certificate}",
            f"--peer-key-file={peer.key}",
            # Without certificates, so to this machine only.
            f"--listen-metrics-urls=http://127.0.0.1:{cluster.etcd_metrics_port}",
            "--snapshot-count=10000",
            "--quota-backend-bytes=4294967296",
        ),
        # Debian builds etcd for machines that upstream calls unsupported, and it then asks for this.
        env={"ETCD_UNSUPPORTED_ARCH": architecture()},
        ready=Probe(
            port=cluster.etcd_port,
            path="/health",
            ca=str(ca.certificate),
            cert=str(probe.certificate),
            key=str(probe.key),
        ),
    )


def _api_server(cluster: Cluster, network: ClusterNetwork, layout: Layout) -> Process:
    ca, serving, kubelet = (layout.pair(stem) for stem in ("ca", "apiserver", "apiserver-kubelet-client"))
    etcd, proxy = layout.pair("apiserver-etcd-client"), layout.pair("front-proxy-client")
    accounts = layout.service_account
    return Process(
        name="apiserver",
        argv=_pynetes(
            "apiserver",
            f"--advertise-address={network.nodes[0].address}",
            f"--secure-port={cluster.secure_port}",
            f"--etcd-servers=https://127.0.0.1:{cluster.etcd_port}",
            f"--etcd-cafile={layout.pair('etcd/ca').certificate}",
            f"--etcd-certfile={etcd.certificate}",
            f"--etcd-keyfile={etcd.key}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={ca.certificate}",
            f"--kubelet-client-certificate={kubelet.certificate}",
            f"--kubelet-client-key={kubelet.key}",
            f"--kubelet-certificate-authority={ca.certificate}",
            # Names of nodes in namespaces resolve nowhere.
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            f"--service-account-issuer=https://kubernetes.default.svc.{cluster.domain}",
            f"--service-cluster-ip-range={cluster.service_cidr}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-bootstrap-token-auth=true",
            "--allow-privileged=true",
            "--service-account-projected-configmaps=",
            f"--requestheader-client-ca-file={layout.pair('front-proxy-ca').certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy.certificate}",
            f"--proxy-client-key-file={proxy.key}",
            *hardening.flags(cluster),
            *_observed(cluster, "apiserver"),
        ),
        after=("etcd",),
        ready=Probe(port=cluster.secure_port, path="/readyz", ca=str(ca.certificate)),
    )


def _node(cluster: Cluster, node: NodeNetwork) -> Iterator[Process]:
    containerd = cluster.containerd(node.name)
    yield Process(
        name=f"containerd-{node.name}",
        argv=node.command(containerd.command()),
        # Half as much garbage at rest: 8 MB of 54, for each node.
        env={"GOGC": "50"},
        ready=Probe(unix=str(containerd.socket)),
    )
    yield Process(
        name=f"kubelet-{node.name}",
        argv=node.command(_pynetes("kubelet", *_kubelet_flags(cluster, node))),
        after=("apiserver", f"containerd-{node.name}", *(("local-cloud",) if cluster.cloud == "local" else ())),
        ready=Probe(host=node.address, port=KUBELET_PORT),
    )
    proxy = (
        f"--kubeconfig={Layout(cluster.state).kubeconfig('kube-proxy.conf')}",
        f"--hostname-override={node.name}",
        f"--cluster-cidr={cluster.pod_cidr}",
        f"--proxy-mode={cluster.proxy_mode}",
        "--network-policy",
        *_observed(cluster, f"kube-proxy-{node.name}"),
        *(_shown(cluster, node) if "prometheus" in cluster.addons else ()),
    )
    yield Process(name=f"kube-proxy-{node.name}", argv=node.command(_pynetes("proxy", *proxy)), after=("apiserver",))


def _shown(cluster: Cluster, node: NodeNetwork) -> tuple[str, ...]:
    """How kube-proxy shows its metrics to other machines, too."""
    authority = Layout(cluster.state).pair("ca").certificate
    return (f"--secure-metrics-bind-address={node.address}:10249", f"--client-ca-file={authority}")


def _kubelet_flags(cluster: Cluster, node: NodeNetwork) -> tuple[str, ...]:
    home = Layout(cluster.state).node(node.name)
    return (
        f"--bootstrap-kubeconfig={home.kubeconfig(joining.BOOTSTRAP)}",
        f"--kubeconfig={home.kubeconfig('kubelet.conf')}",
        f"--cert-dir={home.pki}",
        "--rotate-certificates=true",
        "--rotate-server-certificates=true",
        "--seccomp-default=true",
        f"--pod-max-pids={MOST_PROCESSES}",
        f"--hostname-override={node.name}",
        # In a cloud, the metadata service says which addresses the node has, and which instance it is.
        *(
            ("--cloud-provider=external", f"--cloud-metadata=http://{cloud.METADATA}")
            if cluster.cloud == "local"
            else (f"--node-ip={node.address}",)
        ),
        f"--container-runtime-endpoint={cluster.containerd(node.name).endpoint}",
        f"--root-dir={cluster.node_state(node.name) / 'kubelet'}",
        f"--cluster-dns={cluster.dns_service}",
        f"--cluster-domain={cluster.domain}",
        f"--client-ca-file={Layout(cluster.state).pair('ca').certificate}",
        "--anonymous-auth=false",
        "--authorization-mode=Webhook",
        f"--cgroup-root=/{cgroup(cluster)}/{node.name}",
        *_observed(cluster, f"kubelet-{node.name}"),
    )


def cgroup(cluster: Cluster) -> str:
    """Below which cgroup all pods of the cluster live."""
    return f"pynetes-{cluster.name}"


def folders(cluster: Cluster) -> Iterator[Path]:
    """What must exist before the processes start."""
    yield cluster.logs
    yield cluster.paths_dir
    yield cluster.run / "cloud"
    for node in cluster.node_names():
        yield cluster.node_state(node) / "kubelet"
        yield cluster.node_run(node)
