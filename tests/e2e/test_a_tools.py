"""Deliverers as pods of a real cluster: a kopf operator, a GitOps loop and a Job, each with its own token only."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.delivery.test_kopf import CRD, GROUP, OPERATOR
from tests.e2e import delivery_image
from tests.e2e.conftest import NAME, SHOP, Cluster

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGE = {"image": delivery_image.NAME, "imagePullPolicy": "Never"}
#: What the operator may do, in its namespace.
RULES = [
    {"apiGroups": [GROUP], "resources": ["stalls", "stalls/status"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["configmaps", "events"], "verbs": ["create"]},
]
#: A Git server: a repository to commit to by exec, served by git's own daemon.
SERVE = """
git init --quiet --initial-branch=main /srv/shop && cd /srv/shop
git config user.name test && git config user.email test@example.com
exec git daemon --reuseaddr --export-all --base-path=/srv /srv
"""
COMMIT = """
import pathlib, subprocess, sys
file = pathlib.Path("/srv/shop/shop/{name}")
file.parent.mkdir(exist_ok=True)
text = sys.stdin.read()
file.write_text(text) if text else file.unlink()
for argv in (["add", "--all"], ["commit", "--quiet", "--message=change"]):
    subprocess.run(["git", "-C", "/srv/shop", *argv], check=True)
"""


class Place:
    """A namespace of the cluster."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        cluster.run("create", "namespace", namespace)

    def run(self, *argv: str, text: str | None = None, check: bool = True) -> str:
        """kubectl in it."""
        return self.cluster.run("--namespace", self.namespace, *argv, text=text, check=check)

    def apply(self, *documents: Any) -> None:
        """Objects of this namespace."""
        text = yaml.safe_dump_all([here(document, self.namespace) for document in documents])
        self.run("apply", "--server-side", "-f", "-", text=text)

    def get(self, what: str, path: str) -> str:
        """A field of an object; empty without the object."""
        return self.run("get", what, "--ignore-not-found", "-o", f"jsonpath={{{path}}}")

    def until(self, what: str, path: str, holds: Callable[[str], bool]) -> None:
        """Wait until it holds of a field."""
        deadline = time.monotonic() + 90
        while not holds(found := self.get(what, path)):
            assert time.monotonic() < deadline, f"{what} {path}: {found}\n{self.run('get', 'pods,events')}"
            time.sleep(0.3)


def here(document: Any, namespace: str) -> Any:
    """A manifest's object, moved to a namespace."""
    for subject in document.get("subjects", ()):
        subject["namespace"] = namespace
    return document | {"metadata": document["metadata"] | {"namespace": namespace}}


def example(path: str) -> Iterator[Any]:
    """The objects of an example's manifest."""
    yield from yaml.safe_load_all((EXAMPLES / path).read_text())


@pytest.fixture(scope="module")
def tools(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with the image; the places are removed afterwards."""
    pytest.importorskip("kopf")
    delivery_image.bring(NAME)
    yield cluster
    cluster.run("delete", "namespace", "stalls", "gitops", "deploy", "--ignore-not-found", "--wait=false")


def test_an_operator_of_kopf_in_a_pod(tools: Cluster) -> None:
    """It opens, resizes, counts by a timer, and holds what is deleted until it has said farewell."""
    tools.run(
        "apply",
        "-f",
        "-",
        text=json.dumps({**CRD, "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}),
    )
    place = Place(tools, "stalls")
    command = ["python3", "-m", "kopf", "run", "/operator/operator.py", "--standalone", "--namespace=stalls"]
    place.apply(
        *account("operator", RULES),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "operator"},
            "data": {"operator.py": OPERATOR.read_text()},
        },
        deployment("operator", command, "/operator"),
    )
    tools.run("wait", "--for=condition=Established", f"crd/stalls.{GROUP}", "--timeout=30s")
    stall = {"apiVersion": f"{GROUP}/v1", "kind": "Stall", "metadata": {"name": "fruit"}, "spec": {"copies": 1}}
    place.apply(stall)
    place.until("deployment/fruit", ".status.readyReplicas", lambda found: found == "1")
    place.until("stall/fruit", ".status.ticks", lambda found: int(found or 0) > 2)
    assert place.get("stall/fruit", ".metadata.finalizers[*]") == f"{GROUP}/farewell"
    place.apply(stall | {"spec": {"copies": 2}})
    place.until("deployment/fruit", ".status.readyReplicas", lambda found: found == "2")
    place.run("delete", "stall", "fruit", "--timeout=60s")
    assert place.get("configmap/fruit-was-here", ".metadata.name") == "fruit-was-here"
    place.until("deployment/fruit", ".metadata.name", lambda found: not found)


def account(name: str, rules: list[Any]) -> list[Any]:
    """A ServiceAccount with rights in its namespace."""
    rbac = "rbac.authorization.k8s.io"
    metadata = {"name": name}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        },
    ]


def deployment(name: str, command: list[str], mounted: str) -> Any:
    """One pod with the deliverers' image, and the ConfigMap of its name mounted."""
    container = {"name": name, "command": command, "volumeMounts": [{"name": "code", "mountPath": mounted}], **IMAGE}
    spec = {
        "serviceAccountName": name,
        "containers": [container],
        "volumes": [{"name": "code", "configMap": {"name": name}}],
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def test_a_namespace_follows_a_repository(tools: Cluster) -> None:
    """examples/gitops in a pod: the shop is applied, drift taken back, and what left the repository pruned."""
    place = Place(tools, "gitops")
    server = {
        "name": "git",
        "command": ["sh", "-c", SERVE],
        **IMAGE,
        "volumeMounts": [{"name": "srv", "mountPath": "/srv"}],
    }
    pod = {"containers": [server], "volumes": [{"name": "srv", "emptyDir": {}}], "automountServiceAccountToken": False}
    place.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "git", "labels": {"app": "git"}}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "git"},
            "spec": {"selector": {"app": "git"}, "ports": [{"port": 9418}]},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "gitops"},
            "data": {"sync.py": (EXAMPLES / "gitops/sync.py").read_text()},
        },
    )
    place.run("wait", "--for=condition=Ready", "pod/git", "--timeout=90s")

    def commit(name: str, text: str) -> None:
        place.run("exec", "-i", "git", "--", "python3", "-c", COMMIT.format(name=name), text=text)

    for file in sorted(SHOP.glob("*.yaml")):
        commit(
            file.name,
            file.read_text().replace("namespace: shop", "namespace: gitops").replace("name: shop\n", "name: gitops\n"),
        )
    place.apply(*map(in_the_pod, example("gitops/controller.yaml")))
    place.until("deployment/front", ".status.readyReplicas", lambda found: found == "3")
    place.run("scale", "deployment/front", "--replicas=1")
    place.until("deployment/front", ".spec.replicas", lambda found: found == "3")
    commit("40-jobs.yaml", "")
    place.until("cronjob/sweep", ".metadata.name", lambda found: not found)
    assert place.get("deployment/front", ".metadata.name") == "front"


def in_the_pod(document: Any) -> Any:
    """The controller's manifest with the image, the repository and the code that there are here."""
    if document["kind"] == "Deployment":
        spec = document["spec"]["template"]["spec"]
        args = ["--repo=git://git/shop", "--path=shop", "--namespace=$(NAMESPACE)", "--interval=1"]
        spec["containers"][0] |= IMAGE | {"command": ["python3", "/code/sync.py"], "args": args}
        spec["containers"][0]["volumeMounts"].append({"name": "code", "mountPath": "/code"})
        spec["volumes"].append({"name": "code", "configMap": {"name": "gitops"}})
    return document


def test_a_job_deploys_with_its_pods_token(tools: Cluster) -> None:
    """examples/deploy-job, with the image and the server that there are here."""
    place = Place(tools, "deploy")
    documents = list(example("deploy-job/job.yaml"))
    documents[-1]["spec"]["template"]["spec"]["containers"][0] |= IMAGE
    place.apply(*documents)
    place.run("wait", "--for=condition=Complete", "job/deploy", "--timeout=90s")
    assert place.get("deployment/web", ".metadata.managedFields[0].manager") == "deploy-job"
    assert "deployed " + place.get("deployment/web", ".metadata.uid") in place.run("logs", "job/deploy")
