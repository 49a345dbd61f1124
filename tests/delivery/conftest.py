"""A deployer: a ServiceAccount that may edit one namespace and nothing else, and the official tools run as it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pynetes.apis.core import serviceaccounts
from pynetes.apis.rbac import rolebindings
from pynetes.cluster.config import CACHE
from pynetes.machinery.meta import Key, Object
from pynetes.testing.blocking import Kubernetes
from pynetes.testing.plugin import cluster, namespace

__all__ = ["cluster", "namespace"]
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Deployer:
    """Who it is and where it may work."""

    kubernetes: Kubernetes
    namespace: str
    token: str
    kubeconfig: Path
    folder: Path

    def tool(self, name: str, *argv: str, code: int = 0, given: str = "") -> str:
        """Run kubectl or helm; its output, both streams if it was expected to fail."""
        return self.command(found(name), *argv, code=code, given=given)

    def command(self, *argv: str, code: int = 0, given: str = "") -> str:
        """As `tool`, of any command line."""
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HELM_CACHE_HOME": str(self.folder / "helm")}
        done = subprocess.run(argv, env=env, input=given, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + (done.stderr if code else "")


def found(tool: str) -> str:
    """The tool's path; the test is skipped where there is none, since nothing is fetched in tests."""
    cached = CACHE / "bin" / tool
    path = str(cached) if cached.exists() else shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {tool}; `pynetes {tool} version` fetches it")
    return path


@pytest.fixture
def deployer(cluster: Kubernetes, namespace: str, tmp_path: Path) -> Deployer:
    """A ServiceAccount bound to the ClusterRole edit in the test's namespace, with a token as a pipeline has it."""
    token = cluster.run(_account(cluster, namespace))
    admin = yaml.safe_load(cluster.kubeconfig.read_text())
    admin["users"] = [{"name": "deployer", "user": {"token": token}}]
    admin["contexts"][0]["context"] |= {"user": "deployer", "namespace": namespace}
    kubeconfig = tmp_path / "deployer.conf"
    kubeconfig.write_text(yaml.safe_dump(admin))
    return Deployer(cluster, namespace, token, kubeconfig, tmp_path)


async def _account(kubernetes: Kubernetes, namespace: str) -> str:
    client = kubernetes.cluster.client
    await client.create(serviceaccounts.RESOURCE, {"metadata": {"name": "deployer"}}, namespace=namespace)
    binding: Object = {
        "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
    }
    await client.create(rolebindings.RESOURCE, binding, namespace=namespace)
    request: Object = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600},
    }
    answer = await client.create(serviceaccounts.RESOURCE, request, subresource="token", key=Key(namespace, "deployer"))
    return str(answer["status"]["token"])
