"""Deliverers with a pod's own token: the rights in the examples' manifests suffice, and end at their namespace.

The commands run as processes, with the files a pod has mounted in a folder and a token of the manifest's account.
"""

import base64
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from pynetes.apis.core import serviceaccounts
from pynetes.machinery.meta import Key, Object
from pynetes.testing.blocking import Kubernetes
from tests.delivery.conftest import EXAMPLES, Deployer
from tests.delivery.test_gitops import Repository, names, synced

RIGHTS = ("ServiceAccount", "Role", "RoleBinding")


def applied(kubernetes: Kubernetes, file: Path, namespace: str) -> tuple[str, Object]:
    """Apply a manifest in a namespace: a token of its account, and what is in the file besides account and rights."""
    documents = list(yaml.safe_load_all(file.read_text()))
    (account,) = (item["metadata"]["name"] for item in documents if item["kind"] == "ServiceAccount")
    for document in documents:
        for subject in document.get("subjects", ()):
            subject["namespace"] = namespace
        kubernetes.apply(document, namespace=namespace)
    (rest,) = (item for item in documents if item["kind"] not in RIGHTS)
    request: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    client = kubernetes.cluster.client
    answer = kubernetes.run(
        client.create(serviceaccounts.RESOURCE, request, subresource="token", key=Key(namespace, account))
    )
    return str(answer["status"]["token"]), rest


def test_a_job_deploys_with_its_own_token(deployer: Deployer) -> None:
    """The Job of examples/deploy-job makes its Deployment, and may not in another namespace."""
    kubernetes = deployer.kubernetes
    token, job = applied(kubernetes, EXAMPLES / "deploy-job" / "job.yaml", deployer.namespace)
    cluster = yaml.safe_load(kubernetes.kubeconfig.read_text())["clusters"][0]["cluster"]
    mounted = deployer.folder / "account"
    mounted.mkdir()
    (mounted / "token").write_text(token)
    (mounted / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    (mounted / "namespace").write_text(deployer.namespace)
    server = urlsplit(cluster["server"])
    env = {
        **os.environ,
        "ACCOUNT": str(mounted),
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
    }
    command = [sys.executable, *job["spec"]["template"]["spec"]["containers"][0]["command"][1:]]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert kubernetes.get("deployments", "web", namespace=deployer.namespace) is not None
    (mounted / "namespace").write_text("default")
    refused = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert "403" in refused.stderr


def test_the_gitops_role_suffices(deployer: Deployer) -> None:
    """The Role beside sync.py is enough to apply all of examples/shop, and to prune."""
    token, _ = applied(deployer.kubernetes, EXAMPLES / "gitops" / "controller.yaml", deployer.namespace)
    config = yaml.safe_load(deployer.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig = deployer.folder / "gitops.conf"
    kubeconfig.write_text(yaml.safe_dump(config))
    controller = replace(deployer, kubeconfig=kubeconfig)
    repository = Repository(deployer.folder / "repository")
    for file in sorted((EXAMPLES / "shop").glob("*.yaml")):
        documents = list(yaml.safe_load_all(file.read_text()))
        for document in documents:
            place = "name" if document["kind"] == "Namespace" else "namespace"
            document["metadata"][place] = deployer.namespace
        (repository.folder / "shop" / file.name).write_text(yaml.safe_dump_all(documents))
    repository.commit(one="1", two="2")
    assert "applied StatefulSet/" in synced(controller, repository)
    repository.commit(two=None)
    assert "pruned ConfigMap/two" in synced(controller, repository)
    assert "one" in names(deployer)
