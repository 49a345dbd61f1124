"""What the plan of a cluster's networks says, without touching the machine."""

import dataclasses
import ipaddress
from pathlib import Path

import pytest

from pynetes.cluster import network
from pynetes.cluster.errors import ClusterError


def node(number: int) -> network.NodeNetwork:
    return network.NodeNetwork(
        name=f"n{number}",
        number=number,
        namespace="" if number == 1 else f"pynetes-t-{number}",
        address=f"172.31.0.{number}",
        pod_cidr=f"10.244.{number - 1}.0/24",
    )


NET = network.ClusterNetwork(
    cluster="t",
    pod_cidr="10.244.0.0/16",
    service_cidr="10.96.0.0/16",
    node_cidr="172.31.0.0/24",
    mtu=1400,
    nodes=(node(1), node(2), node(3)),
)


def test_every_node_has_a_route_to_every_other_nodes_pods() -> None:
    """The machine routes to both namespaces; a namespace routes to the other one and leaves the rest to the machine."""
    assert network.desired_routes(NET, "", NET.nodes) == {
        "10.244.1.0/24": "172.31.0.2",
        "10.244.2.0/24": "172.31.0.3",
    }
    assert network.desired_routes(NET, "pynetes-t-2", NET.nodes) == {
        "default": "172.31.0.1",
        "10.244.2.0/24": "172.31.0.3",
    }


def test_a_command_runs_in_the_nodes_network_namespace_only() -> None:
    """The machine's commands are left alone; a namespace's are entered by the network namespace, not by mounts."""
    assert node(1).command(["true"]) == ("true",)
    assert node(2).command(["true"]) == ("nsenter", "--net=/run/netns/pynetes-t-2", "--", "true")


def test_interface_names_fit_the_kernels_limit() -> None:
    """However long the cluster's name is."""
    long = network.ClusterNetwork(**{**vars(NET), "cluster": "a-very-long-name-of-a-cluster"})
    last = network.NodeNetwork(**{**vars(node(2)), "number": 9999})
    assert max(map(len, (long.node_bridge, long.pod_bridge, long.veth(last)))) <= 15


def test_the_node_network_avoids_what_the_machine_uses() -> None:
    """A /24 in use is passed over; a default route does not count; with none left the remedy is named."""
    first = ipaddress.IPv4Network(network.choose_network("t", []))
    assert ipaddress.IPv4Network(network.choose_network("t", [first])) != first
    assert network.choose_network("t", [ipaddress.IPv4Network("0.0.0.0/0")]) == str(first)
    with pytest.raises(ClusterError) as error:
        network.choose_network("t", [network.NODE_NETWORKS])
    assert "--node-cidr" in error.value.remedy


def test_a_pod_network_in_use_is_refused_with_the_remedy() -> None:
    """A network of the machine inside ours would be cut off; a wider route is no conflict."""
    network.check_free("pod", "10.244.0.0/16", [ipaddress.IPv4Network("10.0.0.0/8")])
    with pytest.raises(ClusterError, match=r"overlaps 10\.244\.7\.0/24") as error:
        network.check_free("pod", "10.244.0.0/16", [ipaddress.IPv4Network("10.244.7.0/24")])
    assert error.value.remedy == "give --pod-cidr"


def test_the_cni_list_is_written_once_and_only_when_it_changes(tmp_path: Path) -> None:
    """containerd reloads on every write, so an unchanged file stays untouched."""
    network.write_cni_conf(NET, node(2), conf_dir=tmp_path, data_dir=tmp_path / "ipam")
    path = tmp_path / "10-pynetes.conflist"
    before = path.stat().st_ino
    network.write_cni_conf(NET, node(2), conf_dir=tmp_path, data_dir=tmp_path / "ipam")
    assert path.stat().st_ino == before
    network.write_cni_conf(NET, node(3), conf_dir=tmp_path, data_dir=tmp_path / "ipam")
    assert path.stat().st_ino != before and "10.244.2.0/24" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["10-pynetes.conflist"]


def test_a_node_keeps_the_pod_network_it_was_given(tmp_path: Path) -> None:
    """What the API assigned is read back from the node's CNI configuration; a new node has none, and no route."""
    given = dataclasses.replace(node(2), pod_cidr="10.244.7.0/24")
    assert network.assigned(tmp_path) == ""
    network.write_cni_conf(NET, given, conf_dir=tmp_path, data_dir=tmp_path)
    assert network.assigned(tmp_path) == "10.244.7.0/24"
    fresh = dataclasses.replace(node(3), pod_cidr="")
    assert network.desired_routes(NET, "", [given, fresh]) == {"10.244.7.0/24": "172.31.0.2"}
