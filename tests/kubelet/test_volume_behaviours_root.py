"""What containers see of emptyDir, configMap, secret, projected and downwardAPI volumes: behaviours of sig-storage.

All pods run beside each other on one kubelet; each prints what the behaviour is about, and the log is compared.
"""

import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import pods
from pynetes.cluster.containerd import Containerd
from pynetes.machinery.meta import Key, Object
from tests.kubelet import rig as rigs
from tests.kubelet.rig import Rig, pod

pytestmark = pytest.mark.root
SHOW = "stat -L -c '%a %u %g' {0}; cat {0}"


def config_map(name: str = "conf", **data: str) -> Object:
    """A ConfigMap with text and one binary value."""
    binary = {"raw": base64.b64encode(b"\x01\x02").decode()}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "binaryData": binary}


def secret(**data: str) -> Object:
    """A Secret."""
    metadata = {"name": "hidden", "namespace": "default"}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def reads(name: str, script: str, source: Object, *, mount: Object | None = None, **spec: Any) -> Object:
    """A pod that mounts a source at /v, runs a script once and ends."""
    container: Object = {
        "volumeMounts": [{"name": "v", "mountPath": "/v", **(mount or {})}],
        **spec.pop("container", {}),
    }
    return pod(name, script, volumes=[{"name": "v", **source}], container=container, restartPolicy="Never", **spec)


def projected(*sources: Object, **more: Any) -> Object:
    """A projected volume."""
    return {"projected": {"sources": list(sources), **more}}


ITEMS = [{"key": "a", "path": "deep/one"}, {"key": "b", "path": "two", "mode": 0o400}]
NOBODY = {"runAsUser": 1000, "fsGroup": 1001}
LABELS = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
NAME = {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400}]}
CPU = {"items": [{"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}
LIMITS = {"resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}

#: Name → the pod, and what its log has to say.
CASES: dict[str, tuple[Object, str]] = {
    "empty-default": (reads("empty-default", "stat -c %a /v; touch /v/x; ls /v", {"emptyDir": {}}), "777\nx"),
    "empty-memory": (
        reads("empty-memory", "stat -f -c %T /v; stat -c %a /v", {"emptyDir": {"medium": "Memory"}}),
        "tmpfs\n777",
    ),
    "empty-nonroot": (
        reads("empty-nonroot", "echo hi > /v/x; chmod 644 /v/x; stat -c '%a %g' /v/x", {"emptyDir": {}},
              securityContext=NOBODY),
        "644 1001",
    ),
    "config-plain": (reads("config-plain", SHOW.format("/v/a"), {"configMap": {"name": "conf"}}), "644 0 0\nalpha"),
    "config-binary": (reads("config-binary", "od -An -tx1 /v/raw", {"configMap": {"name": "conf"}}), " 01 02"),
    "config-mode": (
        reads("config-mode", SHOW.format("/v/a"), {"configMap": {"name": "conf", "defaultMode": 0o400}}),
        "400 0 0\nalpha",
    ),
    "config-items": (
        reads("config-items", "cat /v/deep/one; stat -L -c ' %a' /v/two; ls /v",
              {"configMap": {"name": "conf", "items": ITEMS}}),
        "alpha 400\ndeep\ntwo",
    ),
    "config-nonroot": (
        reads("config-nonroot", SHOW.format("/v/a"), {"configMap": {"name": "conf"}}, securityContext=NOBODY),
        "644 0 1001\nalpha",
    ),
    "config-optional": (
        reads("config-optional", "ls /v | wc -l", {"configMap": {"name": "absent", "optional": True}}), "0"
    ),
    "secret-plain": (
        reads("secret-plain", SHOW.format("/v/k"), {"secret": {"secretName": "hidden"}}), "644 0 0\ns3cret"
    ),
    "secret-group": (
        reads("secret-group", SHOW.format("/v/k"), {"secret": {"secretName": "hidden", "defaultMode": 0o440}},
              securityContext=NOBODY),
        "440 0 1001\ns3cret",
    ),
    "projected-all": (
        reads("projected-all", "cat /v/a /v/k /v/name",
              projected({"configMap": {"name": "conf"}}, {"secret": {"name": "hidden"}}, {"downwardAPI": NAME})),
        "alphas3cretprojected-all",
    ),
    "projected-mode": (
        reads("projected-mode", SHOW.format("/v/a"), projected({"configMap": {"name": "conf"}}, defaultMode=0o400)),
        "400 0 0\nalpha",
    ),
    "projected-mapped": (
        reads("projected-mapped", "cat /v/new/place",
              projected({"secret": {"name": "hidden", "items": [{"key": "k", "path": "new/place"}]}})),
        "s3cret",
    ),
    "downward-name": (reads("downward-name", SHOW.format("/v/name"), {"downwardAPI": NAME}), "400 0 0\ndownward-name"),
    "downward-cpu": (reads("downward-cpu", "cat /v/cpu", {"downwardAPI": CPU}, container=LIMITS), "2"),
    "subpath-config": (
        reads("subpath-config", "cat /v", {"configMap": {"name": "conf"}}, mount={"subPath": "a"}), "alpha"
    ),
    "subpath-expr": (
        reads("subpath-expr", "touch /v/x; ls /v", {"emptyDir": {}}, mount={"subPathExpr": "$(WHO)"},
              container={"env": [{"name": "WHO", "value": "me"}]}),
        "x",
    ),
}  # fmt: skip


@pytest.fixture
async def rig(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Rig]:
    """A kubelet with a ConfigMap and a Secret to show."""
    async with rigs.running(containerd.endpoint, tmp_path / "root", cgroup_root="/pynetes-kubelet-test") as made:
        made.api.put(config_map(a="alpha", b="beta"))
        made.api.put(secret(k="s3cret"))
        yield made
        for obj in made.api.listed(pods.RESOURCE):
            made.api.remove(obj)
        await made.until(lambda: not made.kubelet.workers)


async def test_volumes_show_what_they_should(rig: Rig) -> None:
    """Contents, modes, owners and paths of every kind."""
    for obj, _ in CASES.values():
        rig.api.put(obj)
    for name, (_, wanted) in CASES.items():
        await rig.until(_ended(rig, name))
        assert (name, rig.log(name).rstrip("\n")) == (name, wanted)


async def test_changes_reach_running_containers(rig: Rig) -> None:
    """A changed ConfigMap, a new key, a removed one, a changed Secret and changed labels show in the files."""
    script = "while true; do sleep 0.1; done"
    sources = projected(
        {"configMap": {"name": "conf"}},
        {"secret": {"name": "hidden"}},
        {"downwardAPI": LABELS},
    )
    obj = reads("follows", script, sources, metadata={"labels": {"version": "1"}})
    await rig.started({**obj, "spec": {**obj["spec"], "restartPolicy": "Always"}})
    rig.api.put(config_map(a="changed", c="new"))
    rig.api.put(secret(k="other"))
    found = rig.api.get(pods.RESOURCE, Key("default", "follows")) or {}
    rig.api.put({**found, "metadata": {**found["metadata"], "labels": {"version": "2"}}})
    shown = ""
    for _ in range(100):
        shown = await rig.exec("follows", "sh", "-c", "cat /v/a /v/c /v/k /v/labels; ls /v")
        if shown.startswith('changednewotherversion="2"'):
            break
    assert shown.startswith('changednewotherversion="2"')
    assert "b" not in shown.split("\n")[-7:]


def _ended(rig: Rig, name: str) -> Callable[[], bool]:
    return lambda: rig.status(name).get("phase") in ("Succeeded", "Failed")
