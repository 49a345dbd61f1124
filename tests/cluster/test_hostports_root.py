"""What CNI's portmap leaves behind, made by the real plugin in a network namespace of the test's own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pynetes.cluster import hostports, netns

PORTMAP = Path("/usr/lib/cni/portmap")
SPACE = "hostports-test"
SHARED = [":CNI-HOSTPORT-DNAT - [0:0]", ":CNI-HOSTPORT-MASQ - [0:0]", ":CNI-HOSTPORT-SETMARK - [0:0]"]
#: Runs in the namespace, as `reset` runs in the machine's.
REMOVE = (
    "import asyncio, sys; from pynetes.cluster import hostports; print(asyncio.run(hostports.remove(*sys.argv[1:])))"
)

root = [
    pytest.mark.root,
    pytest.mark.skipif(not PORTMAP.exists() or not shutil.which("iptables"), reason="needs CNI's portmap and iptables"),
]


@pytest.fixture
def space() -> Iterator[None]:
    netns.ensure_namespace(SPACE)
    yield
    netns.delete_namespace(SPACE)


def inside(*argv: str, given: str = "", **env: str) -> str:
    """What a program says in the namespace."""
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{SPACE}", *argv], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env},
        input=given, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def add(network: str, pod: str, address: str, port: int) -> None:
    """A pod's port of the host, as containerd asks for it."""
    conf = {
        "cniVersion": "0.4.0", "name": network, "type": "portmap", "snat": True,
        "runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]},
        "prevResult": {"cniVersion": "0.4.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/x"}],
                       "ips": [{"version": "4", "address": f"{address}/24", "interface": 0}]},
    }  # fmt: skip
    inside(
        str(PORTMAP), given=json.dumps(conf), CNI_COMMAND="ADD", CNI_CONTAINERID=pod, CNI_NETNS="/run/netns/x",
        CNI_IFNAME="eth0", CNI_PATH=str(PORTMAP.parent),
    )  # fmt: skip


def remove(label: str) -> str:
    return inside(sys.executable, "-c", REMOVE, label, "PYNETES-none")


def chains() -> list[str]:
    return sorted(
        line for line in inside("iptables-save", "-t", "nat").splitlines() if line.startswith(":CNI-HOSTPORT")
    )


class TestForReal:
    pytestmark = root

    def test_nothing_is_left_of_pods_that_no_del_was_called_for(self, space: None) -> None:
        """Their chains, the shared ones, the rules that led there, and the tables that iptables made."""
        add("pynetes-one", "a" * 64, "10.9.0.2", 8080)
        assert chains() == SHARED
        assert "CNI-DN-" in remove("pynetes-one")
        assert inside("nft", "list", "tables") == ""

    def test_shared_chains_stay_while_another_pod_needs_them(self, space: None) -> None:
        """Another cluster's, or another runtime's; with its last pod they go, whoever asks."""
        add("pynetes-one", "a" * 64, "10.9.0.2", 8080)
        add("pynetes-one-more", "b" * 64, "10.8.0.2", 8081)
        remove("pynetes-one")
        left = inside("iptables-save", "-t", "nat")
        assert chains() == SHARED
        assert "10.8.0.2:80" in left
        assert "10.9.0.2" not in left
        remove("pynetes-one-more")
        assert inside("nft", "list", "tables") == ""

    def test_shared_chains_go_when_portmap_was_called_for_the_last_pod(self, space: None) -> None:
        """What an orderly end of all pods leaves."""
        add("pynetes-one", "a" * 64, "10.9.0.2", 8080)
        for chain in [word for word in inside("iptables-save", "-t", "nat").split() if word.startswith("CNI-DN-")][-1:]:
            inside("iptables", "-t", "nat", "-F", "CNI-HOSTPORT-DNAT")
            inside("iptables", "-t", "nat", "-F", chain)
            inside("iptables", "-t", "nat", "-X", chain)
        assert remove("pynetes-one").strip() == "[]"
        assert inside("nft", "list", "tables") == ""


def test_which_shared_chains_are_unused() -> None:
    """All or none: a rule in the one that has a rule for each pod keeps them."""
    made = [*SHARED, "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"]
    assert hostports.unused(made) == {"CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK"}
    assert (
        hostports.unused([*made, '-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "x \\"y\\"" -j CNI-DN-1']) == set()
    )
