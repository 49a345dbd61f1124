"""The local cloud of a cluster: its network namespace, its configuration, and its processes.

The cloud lives in a namespace of its own, as a data centre is another place than the machines it rents out. A veth pair
joins it to the machine; all addresses of its pool are local there, so balancers answer on them without any port of the
machine being taken. A further pair leads to each node and carries nothing but the metadata service, so that what a pod
sends there is forwarded by its node and loses a hop, as with a real one.
"""

import ipaddress
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509

from pynetes.cluster.config import Cluster
from pynetes.cluster.network import ClusterNetwork, NodeNetwork
from pynetes.cluster.probe import Probe
from pynetes.cluster.process import Process
from pynetes.component.command import run
from pynetes.machinery.meta import Object
from pynetes.pki import issue, layout
from pynetes.pki.layout import Authority, Layout, Leaf

#: The node's address on the wire to its metadata service, and the service's.
NODE_END, METADATA = "169.254.169.253", "169.254.169.254"
REGION, ZONES = "local", "abc"
PORT = 443
#: A certificate that ends sooner is made anew.
RENEW = timedelta(days=30)


def namespace(network: ClusterNetwork) -> str:
    """Where the cloud is."""
    return f"{network.label}-cloud"


def endpoint(network: ClusterNetwork) -> str:
    """The address of its API."""
    return str(ipaddress.IPv4Network(network.cloud_cidr)[2])


def _wire(network: ClusterNetwork, node: NodeNetwork) -> tuple[str, str]:
    """The names of the two ends to a node's metadata service: the node's and the cloud's."""
    return f"pym{network.tag}-{node.number}", f"md{node.number}"


async def create(network: ClusterNetwork) -> None:
    """Make the namespace and all wires. Repeatable; what `network.cleanup` finds by its names."""
    space, pool = namespace(network), ipaddress.IPv4Network(network.cloud_cidr)
    if space not in (await run(["ip", "netns", "list"])).out.split():
        await run(["ip", "netns", "add", space])
    inside = ["ip", "-n", space]
    await run([*inside, "link", "set", "lo", "up"])
    # An answer leaves by the wire on which the question came, whatever the table says of the way back.
    await run(["ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])
    await run(["ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.conf.default.rp_filter=0"])
    outside = f"pyl-{network.tag}"
    if (await run(["ip", "link", "show", outside], check=False)).code:
        await run(["ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space])
    await run(["ip", "link", "set", outside, "up", "mtu", str(network.mtu), "alias", network.label])
    await run([*inside, "link", "set", "eth0", "up", "mtu", str(network.mtu)])
    await run(["ip", "addr", "replace", f"{pool[1]}/{pool.prefixlen}", "dev", outside])
    await run([*inside, "addr", "replace", f"{pool[2]}/{pool.prefixlen}", "dev", "eth0"])
    # All but the first four: the machine's end must not be taken for an address of the cloud's.
    for part in pool.address_exclude(ipaddress.IPv4Network(f"{pool[0]}/30")):
        await run([*inside, "route", "replace", "local", str(part), "dev", "lo"])
    await run([*inside, "route", "replace", "default", "via", str(pool[1]), "dev", "eth0"])
    for node in network.nodes:
        await _join(network, node)


async def _join(network: ClusterNetwork, node: NodeNetwork) -> None:
    """The wire to one node's metadata service."""
    space = namespace(network)
    near, far = _wire(network, node)
    there, here = ["ip", "-n", space], ["ip", "-n", node.namespace] if node.namespace else ["ip"]
    if (await run([*here, "link", "show", near], check=False)).code:
        await run([*there, "link", "del", far], check=False)
        where = ["netns", node.namespace] if node.namespace else []
        # From the cloud's side, so that a node's end can be put into any namespace; the machine's own has no name.
        if where:
            await run([*there, "link", "add", far, "type", "veth", "peer", "name", near, *where])
        else:
            await run(["ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", space])
    await run([*here, "link", "set", near, "up"])
    await run([*there, "link", "set", far, "up"])
    await run([*here, "addr", "replace", f"{NODE_END}/32", "dev", near])
    await run([*here, "route", "replace", f"{METADATA}/32", "dev", near, "src", node.address])
    await run([*there, "addr", "replace", f"{METADATA}/32", "dev", far])
    metric = str(1000 + node.number)
    await run([*there, "route", "replace", "default", "via", NODE_END, "dev", far, "onlink", "metric", metric])


async def remove(network: ClusterNetwork) -> None:
    """For a cluster that has no cloud any more; the wires go with the namespace, once its last process has ended."""
    await run(["ip", "netns", "del", namespace(network)], check=False)
    for node in network.nodes:
        near, _ = _wire(network, node)
        here = ["ip", "-n", node.namespace] if node.namespace else ["ip"]
        await run([*here, "link", "del", near], check=False)
    await run(["ip", "link", "del", f"pyl-{network.tag}"], check=False)
    await run(["nft", f"delete table ip {network.label}-metadata"], check=False)


def home(cluster: Cluster) -> Path:
    """What the cloud keeps."""
    return cluster.state / "cloud"


def write(cluster: Cluster, network: ClusterNetwork) -> None:
    """Its configuration, its certificate, and what the cloud controller manager needs to reach it."""
    folder = home(cluster)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _certificate(folder, endpoint(network))
    tokens = {user: _secret(folder / f"{user}.token") for user in ("cloud-controller-manager", "administrator")}
    document: Object = {
        "cluster": cluster.name,
        "state": str(folder),
        "certificate": str(folder / "tls.crt"),
        "key": str(folder / "tls.key"),
        "tokens": tokens,
        "instances": [_instance(cluster, network, node) for node in network.nodes],
        "host": endpoint(network),
        "port": PORT,
        "namespace": namespace(network),
        "region": REGION,
        "pool": network.cloud_cidr,
        "hook": [sys.executable, "-m", "pynetes.cmd.main", "instance", "--cluster", cluster.name]
        + (["--data-dir", cluster.data_dir] if cluster.data_dir else []),
        "haproxy_config": str(cluster.run / "cloud" / "haproxy.cfg"),
        "haproxy_master": str(cluster.run / "cloud" / "master.sock"),
        "haproxy_stats": str(cluster.run / "cloud" / "stats.sock"),
        "table": f"{network.label}-metadata",
    }
    _private(folder / "local-cloud.yaml", yaml.safe_dump(document, sort_keys=False))
    given = {
        "endpoint": f"https://{endpoint(network)}",
        "tokenFile": str(folder / "cloud-controller-manager.token"),
        "certificateAuthority": str(folder / "ca.crt"),
    }
    _private(folder / "cloud-config.yaml", yaml.safe_dump(given, sort_keys=False))


def _instance(cluster: Cluster, network: ClusterNetwork, node: NodeNetwork) -> Object:
    near, far = _wire(network, node)
    cpus, memory = os.cpu_count() or 1, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return {
        "id": _instance_id(cluster.node_state(node.name)),
        "name": node.name,
        "address": node.address,
        "namespace": node.namespace,
        "zone": f"{REGION}-{ZONES[(node.number - 1) % len(ZONES)]}",
        "type": f"{REGION}.{cpus}c{memory}g",
        "metadata_interface": far,
        "node_interface": near,
        "user_data": f"#cloud-config\nhostname: {node.name}\n",
        "tags": {"Name": node.name},
    }


def _instance_id(folder: Path) -> str:
    """The node's, for as long as it has a home: one that was terminated and made again is another instance."""
    path = folder / "instance-id"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"i-{secrets.token_hex(8)}")
    return path.read_text().strip()


def _secret(path: Path) -> str:
    if not path.exists():
        _private(path, secrets.token_urlsafe(32))
    return path.read_text()


def _private(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def _certificate(folder: Path, address: str) -> None:
    """For the API, by an authority of the cloud's own: a cloud is trusted apart from the cluster."""
    now, certificate = datetime.now(UTC), folder / "tls.crt"
    if certificate.exists():
        known = x509.load_pem_x509_certificate(certificate.read_bytes())
        if known.not_valid_after_utc - now > RENEW and address in issue.names_of(known).addresses:
            return
    own = Authority("ca", "local-cloud-ca")
    authority = issue.authority(own.common_name, now)
    names = layout.names("localhost", address, "127.0.0.1")
    made = issue.leaf(Leaf("tls", own, "local-cloud", server=True, names=names), authority, now)
    _private(folder / "ca.crt", authority.certificate_pem.decode())
    _private(folder / "tls.key", made.key_pem.decode())
    _private(folder / "tls.crt", made.certificate_pem.decode())


def processes(cluster: Cluster, network: ClusterNetwork) -> Iterator[Process]:
    """The cloud, its haproxy, and what works with it: the cloud controller manager, and who makes its disks."""
    folder, here = home(cluster), cluster.run / "cloud"
    pynetes = (sys.executable, "-m", "pynetes.cmd.main")
    yield Process(
        name="local-cloud",
        argv=(
            *pynetes,
            "local-cloud",
            f"--config={folder / 'local-cloud.yaml'}",
            f"--paths-socket={cluster.paths_dir / 'local-cloud'}.sock",
        ),
        ready=Probe(host=endpoint(network), port=PORT, path="/readyz", ca=str(folder / "ca.crt")),
    )
    yield Process(
        name="haproxy",
        argv=(
            "nsenter",
            f"--net=/run/netns/{namespace(network)}",
            "--",
            shutil.which("haproxy") or "/usr/sbin/haproxy",
            "-W",
            "-db",
            "-S",
            f"{here / 'master.sock'},mode,600",
            "-f",
            str(here / "haproxy.cfg"),
        ),
        after=("local-cloud",),
        ready=Probe(unix=str(here / "stats.sock")),
    )
    common = (
        "--cloud-provider=local",
        f"--cloud-config={folder / 'cloud-config.yaml'}",
        f"--cluster-name={cluster.name}",
        f"--kubeconfig={Layout(cluster.state).kubeconfig('cloud-controller-manager.conf')}",
    )
    if "storage" in cluster.addons:
        yield Process(
            name="cloud-csi-controller",
            argv=(
                *pynetes,
                "cloud-csi-controller",
                *common,
                "--control",
                f"--endpoint=unix://{here / 'csi.sock'}",
                f"--paths-socket={cluster.paths_dir / 'cloud-csi-controller'}.sock",
            ),
            after=("apiserver", "local-cloud"),
        )
    yield Process(
        name="cloud-controller-manager",
        argv=(
            *pynetes,
            "cloud-controller-manager",
            *common,
            f"--cluster-cidr={cluster.pod_cidr}",
            "--allocate-node-cidrs=true",
            # Those that are made at the same time share a reload of haproxy.
            "--concurrent-service-syncs=20",
            "--bind-address=127.0.0.1",
            f"--paths-socket={cluster.paths_dir / 'cloud-controller-manager'}.sock",
        ),
        after=("apiserver", "local-cloud"),
        ready=Probe(port=10258),
    )
