"""What is known of a running cluster before anything is judged."""

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pynetes import apis
from pynetes.client.rest import Client
from pynetes.client.transport import Call, NetworkTransport, Unreachable
from pynetes.cluster import supervisor
from pynetes.cluster.benchmark import listeners as listeners_of
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.machinery.meta import Object
from pynetes.pki import evidence
from pynetes.pki.layout import Layout
from pynetes.storage.etcd import EtcdBackend
from pynetes.storage.etcd_channel import Credentials

#: What 1.2 of TLS offers and nobody should take: no forward secrecy, or CBC.
WEAK = "AES128-SHA:AES256-SHA:AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA"
#: Where a profiler would be.
PROFILE = "/debug/pprof/"
KINDS = (
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
    "pods",
    "namespaces",
    "serviceaccounts",
    "networkpolicies",
    "secrets",
    "nodes",
)


@dataclass(kw_only=True)
class Facts:
    """Gathered once."""

    cluster: Cluster
    #: Process → its command line, as the kernel has it.
    argv: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Plural → all objects.
    objects: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    #: Path → status, for somebody without credentials.
    anonymous: Mapping[str, int] = field(default_factory=dict)
    #: Node → its kubelet's configuration in force.
    kubelets: Mapping[str, Object] = field(default_factory=dict)
    #: Listener → whether it took a weak cipher.
    weak: Mapping[str, bool] = field(default_factory=dict)
    #: Listener → status for the profiler's path, with an administrator's credentials.
    profiling: Mapping[str, int] = field(default_factory=dict)
    #: Node → whether the old port without authentication is open.
    read_only: Mapping[str, bool] = field(default_factory=dict)
    #: Listener → whether it took TLS below 1.2.
    outdated: Mapping[str, bool] = field(default_factory=dict)
    #: Where metrics are shown to other machines → whether they are read without TLS.
    plain: Mapping[str, bool] = field(default_factory=dict)
    #: What etcd, and we, made of right and wrong certificates.
    handshakes: Sequence[evidence.Expectation] = ()
    #: Process → where other machines reach it.
    listening: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Key of each Secret in etcd → how its value begins.
    stored: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """Where certificates and kubeconfigs are."""
        return Layout(self.cluster.state)

    def flag(self, process: str, name: str) -> str:
        """The value of a flag; "true" for one without a value, "" when it is not given."""
        for word in self.argv[process]:
            given, equals, value = word.partition("=")
            if given == f"--{name}":
                return value if equals else "true"
        return ""

    def named(self, prefix: str) -> list[str]:
        """Processes of which there is one on each node."""
        return sorted(name for name in self.argv if name.startswith(f"{prefix}-"))


async def gather(cluster: Cluster) -> Facts:
    """Ask everything. Raises ClusterError when the cluster does not run."""
    argv, listening = await _processes(cluster)
    client = Client.from_kubeconfig(str(cluster.state / "super-admin.conf"), component="pynetes-audit")
    try:
        objects = {plural: (await client.list(_resource(plural))).items for plural in KINDS}
        kubelets = {name: await _configz(client, name) for name in cluster.node_names()}
        profiling = {"apiserver": await _status(client.transport, PROFILE)}
        stranger = NetworkTransport(_credentials(client).without_identity())
        try:
            anonymous = {path: await _status(stranger, path) for path in ("/api", "/apis", "/metrics", "/healthz")}
        finally:
            await stranger.close()
    finally:
        await client.close()
    addresses = {node["metadata"]["name"]: _address(node) for node in objects["nodes"]}
    listeners = {"apiserver": ("127.0.0.1", cluster.secure_port)}
    listeners |= {"controller-manager": ("127.0.0.1", 10257), "scheduler": ("127.0.0.1", 10259)}
    listeners |= {f"kubelet-{name}": (address, 10250) for name, address in addresses.items()}
    metrics = {
        f"{name} at {where}": where.rsplit(":", 1)
        for name, addresses_of in listening.items()
        for where in addresses_of
        if where.endswith(":10249") or name == "metrics-guard"
    }
    shown = {name: (host.strip("[]"), int(port)) for name, (host, port) in metrics.items()}
    listeners |= shown
    for name in ("controller-manager", "scheduler"):
        profiling[name] = await _get(*listeners[name], PROFILE, _context())
    return Facts(
        cluster=cluster,
        argv=argv,
        objects=objects,
        anonymous=anonymous,
        kubelets=kubelets,
        weak={name: await _takes_weak(*where) for name, where in listeners.items()},
        profiling=profiling,
        read_only={name: await _open(address, 10255) for name, address in addresses.items()},
        outdated={name: await _takes_old(*where) for name, where in listeners.items()},
        plain={name: await _get(*where, "/metrics", None) == 200 for name, where in shown.items()},
        handshakes=await asyncio.to_thread(
            evidence.handshakes, Layout(cluster.state), "127.0.0.1", cluster.etcd_port, log=cluster.logs / "etcd.log"
        ),
        listening=listening,
        stored=await _stored(cluster),
    )


def _resource(plural: str) -> Any:
    return next(each for each in apis.load() if each.plural == plural and each.stored)


def _credentials(client: Client) -> Any:
    transport = client.transport
    assert isinstance(transport, NetworkTransport)
    return transport.credentials


async def _processes(cluster: Cluster) -> tuple[dict[str, Sequence[str]], dict[str, Sequence[str]]]:
    """Command lines, and listeners. Raises ClusterError."""
    try:
        status = await supervisor.request(cluster.control_socket, do="status")
    except OSError:
        raise ClusterError("the cluster does not run", f"start it with `pynetes up{cluster.flags}`") from None
    found: dict[str, Sequence[str]] = {}
    shown: dict[str, Sequence[str]] = {}
    for item in status["processes"]:
        # What has just ended is missing then, and the controls about it fail.
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{item['pid']}/cmdline").read_bytes()
            found[item["name"]] = [word.decode() for word in line.split(b"\0") if word]
            shown[item["name"]] = listeners_of.listening(item["pid"])
    return found, shown


async def _stored(cluster: Cluster) -> dict[str, bytes]:
    """Asked of etcd itself, as the health check."""
    layout = Layout(cluster.state)
    pair = layout.pair("etcd/healthcheck-client")
    credentials = Credentials(
        ca=str(layout.pair("etcd/ca").certificate), certificate=str(pair.certificate), key=str(pair.key)
    )
    backend = EtcdBackend([f"https://127.0.0.1:{cluster.etcd_port}"], credentials)
    try:
        return {item.key: item.value[:8] for item in (await backend.list("/registry/secrets/")).items}
    finally:
        await backend.close()


async def _configz(client: Client, node: str) -> Object:
    answer = await client.transport.request(Call(method="GET", target=f"/api/v1/nodes/{node}/proxy/configz"))
    found: Object = orjson.loads(answer.body)["kubeletconfig"] if answer.status == 200 else {}
    return found


async def _status(transport: Any, path: str) -> int:
    try:
        return int((await transport.request(Call(method="GET", target=path))).status)
    except Unreachable:
        return 0


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _takes_weak(host: str, port: int) -> bool:
    context = _context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{WEAK}:@SECLEVEL=0")
    return await _open(host, port, context)


async def _takes_old(host: str, port: int) -> bool:
    context = _context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        # That it is outdated is why it is offered.
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return await _open(host, port, context)


async def _open(host: str, port: int, context: ssl.SSLContext | None = None) -> bool:
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _get(host: str, port: int, path: str, context: ssl.SSLContext | None) -> int:
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            words = (await reader.readline()).split()
            writer.close()
            return int(words[1]) if len(words) > 1 else 0
    except (OSError, TimeoutError):
        return 0


def _address(node: Object) -> str:
    with contextlib.suppress(StopIteration):
        return str(next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"))
    return ""
