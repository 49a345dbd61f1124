"""The nodes' networks: who has which address, the namespaces they live in, pod networks, routes, and the way out.

The first node is the machine. Every further node lives in a network namespace whose only way out is a veth pair to a
bridge on the machine, as if the bridge were the switch between them. Within each node the bridge plugin of CNI joins
the pods; routes carry each node's pod network to that node. Nothing between pods and nodes is translated, so that a
pod is seen under its own address everywhere in the cluster; only what leaves the cluster takes the machine's address.

What is made can be found again by the cluster's name alone (`cleanup`): namespaces are pynetes-CLUSTER-N, interfaces
carry six digits of the name's hash since their names end at 15 characters, tables and chains carry the full name.
"""

import asyncio
import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pynetes.cluster import hostports, netns
from pynetes.cluster.errors import ClusterError
from pynetes.component.command import run

CNI_VERSION = "0.4.0"
CNI_CONF = "10-pynetes.conflist"
#: libcni keeps the results of ADD here until DEL.
CNI_RESULTS = Path("/var/lib/cni/results")
#: Where node networks are looked for, a /24 each, unless one is given.
NODE_NETWORKS = ipaddress.IPv4Network("172.31.0.0/16")
NEEDED_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # Without it the answer of a Service's endpoint on the same bridge would bypass connection tracking.
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
}


@dataclass(frozen=True, kw_only=True)
class NodeNetwork:
    """Where one node is. namespace is "" for the machine itself."""

    name: str
    number: int
    namespace: str
    address: str
    pod_cidr: str

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command line that runs argv on the node: in its network namespace, all else shared with the machine.

        Mounts stay shared on purpose: what the kubelet mounts for a volume has to be seen by the node's containerd."""
        if not self.namespace:
            return tuple(argv)
        return ("nsenter", f"--net=/run/netns/{self.namespace}", "--", *argv)


@dataclass(frozen=True, kw_only=True)
class ClusterNetwork:
    """The networks of one cluster, as planned by `plan`."""

    cluster: str
    pod_cidr: str
    service_cidr: str
    #: The network between the nodes; the machine has its first address. "" while there is one node only.
    node_cidr: str
    mtu: int
    nodes: tuple[NodeNetwork, ...]
    #: The addresses that the local cloud gives to load balancers; "" without one.
    cloud_cidr: str = ""

    @property
    def tag(self) -> str:
        """Six characters for interface names."""
        return _tag(self.cluster)

    @property
    def node_bridge(self) -> str:
        """The machine's bridge between the nodes."""
        return f"pyn-{self.tag}"

    @property
    def pod_bridge(self) -> str:
        """The bridge between a node's pods; each namespace has its own."""
        return f"pyc-{self.tag}"

    @property
    def gateway(self) -> str:
        """The machine as the other nodes see it; "" with one node only. The API server must answer on it."""
        return str(ipaddress.IPv4Network(self.node_cidr)[1]) if self.node_cidr else ""

    @property
    def label(self) -> str:
        """The name of tables, chains and CNI networks."""
        return f"pynetes-{self.cluster}"

    def veth(self, node: NodeNetwork) -> str:
        """The machine's end of a node's veth pair."""
        return f"pyv{self.tag}-{node.number}"


async def plan(
    cluster: str,
    names: Sequence[str],
    *,
    pod_cidr: str = "10.244.0.0/16",
    service_cidr: str = "10.96.0.0/16",
    node_cidr: str = "",
    node_pod_bits: int = 24,
    cloud: bool = False,
) -> ClusterNetwork:
    """Decide addresses. The same machine gets the same answer each time, so that `up` can be repeated.

    node_cidr "" picks a /24 nobody uses. Nodes get pod networks of node_pod_bits in the order of their names."""
    pods = ipaddress.IPv4Network(pod_cidr).subnets(new_prefix=node_pod_bits)
    machine = await asyncio.to_thread(netns.default_address)
    ours = {f"{kind}-{_tag(cluster)}" for kind in ("pyn", "pyc", "pyl")}
    taken = await asyncio.to_thread(netns.taken_networks, except_interfaces=ours)
    check_free("pod", pod_cidr, taken)
    check_free("service", service_cidr, taken)
    pool = _choose_pool(taken) if cloud else ""
    taken += [ipaddress.IPv4Network(pool)] if pool else []
    if len(names) > 1:
        node_cidr = node_cidr or choose_network(cluster, taken)
        check_free("node", node_cidr, taken)
    else:
        node_cidr = ""
    nodes = tuple(
        NodeNetwork(
            name=name,
            number=number,
            namespace="" if number == 1 else f"pynetes-{cluster}-{number}",
            address=machine if number == 1 else str(ipaddress.IPv4Network(node_cidr)[number]),
            pod_cidr=str(next(pods)),
        )
        for number, name in enumerate(names, 1)
    )
    return ClusterNetwork(
        cluster=cluster,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        node_cidr=node_cidr,
        mtu=await asyncio.to_thread(netns.default_mtu),
        nodes=nodes,
        cloud_cidr=pool,
    )


def _choose_pool(taken: Iterable[ipaddress.IPv4Network]) -> str:
    """The last free /24: nodes' networks are looked for from other places on."""
    others = [other for other in taken if other.prefixlen]
    for candidate in reversed(list(NODE_NETWORKS.subnets(new_prefix=24))):
        if not any(candidate.overlaps(other) for other in others):
            return str(candidate)
    raise ClusterError(f"no free network for load balancers in {NODE_NETWORKS}", "free one of its /24")


def choose_network(cluster: str, taken: Iterable[ipaddress.IPv4Network]) -> str:
    """A free /24; the search begins at a place of the cluster's own, so that it is found again after a reboot."""
    candidates = list(NODE_NETWORKS.subnets(new_prefix=24))
    start = int(_tag(cluster), 16) % len(candidates)
    taken = list(taken)
    for candidate in candidates[start:] + candidates[:start]:
        if not any(candidate.overlaps(other) for other in taken if other.prefixlen):
            return str(candidate)
    raise ClusterError(f"no free network for the nodes in {NODE_NETWORKS}", "give one with --node-cidr")


def check_free(what: str, cidr: str, taken: Iterable[ipaddress.IPv4Network]) -> None:
    """Raise when a network of the cluster overlaps one the machine already uses."""
    network = ipaddress.IPv4Network(cidr)
    for other in taken:
        # A wider route, such as one for all of 10.0.0.0/8, only loses to ours where they meet.
        if other.prefixlen and network.supernet_of(other):
            raise ClusterError(f"the {what} network {cidr} overlaps {other} of this machine", f"give --{what}-cidr")


async def create(network: ClusterNetwork, node: NodeNetwork) -> None:
    """Make a node's network (for the first node: the machine's part). Repeatable."""
    await asyncio.to_thread(_create, network, node)
    if not node.namespace:
        await _masquerade(network)
    await ensure_routes(network)


def _create(network: ClusterNetwork, node: NodeNetwork) -> None:
    alias = f"{network.label}-{node.number}"
    if network.node_cidr:
        length = network.node_cidr.partition("/")[2]
        gateway = f"{network.gateway}/{length}"
        netns.ensure_bridge(network.node_bridge, gateway, mtu=network.mtu, alias=network.label)
    if node.namespace:
        netns.ensure_namespace(node.namespace)
        netns.ensure_veth(
            node.namespace,
            "eth0",
            outside=network.veth(node),
            bridge=network.node_bridge,
            address=f"{node.address}/{network.node_cidr.partition('/')[2]}",
            mtu=network.mtu,
            alias=alias,
        )
    missing = netns.set_sysctls(node.namespace, NEEDED_SYSCTLS)
    if "net/ipv4/ip_forward" in missing:
        raise ClusterError("this kernel cannot forward IPv4", "use a kernel with CONFIG_INET")
    if "net/bridge/bridge-nf-call-iptables" in missing:
        raise ClusterError("bridged traffic is not tracked by this kernel", "run `modprobe br_netfilter`")


async def delete(cluster: str, number: int) -> None:
    """Remove what `create` made for a node in a namespace; the machine's part goes with `cleanup`. Repeatable."""
    await asyncio.to_thread(netns.delete_links, {f"pyv{_tag(cluster)}-{number}"})
    await run(["ip", "-n", f"pynetes-{cluster}-cloud", "link", "del", f"md{number}"], check=False)
    await asyncio.to_thread(netns.delete_namespace, f"pynetes-{cluster}-{number}")


async def trim(network: ClusterNetwork) -> None:
    """Remove the bridge between the nodes once there is one node only."""
    if not network.node_cidr:
        await asyncio.to_thread(netns.delete_links, {network.node_bridge})


def desired_routes(network: ClusterNetwork, namespace: str, nodes: Iterable[NodeNetwork]) -> dict[str, str]:
    """What a namespace needs to reach every other node's pods: destination → next hop."""
    routes = {} if not namespace else {"default": network.gateway}
    for node in nodes:
        if node.namespace and node.namespace != namespace and node.pod_cidr:
            routes[node.pod_cidr] = node.address
    return routes


async def ensure_routes(network: ClusterNetwork, pod_cidrs: Mapping[str, str] | None = None) -> list[str]:
    """Make the routes of every namespace that exists right; returns what changed.

    pod_cidrs: what the API says about each node (name → spec.podCIDR), where it differs from the plan."""
    if not network.node_cidr:
        return []
    known = pod_cidrs or {}
    nodes = [NodeNetwork(**{**vars(node), "pod_cidr": known.get(node.name, node.pod_cidr)}) for node in network.nodes]
    return await asyncio.to_thread(_ensure_routes, network, nodes)


def _ensure_routes(network: ClusterNetwork, nodes: Sequence[NodeNetwork]) -> list[str]:
    present, done = netns.namespaces(), []
    alive = [node for node in nodes if node.namespace in present]
    done += netns.sync_routes("", desired_routes(network, "", alive), interface=network.node_bridge)
    for node in alive:
        wanted = desired_routes(network, node.namespace, alive)
        done += [f"{node.name}: {text}" for text in netns.sync_routes(node.namespace, wanted, interface="eth0")]
    return done


def cni_conf(network: ClusterNetwork, node: NodeNetwork, data_dir: Path) -> dict[str, Any]:
    """The node's CNI network list; host-local keeps its leases in data_dir, apart from every other node's."""
    bridge = {
        "type": "bridge",
        "bridge": network.pod_bridge,
        "isDefaultGateway": True,
        "forceAddress": True,
        # Off here: the plugin would hide pods from each other's nodes. See _masquerade.
        "ipMasq": False,
        "hairpinMode": True,
        "mtu": network.mtu,
        "ipam": {"type": "host-local", "dataDir": str(data_dir), "ranges": [[{"subnet": node.pod_cidr}]]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return {"cniVersion": CNI_VERSION, "name": network.label, "plugins": [bridge, portmap]}


def assigned(conf_dir: Path) -> str:
    """The pod network that a node was given before; "" when it is new."""
    path = conf_dir / CNI_CONF
    if not path.exists():
        return ""
    bridge = json.loads(path.read_text())["plugins"][0]
    return str(bridge["ipam"]["ranges"][0][0]["subnet"])


def write_cni_conf(network: ClusterNetwork, node: NodeNetwork, *, conf_dir: Path, data_dir: Path) -> None:
    """Write the list where the node's containerd looks for it; replaced in one step, since containerd watches."""
    conf_dir.mkdir(parents=True, exist_ok=True)
    path = conf_dir / CNI_CONF
    text = json.dumps(cni_conf(network, node, data_dir), indent=2) + "\n"
    if not path.exists() or path.read_text() != text:
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(path)


async def _masquerade(network: ClusterNetwork) -> None:
    """Give what leaves the cluster the machine's address: one table, replaced in one transaction."""
    inside = ", ".join(
        cidr for cidr in (network.pod_cidr, network.service_cidr, network.node_cidr, network.cloud_cidr) if cidr
    )
    sources = ", ".join(cidr for cidr in (network.pod_cidr, network.node_cidr) if cidr)
    table = f"ip {network.label}"
    rules = (
        f"add table {table}",
        f"delete table {table}",
        f"add table {table}",
        f"add chain {table} postrouting {{ type nat hook postrouting priority srcnat - 1; }}",
        f"add rule {table} postrouting ip saddr {{ {sources} }} ip daddr != {{ {inside} }} "
        "fib daddr type != { local, multicast } masquerade fully-random",
    )
    if (await run(["nft", "; ".join(rules)], check=False)).code:
        await _masquerade_iptables(network, inside.replace(" ", ""))


async def _masquerade_iptables(network: ClusterNetwork, inside: str) -> None:
    """The same for kernels without nftables."""
    chain, table = f"PYNETES-{network.tag}", ("iptables", "-w", "-t", "nat")
    await run([*table, "-N", chain], check=False)
    await run([*table, "-F", chain])
    await run([*table, "-A", chain, "-d", inside, "-j", "RETURN"])
    await run([*table, "-A", chain, "-j", "MASQUERADE"])
    for source in filter(None, (network.pod_cidr, network.node_cidr)):
        rule = ("POSTROUTING", "-s", source, "-m", "comment", "--comment", network.label, "-j", chain)
        if (await run([*table, "-C", *rule], check=False)).code:
            await run([*table, "-A", *rule])


async def cleanup(cluster: str) -> list[str]:
    """Remove everything network-like that any `create` or CNI call of this cluster left; returns what was removed."""
    tag, label = _tag(cluster), f"pynetes-{cluster}"
    # First those of pods: their ends of veth pairs take the machine's along.
    pods = await asyncio.to_thread(_delete_pods, label)
    ours = re.compile(rf"(py[ncl]-{tag}|py[vm]{tag}-\d+)$")
    links = {name for name in await asyncio.to_thread(netns.links) if ours.match(name)}
    await asyncio.to_thread(netns.delete_links, links)
    spaces = [name for name in netns.namespaces() if re.fullmatch(rf"{re.escape(label)}-(\d+|cloud)", name)]
    for name in spaces:
        await asyncio.to_thread(netns.delete_namespace, name)
    done = [f"{pods} pod networks"] if pods else []
    done += [f"interface {name}" for name in sorted(links)] + [f"namespace {name}" for name in spaces]
    for table in (label, f"{label}-metadata"):
        if not (await run(["nft", f"delete table ip {table}"], check=False)).code:
            done.append(f"table {table}")
    return done + await hostports.remove(label, f"PYNETES-{tag}")


def _delete_pods(label: str) -> int:
    """The namespaces of pods that no CNI DEL was called for, as libcni's kept results name them; returns how many."""
    ours, count = re.compile(rf"{re.escape(label)}-([0-9a-f]{{64}})-\w+"), 0
    present = set(netns.namespaces())
    for path in CNI_RESULTS.glob(f"{label}-*"):
        if found := ours.fullmatch(path.name):
            for name in set(re.findall(r"/netns/(cni-[0-9a-f-]+)", path.read_text(errors="replace"))) & present:
                netns.delete_namespace(name)
                count += 1
            path.unlink(missing_ok=True)
            (CNI_RESULTS / f"cni-loopback-{found[1]}-lo").unlink(missing_ok=True)
    return count


def _tag(cluster: str) -> str:
    return hashlib.sha256(cluster.encode()).hexdigest()[:6]
