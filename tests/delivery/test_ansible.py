"""Ansible's kubernetes.core delivers examples/shop with the rights of one namespace."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.delivery.conftest import EXAMPLES, Deployer

pytestmark = pytest.mark.slow
FILES = ("10-config.yaml", "20-front.yaml", "30-stock.yaml", "40-jobs.yaml")


def _collection() -> bool:
    return bool(importlib.util.find_spec("ansible_collections") and importlib.util.find_spec("ansible"))


def played(deployer: Deployer, *tasks: dict[str, Any], code: int = 0) -> dict[str, Any]:
    """Run tasks in a play; what ansible tells of it as JSON."""
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}]
    file = deployer.folder / "play.yaml"
    file.write_text(yaml.safe_dump(play))
    env = {
        **os.environ,
        "K8S_AUTH_KUBECONFIG": str(deployer.kubeconfig),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_LOCAL_TEMP": str(deployer.folder),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LC_ALL": "C.UTF-8",
    }
    argv = [sys.executable, "-m", "ansible", "playbook", str(file)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


def documents(namespace: str) -> list[dict[str, Any]]:
    """The shop's objects, for the deployer's namespace."""
    texts = [Path(EXAMPLES, "shop", name).read_text() for name in FILES]
    found = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return [{**each, "metadata": {**each["metadata"], "namespace": namespace}} for each in found]


@pytest.mark.skipif(not _collection(), reason="needs ansible-core and the collection kubernetes.core")
def test_a_play_applies_the_shop_and_nothing_twice(deployer: Deployer) -> None:
    """The first task changes, the second does not, the third sees it ready; a foreign namespace is forbidden."""
    module = "kubernetes.core.k8s"
    task = {module: {"state": "present", "definition": documents(deployer.namespace)}}
    wait = {"kubernetes.core.k8s_info": {"kind": "Deployment", "name": "front", "namespace": deployer.namespace,
            "wait": True, "wait_timeout": 60}}  # fmt: skip
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "kube-system"}}
    refused = {module: {"state": "present", "definition": foreign}}
    first, again, ready, last = results(played(deployer, task, task, wait, refused, code=2))
    assert first["changed"]
    assert not again["changed"]
    assert ready["resources"][0]["status"]["readyReplicas"] == 3
    assert "forbidden" in json.dumps(last)


def results(said: dict[str, Any]) -> list[dict[str, Any]]:
    """What each task answered."""
    return [task["hosts"]["localhost"] for play in said["plays"] for task in play["tasks"]]
