"""What `up --cloud local` writes and starts, without touching the machine."""

import dataclasses
import stat
from pathlib import Path

import yaml

from pynetes.cloud.localcloud.config import read
from pynetes.cloud.providers.local import parse
from pynetes.cluster import cloud, processes
from pynetes.cluster.config import Cluster
from pynetes.cluster.network import ClusterNetwork, NodeNetwork

NODES = tuple(
    NodeNetwork(
        name=name, number=number, namespace="" if number == 1 else f"pynetes-c-{number}", address=address, pod_cidr=""
    )
    for number, (name, address) in enumerate((("machine", "192.0.2.1"), ("c-node-2", "172.31.1.2")), 1)
)
NET = ClusterNetwork(
    cluster="c", pod_cidr="10.244.0.0/16", service_cidr="10.96.0.0/16", node_cidr="172.31.1.0/24", mtu=1500,
    nodes=NODES, cloud_cidr="172.31.255.0/24",
)  # fmt: skip


def made(folder: Path) -> Cluster:
    cluster = Cluster(name="c", data_dir=str(folder), nodes=2, cloud="local")
    cloud.write(cluster, NET)
    return cluster


def test_the_service_and_its_client_read_what_is_written(tmp_path: Path) -> None:
    """Instances in three zones by turns, the pool without its first addresses, one token for the controllers."""
    cluster = made(tmp_path)
    config = read(str(cloud.home(cluster) / "local-cloud.yaml"))
    assert [each.name for each in config.instances] == ["machine", "c-node-2"]
    assert [each.zone for each in config.instances] == ["local-a", "local-b"]
    assert config.addresses[0] == "172.31.255.4" and config.host == "172.31.255.2"
    client = parse((cloud.home(cluster) / "cloud-config.yaml").read_text())
    assert client.token == config.tokens["cloud-controller-manager"] and client.endpoint == "https://172.31.255.2"


def test_nothing_of_it_is_readable_by_others(tmp_path: Path) -> None:
    """Tokens and keys are in it."""
    cluster = made(tmp_path)
    for path in cloud.home(cluster).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_second_run_keeps_instances_tokens_and_the_certificate(tmp_path: Path) -> None:
    """Or nodes would be other machines after each `up`; a node whose home is gone is another."""
    cluster = made(tmp_path)
    before = {path.name: path.read_bytes() for path in cloud.home(cluster).iterdir()}
    cloud.write(cluster, NET)
    assert {path.name: path.read_bytes() for path in cloud.home(cluster).iterdir()} == before
    (cluster.node_state("c-node-2") / "instance-id").unlink()
    cloud.write(cluster, NET)
    ids = [
        yaml.safe_load(text)["instances"]
        for text in (before["local-cloud.yaml"], (cloud.home(cluster) / "local-cloud.yaml").read_bytes())
    ]
    assert ids[0][0]["id"] == ids[1][0]["id"] and ids[0][1]["id"] != ids[1][1]["id"]


def test_kubelets_are_told_of_their_cloud(tmp_path: Path) -> None:
    """External cloud provider, and the metadata service instead of an address; without a cloud the address."""
    cluster = made(tmp_path)
    found = {each.name: each for each in processes.of(cluster, NET)}
    assert {"local-cloud", "haproxy", "cloud-controller-manager"} <= found.keys()
    kubelet = found["kubelet-c-node-2"]
    assert "--cloud-provider=external" in kubelet.argv and "local-cloud" in kubelet.after
    assert "--cloud-provider=external" in found["controller-manager"].argv
    plain = dataclasses.replace(cluster, cloud="none")
    found = {each.name: each for each in processes.of(plain, dataclasses.replace(NET, cloud_cidr=""))}
    assert "local-cloud" not in found and "--node-ip=172.31.1.2" in found["kubelet-c-node-2"].argv
    assert not any("cloud-provider" in flag for each in found.values() for flag in each.argv)


def test_a_new_configuration_starts_the_service_anew(tmp_path: Path) -> None:
    """It reads its instances when it starts."""
    cluster = made(tmp_path)
    before = next(each for each in processes.of(cluster, NET) if each.name == "local-cloud")
    (cluster.node_state("c-node-2") / "instance-id").unlink()
    cloud.write(cluster, NET)
    after = next(each for each in processes.of(cluster, NET) if each.name == "local-cloud")
    assert before.digest != after.digest
