"""Every add-on of the catalog can be applied, and taken away again."""

from pathlib import Path

import pytest

from pynetes.cluster.addons import catalog, manifests
from pynetes.cluster.api import resource_of
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.cluster.images import recipes

EVERYTHING = Cluster(addons=tuple(catalog.BY_NAME))


@pytest.mark.parametrize("addon", catalog.ADDONS, ids=lambda addon: addon.name)
def test_an_addons_objects_are_complete(addon: catalog.Addon) -> None:
    """Each has a name and a kind that exists; each image is one that `up` packs; what is waited for is among them."""
    found = manifests.objects(EVERYTHING, [addon])
    deployments = {obj["metadata"]["name"] for obj in found if obj["kind"] == "Deployment"}
    assert set(addon.waits_for) <= deployments
    assert set(addon.images) <= set(recipes.RECIPES)
    for obj in found:
        assert resource_of(obj, found).kind == obj["kind"]
        template = obj.get("spec", {}).get("template", {}).get("spec", {})
        used = {container["image"] for container in template.get("containers", [])}
        assert used <= {*recipes.ESSENTIAL, *addon.images}


def test_what_a_cluster_has_not_is_taken_away() -> None:
    """Chosen and others are all there are."""
    plain = Cluster()
    assert [addon.name for addon in manifests.chosen(plain)] == list(catalog.DEFAULT)
    of_clouds = {addon.name for addon in catalog.ADDONS if addon.cloud}
    assert {addon.name for addon in manifests.others(plain)} == set(catalog.OPTIONAL) | of_clouds
    in_a_cloud = manifests.chosen(Cluster(cloud="local"))
    assert [addon.name for addon in in_a_cloud if addon.cloud] == ["cloud-controller-manager", "cloud-disks"]
    without = manifests.chosen(Cluster(cloud="local", addons=("dns", "network-policy")))
    assert [addon.name for addon in without if addon.cloud] == ["cloud-controller-manager"]


def test_a_custom_kind_is_known_from_its_definition() -> None:
    """Else the error says what is missing."""
    custom = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one"}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"kind": "Thing", "plural": "things"}},
    }
    assert resource_of(custom, [definition, custom]).path() == "/apis/example.com/v1/things"
    with pytest.raises(ClusterError, match=r"no kind is example\.com/v1 Thing"):
        resource_of(custom, [custom])


def test_a_changed_image_replaces_its_pods() -> None:
    """The name stays the same; what it was packed from stands in the template, of which a rollout is made."""
    (dns,) = [addon for addon in catalog.ADDONS if addon.name == "dns"]

    def stamps(archive: str) -> list[str]:
        found = manifests.objects(EVERYTHING, [dns], {recipes.PYNETES: Path(archive)})
        templates = [obj["spec"]["template"] for obj in found if "template" in obj.get("spec", {})]
        return [template["metadata"]["annotations"][manifests.PACKED] for template in templates]

    assert stamps("/cache/python-1+pynetes-2.tar") == ["python-1+pynetes-2"]
    assert stamps("/cache/python-1+pynetes-3.tar") == ["python-1+pynetes-3"]
