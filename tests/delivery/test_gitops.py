"""examples/gitops: a namespace follows a real Git repository, by the token of an account of one namespace."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.delivery.conftest import EXAMPLES, Deployer

SYNC = EXAMPLES / "gitops" / "sync.py"


class Repository:
    """A Git repository with manifests in shop/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop").mkdir(parents=True)
        self.git("init", "--quiet")

    def git(self, *argv: str) -> None:
        """Run git in it, whatever the user's own settings are."""
        who = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(self.folder), *who, *argv], check=True, capture_output=True, timeout=30)

    def commit(self, **texts: str | None) -> None:
        """Write ConfigMaps by their names, or remove them."""
        for name, text in texts.items():
            file = self.folder / "shop" / f"{name}.yaml"
            if text is None:
                file.unlink()
                continue
            document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}
            file.write_text(json.dumps(document))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=change")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def synced(deployer: Deployer, repository: Repository, *, code: int = 0, namespace: str = "") -> str:
    """One round, in a process of its own."""
    return deployer.command(
        sys.executable, str(SYNC), "--once", "--repo", str(repository.folder), "--path", "shop",
        "--namespace", namespace or deployer.namespace, code=code,
    )  # fmt: skip


def names(deployer: Deployer) -> set[str]:
    found = deployer.kubernetes.list("configmaps", namespace=deployer.namespace)
    return {item["metadata"]["name"] for item in found}


def text(deployer: Deployer, name: str) -> str:
    found = deployer.kubernetes.get("configmaps", name, namespace=deployer.namespace)
    assert found is not None
    return str(found["data"]["text"])


def test_the_namespace_follows_the_repository(deployer: Deployer, repository: Repository) -> None:
    """A commit is applied, a removed file's object pruned, what others made stays, and nothing new changes nothing."""
    own = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}, "data": {"text": "kept"}}
    deployer.kubernetes.apply(own, namespace=deployer.namespace)
    repository.commit(one="1", two="2")
    assert "applied ConfigMap/one" in synced(deployer, repository)
    assert {"one", "two", "own"} <= names(deployer)
    assert synced(deployer, repository) == ""
    repository.commit(one="changed", two=None)
    assert "pruned ConfigMap/two" in synced(deployer, repository)
    assert text(deployer, "one") == "changed"
    assert {"one", "own"} <= names(deployer)
    assert "two" not in names(deployer)


def test_drift_is_corrected(deployer: Deployer, repository: Repository) -> None:
    """A field that is in Git goes back to what Git has, whoever changed it."""
    repository.commit(one="1")
    synced(deployer, repository)
    edited = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"text": "by hand"}}
    deployer.kubernetes.apply(edited, namespace=deployer.namespace)
    assert text(deployer, "one") == "by hand"
    assert "applied ConfigMap/one" in synced(deployer, repository)
    assert text(deployer, "one") == "1"


def test_a_failed_round_prunes_nothing(deployer: Deployer, repository: Repository) -> None:
    """A file that cannot be read is told, and no object is taken for removed."""
    repository.commit(one="1", two="2")
    synced(deployer, repository)
    (repository.folder / "shop" / "bad.yaml").write_text("{")
    repository.commit(two=None)
    assert "bad.yaml" in synced(deployer, repository, code=1)
    assert "two" in names(deployer)


def test_another_namespace_is_refused(deployer: Deployer, repository: Repository) -> None:
    """The account's rights end at its namespace."""
    repository.commit(one="1")
    assert "403" in synced(deployer, repository, code=1, namespace="default")
    assert deployer.kubernetes.get("configmaps", "one") is None
