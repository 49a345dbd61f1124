"""What containers see of emptyDir, configMap, secret, projected and downwardAPI volumes, mounted whole or by subPath.

Two pods, one of root's and one of a user with an fsGroup, mount everything at once, each case at a path of its own; the
container writes what it sees, and each case's lines are compared. What changes in the API later has a pod of its own.

Which test shows which promise of these volumes (rows of `CASES` by their names; files are tests/…):

| Promise | Shown by |
|---|---|
| files of a ConfigMap: contents, text and binary, mode 0644 | config-plain, config-binary |
| … with another default mode, mapped to paths, with a mode of one item | config-mode, config-items |
| … mapped, read by a user who is not root | user-config, user-config-items |
| … the same one in several volumes of a pod | config-plain beside config-items, one pod |
| … created, changed and deleted while the pod runs | test_changes_reach_running_containers |
| immutable ConfigMaps and Secrets | apiserver/test_storage_behaviours.py, test_immutable_data |
| files of a Secret: contents, mode 0644, mapped, several volumes | secret-plain, secret-items |
| … mode 0440 with fsGroup for a user | user-secret-group |
| … only of the pod's own namespace | secret-plain (another namespace has one of that name) |
| … created, changed and deleted while the pod runs | test_changes_reach_running_containers |
| Secret and ConfigMap beside each other in one pod | all cases |
| projected ConfigMap: default mode, 0400, mapped, for a user, twice | projected-config, -mode, -items, user-projected |
| projected Secret: default mode, 0400, mapped, with a mode, fsGroup for a user | projected-secret… |
| projected downward API: name, limits, requests, allocatable, 0400 | projected-downward, projected-allocatable |
| several projections in one volume | projected-all |
| changes of projected ConfigMaps, Secrets, labels and annotations | test_changes_reach_running_containers |
| downward API: name, file and volume mode 0400, limits of CPU and memory | downward-name, -mode, -limits |
| … limits that are not set are the node's allocatable | downward-allocatable |
| … changed labels and annotations | test_changes_reach_running_containers |
| emptyDir on disk: mode 0777, files of 0644, 0666, 0777, for root and a user | empty-disk, user-empty-disk |
| emptyDir in memory: tmpfs, the same modes | empty-memory, user-empty-memory |
| emptyDir shared by containers | empty-shared |
| subPath of ConfigMap, Secret, downward API, projected; mounted as a file | subpath-… |
| StorageClass, CSIDriver, VolumeAttachment, CSIStorageCapacity live | apiserver/test_storage_behaviours.py, test_life |
| CSIStorageCapacity in discovery | apiserver/test_storage_behaviours.py, test_capacities_are_discovered |
| status of VolumeAttachment, PersistentVolume and claim | …, test_attachment_status, test_volume_and_claim_status |
| pods with inline CSI volumes | …, test_pods_with_inline_volumes; kubelet/test_csi_node.py, test_inline_volume… |
"""

import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pynetes.apis.core import nodes, pods
from pynetes.cluster.containerd import Containerd
from pynetes.machinery.meta import Key, Object
from tests.kubelet import rig as rigs
from tests.kubelet.rig import IMAGE, Rig, pod

pytestmark = pytest.mark.root

USER = {"runAsUser": 1000, "fsGroup": 1001}
LIMITS = {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}}
ITEMS = [{"key": "a", "path": "deep/one"}, {"key": "b", "path": "two", "mode": 0o400}]
KEYS = [{"key": "k", "path": "new/place"}]
NAME = {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
#: Modes as the container's user sees and sets them, and the volume's own.
MODES = "umask 0; for m in 644 666 777; do echo hi > $m; chmod $m $m; stat -c %a $m; done; cat 644; stat -c %a ."


def show(name: str) -> str:
    """Prints mode, owner, group and contents of a file."""
    return f"stat -L -c '%a %u %g' {name}; cat {name}; echo"


def config_map(name: str = "conf", **data: str) -> Object:
    """A ConfigMap with text and one binary value."""
    binary = {"raw": base64.b64encode(b"\x01\x02").decode()}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "binaryData": binary}


def secret(name: str = "hidden", namespace: str = "default", **data: str) -> Object:
    """A Secret."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def configured(**more: object) -> Object:
    """A volume of the ConfigMap."""
    return {"configMap": {"name": "conf", **more}}


def hidden(**more: object) -> Object:
    """A volume of the Secret."""
    return {"secret": {"secretName": "hidden", **more}}


def projected(*sources: Object, **more: object) -> Object:
    """A projected volume."""
    return {"projected": {"sources": list(sources), **more}}


def downward(*items: Object) -> Object:
    """A downward API volume, or a projection of one."""
    return {"downwardAPI": {"items": list(items)}}


def resource(name: str, container: str = "c", divisor: str = "1") -> Object:
    """An item with a container's resource."""
    reference = {"containerName": container, "resource": name, "divisor": divisor}
    return {"path": name, "resourceFieldRef": reference}


class Case(NamedTuple):
    """A volume, what is run in it (or with `mount`, on $V), and what that shows; functions are asked of the node."""

    source: Object
    script: str
    shows: str | Callable[[Object], str]
    mount: Object | None = None


def allocatable(node: Object) -> str:
    """What a container without limits is told."""
    found = node["status"]["allocatable"]
    assert found["memory"].endswith("Ki")
    return f"{found['cpu']}\n{int(found['memory'][:-2]) * 1024}"


PROJECTED_SECRET = {"secret": {"name": "hidden"}}
ROOT = {
    "empty-disk": Case({"emptyDir": {}}, MODES, "644\n666\n777\nhi\n777"),
    "empty-memory": Case(
        {"emptyDir": {"medium": "Memory"}}, f"{MODES}; stat -f -c %T .", "644\n666\n777\nhi\n777\ntmpfs"
    ),
    "empty-shared": Case({"emptyDir": {}}, "until [ -e said ]; do sleep 0.05; done; cat said", "from d"),
    "config-plain": Case(configured(), show("a"), "644 0 0\nalpha"),
    "config-binary": Case(configured(), "od -An -tx1 raw", " 01 02"),
    "config-mode": Case(configured(defaultMode=0o400), show("a"), "400 0 0\nalpha"),
    "config-items": Case(
        configured(items=ITEMS), "ls; cat deep/one; stat -L -c ' %a' two deep/one", "deep\ntwo\nalpha 400\n 644"
    ),
    "config-optional": Case({"configMap": {"name": "absent", "optional": True}}, "ls | wc -l", "0"),
    "secret-plain": Case(hidden(), show("k"), "644 0 0\ns3cret"),
    "secret-items": Case(hidden(items=KEYS), show("new/place"), "644 0 0\ns3cret"),
    "projected-config": Case(projected(configured()), show("a"), "644 0 0\nalpha"),
    "projected-config-mode": Case(projected(configured(), defaultMode=0o400), show("a"), "400 0 0\nalpha"),
    "projected-config-items": Case(
        projected(configured(items=ITEMS)), "cat deep/one; stat -L -c ' %a' two", "alpha 400"
    ),
    "projected-secret": Case(projected(PROJECTED_SECRET), show("k"), "644 0 0\ns3cret"),
    "projected-secret-mode": Case(projected(PROJECTED_SECRET, defaultMode=0o400), show("k"), "400 0 0\ns3cret"),
    "projected-secret-items": Case(
        projected({"secret": {"name": "hidden", "items": KEYS}}), show("new/place"), "644 0 0\ns3cret"
    ),
    "projected-secret-item-mode": Case(
        projected({"secret": {"name": "hidden", "items": [{**KEYS[0], "mode": 0o400}]}}),
        show("new/place"),
        "400 0 0\ns3cret",
    ),
    "projected-downward": Case(
        projected(downward({**NAME, "mode": 0o400}, resource("limits.cpu"), resource("requests.memory"))),
        f"{show('name')}; cat limits.cpu; echo; cat requests.memory",
        "400 0 0\nroot\n2\n33554432",
    ),
    "projected-downward-mode": Case(projected(downward(NAME), defaultMode=0o400), show("name"), "400 0 0\nroot"),
    "projected-allocatable": Case(
        projected(downward(resource("limits.cpu", "d"), resource("limits.memory", "d"))),
        "cat limits.cpu; echo; cat limits.memory",
        allocatable,
    ),
    "projected-all": Case(
        projected(configured(), PROJECTED_SECRET, downward(NAME, resource("limits.memory", divisor="1Mi"))),
        "cat a k name limits.memory",
        "alphas3cretroot64",
    ),
    "downward-name": Case(downward(NAME), show("name"), "644 0 0\nroot"),
    "downward-file-mode": Case(downward({**NAME, "mode": 0o400}), show("name"), "400 0 0\nroot"),
    "downward-mode": Case(
        {"downwardAPI": {"items": [NAME], "defaultMode": 0o400}}, show("name"), "400 0 0\nroot"
    ),
    "downward-limits": Case(
        downward(resource("limits.cpu", divisor="1m"), resource("limits.memory")),
        "cat limits.cpu; echo; cat limits.memory",
        "1500\n67108864",
    ),
    "downward-allocatable": Case(
        downward(resource("limits.cpu", "d"), resource("limits.memory", "d")),
        "cat limits.cpu; echo; cat limits.memory",
        allocatable,
    ),
    "subpath-config-folder": Case(configured(items=ITEMS), "cat one", "alpha", {"subPath": "deep"}),
    "subpath-config-file": Case(configured(), "cat $V", "alpha", {"subPath": "a", "mountPath": "/v/file.conf"}),
    "subpath-secret": Case(hidden(), "cat $V", "s3cret", {"subPath": "k"}),
    "subpath-downward": Case(downward(NAME), "cat $V", "root", {"subPath": "name"}),
    "subpath-projected": Case(projected(configured()), "cat $V", "alpha", {"subPath": "a"}),
    "subpath-expr": Case({"emptyDir": {}}, "ls; touch x; ls", "x", {"subPathExpr": "$(WHO)"}),
}  # fmt: skip
AS_USER = {
    "user-empty-disk": Case({"emptyDir": {}}, f"{MODES}; stat -c %g 644", "644\n666\n777\nhi\n2777\n1001"),
    "user-empty-memory": Case(
        {"emptyDir": {"medium": "Memory"}}, f"{MODES}; stat -f -c %T .", "644\n666\n777\nhi\n2777\ntmpfs"
    ),
    "user-config": Case(configured(), show("a"), "644 0 1001\nalpha"),
    "user-config-items": Case(configured(items=ITEMS), show("deep/one"), "644 0 1001\nalpha"),
    "user-secret-group": Case(hidden(defaultMode=0o440), show("k"), "440 0 1001\ns3cret"),
    "user-projected": Case(projected(configured(items=ITEMS)), show("deep/one"), "644 0 1001\nalpha"),
    "user-projected-secret": Case(
        projected(PROJECTED_SECRET, defaultMode=0o440), show("k"), "440 0 1001\ns3cret"
    ),
}  # fmt: skip
SAYS_D = "echo from d > /v/empty-shared/said; sleep 1000"


def shows(name: str, cases: dict[str, Case], **spec: object) -> Object:
    """A pod that mounts all cases, goes through them, and ends."""
    volumes = [{"name": one, **case.source} for one, case in cases.items()]
    mounts = [{"name": one, "mountPath": f"/v/{one}", **(case.mount or {})} for one, case in cases.items()]
    places = {mount["name"]: mount["mountPath"] for mount in mounts}
    script = "; ".join(
        f"echo; echo '== {one}'; V={places[one]}; (cd $V 2>/dev/null; {case.script})" for one, case in cases.items()
    )
    container = {"volumeMounts": mounts, "resources": LIMITS, "env": [{"name": "WHO", "value": "me"}]}
    return pod(name, script, volumes=volumes, container=container, restartPolicy="Never", **spec)


@pytest.fixture
async def rig(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Rig]:
    """A kubelet with a ConfigMap and a Secret to show, the latter's name being taken in another namespace too."""
    async with rigs.running(containerd.endpoint, tmp_path / "root", cgroup_root="/pynetes-kubelet-test") as made:
        for obj in (config_map(a="alpha", b="beta"), secret(k="s3cret"), secret(namespace="other", k="not yours")):
            made.api.put(obj)
        yield made
        for obj in made.api.listed(pods.RESOURCE):
            made.api.remove(obj)
        await made.until(lambda: not made.kubelet.workers)


async def test_volumes_show_what_they_should(rig: Rig) -> None:
    """Contents, modes, owners and paths of every kind."""
    of_root = shows("root", ROOT, terminationGracePeriodSeconds=0)
    shared = {"name": "empty-shared", "mountPath": "/v/empty-shared"}
    beside = {"name": "d", "image": IMAGE, "command": ["sh", "-c", SAYS_D], "volumeMounts": [shared]}
    of_root["spec"]["containers"].append(beside)
    rig.api.put(of_root)
    rig.api.put(shows("user", AS_USER, securityContext=USER))
    for name, cases in (("root", ROOT), ("user", AS_USER)):
        await rig.until(lambda name=name: "terminated" in (rig.container(name).get("state") or {}))
        parts = [part.partition("\n") for part in rig.log(name).split("\n== ")[1:]]
        seen = {one: said.strip("\n") for one, _, said in parts}
        node = rig.api.get(nodes.RESOURCE, Key("", "n1")) or {}
        wanted = {one: case.shows if isinstance(case.shows, str) else case.shows(node) for one, case in cases.items()}
        assert seen == wanted


LABELS = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
ANNOTATIONS = {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}


async def test_changes_reach_running_containers(rig: Rig) -> None:
    """A changed ConfigMap, a new key and a removed one, Secrets that come, change and go, changed labels, annotations:
    all show in the files of their volumes and of a projected one."""
    later = {"name": "later", "optional": True}
    sources = {
        "all": projected(configured(), PROJECTED_SECRET, {"secret": later}, downward(LABELS, ANNOTATIONS)),
        "conf": configured(),
        "comes": {"secret": {"secretName": "later", "optional": True}},
        "goes": {"secret": {"secretName": "hidden", "optional": True}},
        "pod": downward(LABELS, ANNOTATIONS),
    }
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in sources]
    volumes = [{"name": name, **source} for name, source in sources.items()]
    metadata = {"labels": {"version": "1"}, "annotations": {"builder": "one"}}
    script = "while true; do sleep 0.1; done"
    await rig.started(pod("follows", script, volumes=volumes, container={"volumeMounts": mounts}, metadata=metadata))
    assert await rig.exec("follows", "cat", "/all/k", "/goes/k", "/all/b", "/conf/b") == "s3crets3cretbetabeta"
    rig.api.put(config_map(a="changed", c="new"))
    rig.api.put(secret("later", l="came"))
    rig.api.put(secret(k="other"))
    found = rig.api.get(pods.RESOURCE, Key("default", "follows")) or {}
    fresh = {"labels": {"version": "2"}, "annotations": {"builder": "two"}}
    rig.api.put({**found, "metadata": {**found["metadata"], **fresh}})
    facts = 'builder="two"version="2"'
    reads = "cat /all/a /all/c /all/k /all/l /conf/a /conf/c /comes/l /goes/k; cat /all/annotations /all/labels "
    reads += "/pod/annotations /pod/labels; ls /all /conf | grep -w b"
    await until_shown(rig, reads, f"changednewothercamechangednewcameother{facts}{facts}")
    rig.api.remove(secret())
    # A projected volume needs its Secret, and stays as it was; an optional one is emptied.
    await until_shown(rig, "cat /all/k; cat /goes/k 2>/dev/null || echo ' gone'", "other gone\n")


async def until_shown(rig: Rig, script: str, wanted: str) -> None:
    """Look until the container sees it."""
    shown = ""
    for _ in range(100):
        shown = await rig.exec("follows", "sh", "-c", script)
        if shown == wanted:
            break
    assert shown == wanted
