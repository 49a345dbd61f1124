"""Network namespaces, bridges, veth pairs and routes: ensured rather than made, so that every call can be repeated.

All functions block on netlink for about a millisecond; from a running event loop call them through asyncio.to_thread
(pyroute2's synchronous sockets bring a loop of their own). Where a namespace is asked for, "" means the machine's own.
"""

import contextlib
import errno
import ipaddress
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetlinkError, NetNS, netns

#: The routing protocol number on routes of ours, which tells them from everybody else's (unassigned in rt_protos).
ROUTE_PROTOCOL = 80
#: RTM_F_CLONED: a cached exception.
CLONED = 0x200
#: ioctl-era limit of interface names, without the terminating zero.
NAME_LIMIT = 15


@contextlib.contextmanager
def netlink(namespace: str = "") -> Iterator[Any]:
    """A netlink socket in a namespace that exists."""
    socket = NetNS(namespace, flags=0) if namespace else IPRoute()
    try:
        yield socket
    finally:
        socket.close()


def namespaces() -> list[str]:
    """The named network namespaces of the machine."""
    return sorted(netns.listnetns())


def ensure_namespace(name: str) -> None:
    """A named namespace whose loopback is up. Visible to `ip netns`, gone after a reboot."""
    if name not in netns.listnetns():
        netns.create(name)
    with netlink(name) as socket:
        socket.link("set", index=_index(socket, "lo"), state="up")


def delete_namespace(name: str) -> None:
    """Remove the name; the namespace itself goes with its last process."""
    if name in netns.listnetns():
        netns.remove(name)


def ensure_bridge(name: str, address: str, *, mtu: int, alias: str) -> None:
    """A bridge on the machine that has address (with prefix length) and is up; alias says whose it is."""
    with netlink() as socket:
        if _index(socket, name) is None:
            socket.link("add", ifname=name, kind="bridge")
        index = _index(socket, name)
        socket.link("set", index=index, state="up", mtu=mtu, ifalias=alias)
        _ensure_address(socket, index, address)


def ensure_veth(namespace: str, inside: str, *, outside: str, bridge: str, address: str, mtu: int, alias: str) -> None:
    """A pair from the namespace (its end has address) to the machine (its end is a port of the bridge), both up."""
    with netlink() as machine, netlink(namespace) as node:
        if _index(node, inside) is None:
            if (stale := _index(machine, outside)) is not None:
                machine.link("del", index=stale)
            machine.link("add", ifname=outside, kind="veth", peer={"ifname": inside, "net_ns_fd": namespace})
        index = _index(machine, outside)
        machine.link("set", index=index, master=_index(machine, bridge), state="up", mtu=mtu, ifalias=alias)
        index = _index(node, inside)
        node.link("set", index=index, state="up", mtu=mtu)
        _ensure_address(node, index, address)


def delete_links(names: set[str]) -> None:
    """Delete the machine's interfaces of these names; absent ones are no error."""
    with netlink() as socket:
        for name in names & set(_links(socket)):
            with contextlib.suppress(NetlinkError):  # the other end of a pair may have taken it along
                socket.link("del", index=_index(socket, name))


def links(namespace: str = "") -> list[str]:
    """The names of the interfaces."""
    with netlink(namespace) as socket:
        return _links(socket)


def sync_routes(namespace: str, routes: Mapping[str, str], *, interface: str) -> list[str]:
    """Make our routes through interface exactly these (destination → next hop); returns what changed, as sentences."""
    done = []
    with netlink(namespace) as socket:
        index = _index(socket, interface)
        present = dict(_our_routes(socket, index)) if index is not None else {}
        for destination in present.keys() - routes.keys():
            socket.route("del", dst=destination, oif=index, proto=ROUTE_PROTOCOL)
            done.append(f"removed route to {destination}")
        for destination, gateway in routes.items():
            if present.get(destination) != gateway:
                socket.route("replace", dst=destination, gateway=gateway, oif=index, proto=ROUTE_PROTOCOL)
                done.append(f"route to {destination} via {gateway}")
    return done


def taken_networks(*, except_interfaces: set[str]) -> list[ipaddress.IPv4Network]:
    """The IPv4 networks that the machine's addresses and routes speak of, except those on the interfaces named."""
    found = []
    with netlink() as socket:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in socket.get_links()}
        for message in socket.get_addr(family=2):
            if names.get(message["index"]) not in except_interfaces:
                found.append(f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}")
        for message in socket.get_routes(family=2, table=254):
            destination = message.get_attr("RTA_DST")
            # What the kernel learnt from a redirect is listed beside the table, and is nobody's network.
            if (
                destination
                and not message["flags"] & CLONED
                and names.get(message.get_attr("RTA_OIF")) not in except_interfaces
            ):
                found.append(f"{destination}/{message['dst_len']}")
    return [ipaddress.IPv4Network(text, strict=False) for text in found]


def default_address() -> str:
    """The address the machine uses towards the rest of the world; without a default route its first global one."""
    with netlink() as socket:
        by_interface: dict[int, str] = {}
        for message in socket.get_addr(family=2, scope=0):
            by_interface.setdefault(message["index"], message.get_attr("IFA_ADDRESS"))
        for route in socket.get_default_routes(family=2):
            source = route.get_attr("RTA_PREFSRC") or by_interface.get(route.get_attr("RTA_OIF"))
            if source:
                return str(source)
        return next(iter(by_interface.values()), "127.0.0.1")


def default_mtu() -> int:
    """The MTU of the machine's way out; bridges with a larger one would lose what pods send to the world."""
    with netlink() as socket:
        for route in socket.get_default_routes(family=2):
            link = socket.get_links(route.get_attr("RTA_OIF"))
            return int(link[0].get_attr("IFLA_MTU"))
    return 1500


def set_sysctls(namespace: str, values: Mapping[str, str]) -> list[str]:
    """Write kernel settings ("net/ipv4/ip_forward") as seen in the namespace; returns those the kernel lacks."""
    missing: list[str] = []
    failure: list[OSError] = []

    def write() -> None:
        # A thread of its own: setns changes the calling thread for good.
        try:
            if namespace:
                netns.setns(namespace, flags=0)
            for name, value in values.items():
                path = Path("/proc/sys") / name
                if not path.exists():
                    missing.append(name)
                elif path.read_text().strip() != value:
                    path.write_text(value)
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return missing


def _links(socket: Any) -> list[str]:
    return [link.get_attr("IFLA_IFNAME") for link in socket.get_links()]


def _index(socket: Any, name: str) -> int | None:
    found = socket.link_lookup(ifname=name)
    return int(found[0]) if found else None


def _our_routes(socket: Any, index: int) -> Iterator[tuple[str, str]]:
    for route in socket.get_routes(family=2, oif=index, table=254):
        if route["proto"] == ROUTE_PROTOCOL:
            destination = route.get_attr("RTA_DST")
            yield (f"{destination}/{route['dst_len']}" if destination else "default"), route.get_attr("RTA_GATEWAY")


def _ensure_address(socket: Any, index: int | None, address: str) -> None:
    plain, _, length = address.partition("/")
    try:
        socket.addr("add", index=index, address=plain, prefixlen=int(length))
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
