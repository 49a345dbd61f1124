"""What a pod sees of the network's names: its resolv.conf and its /etc/hosts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pynetes.kubelet import podspec
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

#: What the C library accepts.
MAX_SERVERS, MAX_SEARCHES, MAX_SEARCH_LENGTH = 3, 32, 2048
MANAGED = "# Managed by the kubelet.\n"
ORDINARY = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n" + (
    "fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
)


@dataclass(frozen=True, kw_only=True)
class Dns:
    """The cluster's DNS, and the node's own resolv.conf for pods that use that."""

    servers: Sequence[str] = ()
    domain: str = "cluster.local"
    node_file: Path = Path("/etc/resolv.conf")


def dns_config(pod: Object, dns: Dns) -> pb.DNSConfig:
    """Servers, search domains and options by dnsPolicy, with dnsConfig added."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    servers, searches, options = _of_node(dns.node_file)
    if policy == "None":
        servers, searches, options = [], [], []
    elif policy.startswith("ClusterFirst") and dns.servers:
        namespace = pod["metadata"].get("namespace", "default")
        own = [f"{namespace}.svc.{dns.domain}", f"svc.{dns.domain}", dns.domain]
        servers, searches, options = list(dns.servers), [*own, *searches], ["ndots:5"]
    extra = spec.get("dnsConfig") or {}
    servers += extra.get("nameservers") or []
    searches += extra.get("searches") or []
    return pb.DNSConfig(
        servers=list(dict.fromkeys(servers))[:MAX_SERVERS],
        searches=_fitting(list(dict.fromkeys(searches))),
        options=_merged(options, extra.get("options") or []),
    )


def _of_node(path: Path) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    try:
        lines = path.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word in ("search", "domain"):
            searches = [name.rstrip(".") or "." for name in rest]
        elif word == "options":
            options = rest
    return servers, searches, options


def _fitting(searches: list[str]) -> list[str]:
    kept: list[str] = []
    for name in searches[:MAX_SEARCHES]:
        if len(" ".join([*kept, name])) <= MAX_SEARCH_LENGTH:
            kept.append(name)
    return kept


def _merged(options: list[str], extra: list[Object]) -> list[str]:
    """dnsConfig's options replace those of the same name."""
    named = {option.partition(":")[0]: option for option in options}
    for option in extra:
        value = option.get("value")
        named[option["name"]] = f"{option['name']}:{value}" if value else option["name"]
    return list(named.values())


def domain_of(pod: Object, dns: Dns) -> str:
    """The pod's DNS domain; "" without a subdomain."""
    subdomain = pod["spec"].get("subdomain")
    if not subdomain or pod["spec"].get("hostnameOverride"):
        return ""
    return f"{subdomain}.{pod['metadata'].get('namespace', 'default')}.svc.{dns.domain}"


def hosts_file(pod: Object, ips: Sequence[str], dns: Dns) -> str:
    """The contents of the managed /etc/hosts. With hostNetwork it is the node's, with hostAliases after it."""
    if podspec.host_network(pod):
        try:
            text = MANAGED + Path("/etc/hosts").read_text()
        except OSError:
            text = MANAGED + ORDINARY
    else:
        name, domain = podspec.hostname(pod), domain_of(pod, dns)
        names = f"{name}.{domain}\t{name}" if domain else name
        text = MANAGED + ORDINARY + "".join(f"{ip}\t{names}\n" for ip in ips)
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries of hostAliases.\n"
        text += "".join(f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) + "\n" for alias in aliases)
    return text
