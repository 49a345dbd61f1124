"""What a cluster may be called and have, and how its configuration survives."""

from pathlib import Path

import pytest

from pynetes.cluster import config
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError


@pytest.mark.parametrize("name", ["", ".", "..", "../lib", "a/b", "A", "-a", "a-", "a" * 21, "a b", "ä", "a\n"])
def test_a_bad_name_is_refused_by_whatever_takes_one(name: str) -> None:
    """Names become paths that `reset` removes: "..", for one, would be /var/lib."""
    with pytest.raises(ClusterError, match="cannot name a cluster") as refused:
        config.load(name)
    assert refused.value.remedy == "use at most 20 lower-case letters, digits and dashes"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"nodes": 0}, "--nodes 0: a machine can play 1 to 50 nodes"),
        ({"nodes": 51}, "--nodes 51: a machine can play 1 to 50 nodes"),
        ({"pod_cidr": "many"}, "--pod-cidr many: "),
        ({"pod_cidr": "10.244.0.1/16"}, "--pod-cidr 10.244.0.1/16: "),
        ({"pod_cidr": "10.244.0.0/23", "nodes": 3}, "--pod-cidr 10.244.0.0/23 has no /24 for each of 3 node"),
        ({"service_cidr": "10.96.0.0/30"}, "--service-cidr 10.96.0.0/30 has too few addresses"),
        ({"service_cidr": "10.244.128.0/24"}, "--pod-cidr 10.244.0.0/16 and --service-cidr 10.244.128.0/24 overlap"),
        ({"secure_port": 0}, "0 is no port"),
        ({"secure_port": 70000}, "70000 is no port"),
    ],
)
def test_what_no_cluster_can_be_is_told_by_its_flag(changed: dict[str, object], message: str) -> None:
    """Before anything is made, with what to do about it."""
    with pytest.raises(ClusterError) as refused:
        Cluster(**changed)  # type: ignore[arg-type] # wrong on purpose
    assert str(refused.value).startswith(message)
    assert refused.value.remedy


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Nothing but cluster.json is left by saving, twice as well."""
    cluster = Cluster(name="one", nodes=3, data_dir=str(tmp_path), complete=True)
    cluster.save()
    cluster.save()
    assert config.load("one", str(tmp_path)) == cluster
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"name": "one", "color": "red"}', '{"name": 3}', '{"nodes": "x"}']
)
def test_an_unreadable_configuration_names_the_way_out(tmp_path: Path, text: str) -> None:
    """Half a file, another version's file, no JSON: `reset` with the very flags."""
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(ClusterError, match="cannot be read") as refused:
        config.load("one", str(tmp_path))
    assert f"pynetes reset --cluster one --data-dir {tmp_path}" in refused.value.remedy


def test_a_folder_of_another_cluster_is_refused(tmp_path: Path) -> None:
    """Else `reset --cluster a --data-dir …` would remove b."""
    Cluster(name="b", data_dir=str(tmp_path)).save()
    with pytest.raises(ClusterError, match="holds the cluster 'b'") as refused:
        config.load("a", str(tmp_path))
    assert refused.value.remedy == "say --cluster b"


def test_no_cluster_is_an_error_with_the_command_that_makes_one(tmp_path: Path) -> None:
    """The flags are those that were given."""
    with pytest.raises(ClusterError, match="there is no cluster named 'one'") as refused:
        config.require("one", str(tmp_path))
    assert refused.value.remedy.startswith(f"start it with `pynetes up --cluster one --data-dir {tmp_path}`")


def test_addons_are_known_complete_and_in_their_order() -> None:
    """A typo is told; what no cluster works without stays; flags and JSON may bring them in any order."""
    with pytest.raises(ClusterError, match="there is no add-on 'promethesu'") as refused:
        Cluster(addons=("dns", "promethesu"))
    assert "metrics-server" in refused.value.remedy
    with pytest.raises(ClusterError, match="no cluster works without the add-on dns"):
        Cluster(addons=("network-policy",))
    assert Cluster(addons=("network-policy", "dns", "dns")).addons == ("dns", "network-policy")


def test_an_unknown_cloud_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ClusterError, match="--cloud mars") as refused:
        Cluster(cloud="mars")
    assert refused.value.remedy == "one of none, local"
