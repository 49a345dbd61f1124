"""Helm delivers the example's chart with the rights of one namespace."""

import json
from collections.abc import Sequence

from pynetes.machinery.meta import Object
from pynetes.testing.scripts import FINISHING, RUNNING, Stage
from tests.delivery.conftest import EXAMPLES, Deployer

CHART = str(EXAMPLES / "chart-shop")
WAIT = ("--wait", "--timeout", "30s")


def stages(pod: Object) -> Sequence[Stage]:
    """The books are balanced unless the values say otherwise; `helm test` succeeds; all else runs."""
    if pod["metadata"].get("labels", {}).get("approved") == "false":
        return (Stage("Running", ready=True), Stage("Failed", exit_code=1))
    return FINISHING if pod["spec"].get("restartPolicy", "Always") != "Always" else RUNNING


def test_a_release_is_installed_upgraded_rolled_back_and_removed(deployer: Deployer) -> None:
    """Each waits for the pods, each leaves its revision in the history, and nothing stays in the end."""
    deployer.kubernetes.script(deployer.namespace, stages)
    assert "STATUS: deployed" in deployer.tool("helm", "install", "corner", CHART, *WAIT)
    assert replicas(deployer) == (2, 2)
    deployer.tool("helm", "upgrade", "corner", CHART, "--set", "replicas=4,name=The New Shop", *WAIT)
    assert replicas(deployer) == (4, 4)
    deployer.tool("helm", "rollback", "corner", "1", *WAIT)
    assert replicas(deployer) == (2, 2)
    history = json.loads(deployer.tool("helm", "history", "corner", "-o", "json"))
    assert [each["status"] for each in history] == ["superseded", "superseded", "deployed"]
    assert "Phase:          Succeeded" in deployer.tool("helm", "test", "corner")
    assert "<h1>The Corner Shop</h1>" in deployer.tool("helm", "get", "manifest", "corner")
    deployer.tool("helm", "uninstall", "corner", *WAIT)
    assert json.loads(deployer.tool("helm", "list", "-o", "json")) == []
    left = deployer.tool("kubectl", "get", "deployments,statefulsets,services", "-o", "name")
    assert left == ""


def test_hooks_run_around_a_release(deployer: Deployer) -> None:
    """The one after installing is removed once it succeeded; the failing one before an upgrade stops it."""
    deployer.kubernetes.script(deployer.namespace, stages)
    deployer.tool("helm", "install", "corner", CHART, *WAIT)
    assert deployer.tool("kubectl", "get", "jobs", "-o", "name") == ""
    said = deployer.tool(
        "helm", "upgrade", "corner", CHART, "--set", "replicas=5,approved=false", "--timeout", "30s", code=1
    )
    assert "pre-upgrade hooks failed" in said
    assert replicas(deployer) == (2, 2)
    assert deployer.tool("kubectl", "get", "jobs", "-o", "name") == "job.batch/corner-balance\n"
    deployer.tool("helm", "upgrade", "corner", CHART, "--set", "replicas=3", *WAIT)
    assert replicas(deployer) == (3, 3)


def test_it_stays_in_its_namespace(deployer: Deployer) -> None:
    """The release's own Secrets in another namespace are refused to the deployer, by name."""
    said = deployer.tool("helm", "install", "corner", CHART, "--namespace", "default", code=1)
    assert f"system:serviceaccount:{deployer.namespace}:deployer" in said and "forbidden" in said


def test_an_upgrade_that_does_not_get_ready_is_rolled_back(deployer: Deployer) -> None:
    """--rollback-on-failure waits for pods that never are ready, and restores what ran before."""
    deployer.kubernetes.script(deployer.namespace, stages)
    deployer.tool("helm", "install", "corner", CHART, *WAIT)
    deployer.kubernetes.script(deployer.namespace, lambda pod: (Stage("Pending"),) if broken(pod) else stages(pod))
    deployer.tool(
        "helm", "upgrade", "corner", CHART, "--set", "image=none", "--no-hooks",
        "--rollback-on-failure", "--wait", "--timeout", "3s", code=1,
    )  # fmt: skip
    history = json.loads(deployer.tool("helm", "history", "corner", "-o", "json"))
    assert [each["status"] for each in history] == ["superseded", "failed", "deployed"]
    assert replicas(deployer) == (2, 2)


def broken(pod: Object) -> bool:
    """Of the front only: a StatefulSet would wait for its broken pod after the rollback too, upstream as well."""
    return bool(pod["metadata"]["labels"].get("app") == "front" and pod["spec"]["containers"][0]["image"] == "none")


def replicas(deployer: Deployer) -> tuple[int, int]:
    """Wanted and ready ones of the front."""
    front = json.loads(deployer.tool("kubectl", "get", "deployment", "corner-front", "-o", "json"))
    return front["spec"]["replicas"], front["status"].get("readyReplicas", 0)
