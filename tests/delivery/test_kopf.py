"""A real operator of kopf: custom resource, finalizer, field handler, timer, events, owned objects."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.rbac import clusterroles
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from pynetes.testing.blocking import Kubernetes
from tests.delivery.conftest import Deployer

pytest.importorskip("kopf")
OPERATOR = Path(__file__).with_name("operator_kopf.py")
GROUP = "shop.example.com"
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["copies"],
            "properties": {"copies": {"type": "integer", "minimum": 0, "maximum": 5}},
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
CRD: Object = {
    "metadata": {"name": f"stalls.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "stalls", "singular": "stall", "kind": "Stall", "shortNames": ["st"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Copies", "type": "integer", "jsonPath": ".spec.copies"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            }
        ],
    },
}
#: What the operator may do beyond `edit`, in its namespace; aggregated into that role as add-ons do.
ROLE: Object = {
    "metadata": {
        "name": "stalls-edit",
        "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"},
    },
    "rules": [
        {"apiGroups": [GROUP], "resources": ["stalls", "stalls/status"], "verbs": ["*"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ],
}


@pytest.fixture
def operator(deployer: Deployer, cluster: Kubernetes) -> Iterator[Deployer]:
    """The operator in a process of its own, with the deployer's token."""
    cluster.run(_prepare(cluster))
    eventually(lambda: deployer.tool("kubectl", "api-resources", f"--api-group={GROUP}", "-o", "name") != "")
    command = [sys.executable, "-m", "kopf", "run", str(OPERATOR), "--standalone", "-n", deployer.namespace]
    log = (deployer.folder / "operator.log").open("w")
    process = subprocess.Popen(
        command, env={"KUBECONFIG": str(deployer.kubeconfig), "PATH": ""}, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        yield deployer
    finally:
        process.terminate()
        process.wait(60)
        print((deployer.folder / "operator.log").read_text()[-6000:])


async def _prepare(kubernetes: Kubernetes) -> None:
    client = kubernetes.cluster.client
    for resource, obj in ((customresourcedefinitions.RESOURCE, CRD), (clusterroles.RESOURCE, ROLE)):
        try:
            await client.create(resource, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise


def eventually(holds: Callable[[], object], *, within: float = 90.0) -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


@pytest.mark.slow
def test_an_operator_lives(operator: Deployer) -> None:
    """From the first Stall to the farewell: each handler is called once, and the owned Deployment goes too."""

    def stall(namespaced: str = "stall/fruit") -> Object:
        found: Object = json.loads(operator.tool("kubectl", "get", namespaced, "-o", "json"))
        return found

    def deployments() -> list[Object]:
        return list(json.loads(operator.tool("kubectl", "get", "deployments", "-o", "json"))["items"])

    manifest = {"apiVersion": f"{GROUP}/v1", "kind": "Stall", "metadata": {"name": "fruit"}, "spec": {"copies": 9}}
    said = operator.tool("kubectl", "apply", "-f", "-", given=json.dumps(manifest), code=1)
    assert "spec.copies: Invalid value: 9: spec.copies in body should be less than or equal to 5" in said
    manifest["spec"] = {"copies": 2}
    operator.tool("kubectl", "apply", "-f", "-", given=json.dumps(manifest))
    eventually(lambda: [each["status"].get("readyReplicas") for each in deployments()] == [2])
    assert deployments()[0]["metadata"]["ownerReferences"][0]["kind"] == "Stall"
    eventually(lambda: stall().get("status", {}).get("opened") == {"deployment": "fruit"})
    assert stall()["metadata"]["finalizers"] == [f"{GROUP}/farewell"]
    operator.tool("kubectl", "patch", "stall", "fruit", "--type=merge", "-p", '{"spec":{"copies":3}}')
    eventually(lambda: [each["status"].get("readyReplicas") for each in deployments()] == [3])
    eventually(lambda: stall()["status"].get("ticks", 0) > 3)
    assert "fruit" in operator.tool("kubectl", "get", "st") and "COPIES" in operator.tool("kubectl", "get", "st")
    # As after a farewell whose success could not be written down: it is said again, and the note is there already.
    operator.tool("kubectl", "create", "configmap", "fruit-was-here")
    operator.tool("kubectl", "delete", "stall", "fruit", "--timeout=50s")
    operator.tool("kubectl", "get", "configmap", "fruit-was-here")
    eventually(lambda: not deployments())
    eventually(lambda: "Handler 'opened' succeeded." in operator.tool("kubectl", "get", "events"))
