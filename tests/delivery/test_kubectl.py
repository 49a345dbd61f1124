"""kubectl delivers examples/shop with the rights of one namespace: server-side apply, kustomize, diff and prune."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.delivery.conftest import EXAMPLES, Deployer, found

FILES = ("10-config.yaml", "20-front.yaml", "30-stock.yaml", "40-jobs.yaml")
LABEL = "app.kubernetes.io/part-of=shop"
PRUNED = ("core/v1/ConfigMap", "core/v1/Service", "apps/v1/Deployment")


@pytest.fixture
def shop(deployer: Deployer) -> Path:
    """A kustomization of the shop for the deployer's namespace."""
    folder = deployer.folder / "shop"
    folder.mkdir()
    for name in FILES:
        shutil.copy(EXAMPLES / "shop" / name, folder)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": deployer.namespace,
        "labels": [{"pairs": dict([LABEL.split("=")])}],
        "resources": list(FILES),
        "configMapGenerator": [{"name": "hours", "literals": ["OPEN=9-18"]}],
        "replicas": [{"name": "front", "count": 2}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


def test_a_kustomization_is_applied_and_rolls_out(deployer: Deployer, shop: Path) -> None:
    """Twice gives nothing new; the rollouts end and the job completes."""
    assert "deployment.apps/front created" in deployer.tool("kubectl", "apply", "-k", str(shop))
    again = deployer.tool("kubectl", "apply", "-k", str(shop)).splitlines()
    # A Secret with stringData always looks changed to kubectl: the API never gives that field back.
    assert [line for line in again if not line.endswith(" unchanged")] == ["secret/till configured"]
    deployer.tool("kubectl", "rollout", "status", "deployment/front", "--timeout=20s")
    deployer.tool("kubectl", "rollout", "status", "statefulset/stock", "--timeout=20s")
    deployer.tool("kubectl", "wait", "--for=condition=Complete", "job/stocktaking", "--timeout=20s")


def test_server_side_apply_keeps_what_others_own(deployer: Deployer, shop: Path) -> None:
    """A field of another manager is a conflict, until it is forced; a scaler's replicas stay when not applied."""
    apply = ("kubectl", "apply", "--server-side", "-k", str(shop))
    assert "deployment.apps/front serverside-applied" in deployer.tool(*apply)
    deployer.tool("kubectl", "scale", "deployment/front", "--replicas=4")
    said = deployer.tool(*apply, code=1)
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in said
    deployer.tool(*apply, "--force-conflicts")
    assert deployer.tool("kubectl", "get", "deployment", "front", "-o", "jsonpath={.spec.replicas}") == "2"
    deployer.tool("kubectl", "label", "deployment", "front", "team=fruit")
    deployer.tool(*apply)
    assert deployer.tool("kubectl", "get", "deployment", "front", "-o", "jsonpath={.metadata.labels.team}") == "fruit"


def test_diff_shows_what_apply_would_change(deployer: Deployer, shop: Path) -> None:
    """Exit status 0 without a difference, 1 with one, which is shown, and nothing is written."""
    apply, diff = ("kubectl", "apply", "-k", str(shop)), ("kubectl", "diff", "-k", str(shop))
    text = (shop / "20-front.yaml").read_text()
    for how in ((), ("--server-side", "--force-conflicts")):
        (shop / "20-front.yaml").write_text(text)
        deployer.tool(*apply, *how)
        deployer.tool(*diff, *how)
        before = deployer.tool("kubectl", "get", "deployment", "front", "-o", "jsonpath={.spec}")
        (shop / "20-front.yaml").write_text(text.replace("periodSeconds: 2", "periodSeconds: 7"))
        said = deployer.tool(*diff, *how, code=1)
        assert "+          periodSeconds: 7" in said and "-          periodSeconds: 2" in said
        assert deployer.tool("kubectl", "get", "deployment", "front", "-o", "jsonpath={.spec}") == before


def test_going_over_to_server_side_apply_leaves_one_owner(deployer: Deployer, shop: Path) -> None:
    """kubectl edits managedFields itself then; the old manager keeps nothing, so a removed field goes."""
    deployer.tool("kubectl", "apply", "-k", str(shop))
    deployer.tool("kubectl", "apply", "--server-side", "--force-conflicts", "-k", str(shop))
    listed = deployer.tool("kubectl", "get", "deployment", "front", "-o", "json", "--show-managed-fields")
    managers = {entry["manager"] for entry in json.loads(listed)["metadata"]["managedFields"]}
    assert managers == {"kubectl", "kubectl-last-applied", "kube-controller-manager"}


def test_prune_removes_what_is_no_longer_there(deployer: Deployer, shop: Path) -> None:
    """What carries the label and was applied before goes; what somebody made by hand stays."""
    deployer.tool("kubectl", "create", "configmap", "by-hand")
    deployer.tool("kubectl", "label", "configmap", "by-hand", LABEL)
    apply = ["kubectl", "apply", "-k", str(shop), "--prune", "-l", LABEL]
    apply += [f"--prune-allowlist={kind}" for kind in PRUNED]
    deployer.tool(*apply)
    kustomization = yaml.safe_load((shop / "kustomization.yaml").read_text())
    kustomization["resources"].remove("30-stock.yaml")
    del kustomization["configMapGenerator"]
    (shop / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    said = deployer.tool(*apply)
    assert "service/stock pruned" in said and "configmap/hours-" in said
    names = deployer.tool("kubectl", "get", "services,configmaps", "-l", LABEL, "-o", "name").split()
    assert names == ["service/front", "configmap/by-hand", "configmap/catalogue"]


def test_applysets_prune_by_their_parent(deployer: Deployer, shop: Path) -> None:
    """The newer way: the members are written down at a Secret, and what left the set goes."""
    (shop / "kustomization.yaml").unlink()
    for file in shop.iterdir():
        file.write_text(file.read_text().replace("namespace: shop", f"namespace: {deployer.namespace}"))
    kubectl = ("env", "KUBECTL_APPLYSET=true", found("kubectl"), "apply", "--namespace", deployer.namespace)
    apply = (*kubectl, "--prune", "--applyset=shop", "-f", str(shop))
    deployer.command(*apply)
    (shop / "40-jobs.yaml").unlink()
    assert "cronjob.batch/sweep pruned" in deployer.command(*apply)
    assert deployer.tool("kubectl", "get", "jobs,cronjobs", "-o", "name") == ""


def test_another_namespace_is_refused(deployer: Deployer, shop: Path) -> None:
    """Every object is refused by name, and nothing appears there."""
    kustomization = yaml.safe_load((shop / "kustomization.yaml").read_text())
    (shop / "kustomization.yaml").write_text(yaml.safe_dump(kustomization | {"namespace": "default"}))
    said = deployer.tool("kubectl", "apply", "--server-side", "-k", str(shop), code=1)
    assert said.count("forbidden") == 9
    assert deployer.tool("kubectl", "auth", "can-i", "create", "deployments") == "yes\n"
    assert "no" in deployer.tool("kubectl", "auth", "can-i", "create", "deployments", "-n", "default", code=1)
