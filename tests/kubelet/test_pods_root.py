"""Pods on a real containerd: the kubelet's main paths, from a pod's creation to its last trace."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.apis.core import configmaps, pods
from pynetes.cluster.containerd import Containerd
from pynetes.component import tasks
from pynetes.kubelet import garbage
from pynetes.kubelet.volumes import mounts
from pynetes.machinery.meta import Key
from tests.kubelet import rig as rigs
from tests.kubelet.rig import Rig, pod

pytestmark = pytest.mark.root
CGROUP = "/pynetes-kubelet-test"


@pytest.fixture
async def rig(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Rig]:
    """A kubelet on containerd; its pods are deleted in the end."""
    async with rigs.running(containerd.endpoint, tmp_path, cgroup_root=CGROUP) as made:
        yield made
        for obj in made.api.listed(pods.RESOURCE):
            made.api.remove(obj)
        await made.until(lambda: not made.kubelet.workers)


async def test_runs_a_pod_and_deletes_it(rig: Rig) -> None:
    """A pod becomes Ready with an address and logs; after its graceful deletion nothing of it is left."""
    await rig.started(pod("web", "echo hello; trap 'echo bye; exit 0' TERM; while true; do sleep 0.05; done"))
    status = rig.status("web")
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.249.")
    await rig.until(lambda: "hello" in rig.log("web"))
    assert rig.reasons("web") == ["Pulled", "Created", "Started"]
    home = rig.kubelet.ctx.volumes.home("uid-web")
    await rig.deleted("web")
    assert not home.exists()
    assert not rig.kubelet.ctx.pleg.pods
    assert "uid-web" not in rig.kubelet.ctx.cgroups.pods()


async def test_restarts_what_ends_and_backs_off(rig: Rig) -> None:
    """A container that ends is restarted at once, then waits in CrashLoopBackOff with its last state told."""
    rig.api.put(pod("crash", "echo failing; exit 3"))
    await rig.until(
        lambda: (rig.container("crash").get("state", {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff"
    )
    shown = rig.container("crash")
    assert shown["restartCount"] == 1
    assert shown["lastState"]["terminated"]["exitCode"] == 3
    assert shown["lastState"]["terminated"]["reason"] == "Error"
    assert rig.status("crash")["phase"] == "Running"
    assert "BackOff" in rig.reasons("crash")


async def test_finishes_by_restart_policy(rig: Rig) -> None:
    """With restartPolicy Never the phase follows the exit code, and a termination message is read."""
    rig.api.put(pod("good", "true", restartPolicy="Never"))
    rig.api.put(pod("bad", "echo reason > /dev/termination-log; exit 1", restartPolicy="Never"))
    await rig.until(lambda: rig.status("good").get("phase") == "Succeeded")
    await rig.until(lambda: rig.status("bad").get("phase") == "Failed")
    assert rig.container("good")["state"]["terminated"]["reason"] == "Completed"
    assert rig.container("bad")["state"]["terminated"]["message"] == "reason\n"
    rig.api.remove(rig.api.listed(pods.RESOURCE)[0])
    await rig.deleted("good")


async def test_init_containers_and_sidecars(rig: Rig) -> None:
    """Init containers run in order before the others; a restartable one keeps running beside them and ends last."""

    def shell(name: str, command: str, **more: object) -> dict[str, object]:
        mount = {"name": "shared", "mountPath": "/shared"}
        base = {"name": name, "image": rigs.IMAGE, "imagePullPolicy": "IfNotPresent", "volumeMounts": [mount]}
        return {**base, "command": ["sh", "-c", command], **more}

    obj = pod("ordered", volumes=[{"name": "shared", "emptyDir": {}}])
    obj["spec"]["initContainers"] = [
        shell("one", "echo one >> /shared/order"),
        shell("side", "echo side >> /shared/order; sleep 1000", restartPolicy="Always"),
        shell("two", "sleep 0.1; echo two >> /shared/order"),
    ]
    obj["spec"]["containers"] = [shell("c", "cat /shared/order; sleep 1000")]
    await rig.started(obj)
    await rig.until(lambda: rig.log("ordered").count("\n") == 3)
    assert rig.log("ordered") == "one\nside\ntwo\n"
    assert rig.container("ordered", "one")["state"]["terminated"]["exitCode"] == 0
    assert rig.container("ordered", "side")["ready"] is True


async def test_configuration_reaches_the_container(rig: Rig) -> None:
    """ConfigMap, Secret, downward API and token come as variables and files; a changed ConfigMap shows in its files."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf", "namespace": "default"}}
    rig.api.put({**config, "data": {"colour": "blue"}})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden", "namespace": "default"}}
    rig.api.put({**secret, "data": {"key": base64.b64encode(b"s3cret").decode()}})
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    obj = pod(
        "configured",
        "env; sleep 1000",
        metadata={"labels": {"app": "x"}},
        volumes=[
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
            {"name": "both", "projected": {"sources": sources}},
        ],
        container={
            "env": [
                {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "colour"}}},
                {"name": "TEXT", "value": "$(COLOUR) $$(X) $(NONE)"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ],
            "envFrom": [{"prefix": "S_", "secretRef": {"name": "hidden"}}],
            "volumeMounts": [
                {"name": "conf", "mountPath": "/conf"},
                {"name": "hidden", "mountPath": "/hidden", "readOnly": True},
                {"name": "both", "mountPath": "/both"},
                {"name": "conf", "mountPath": "/one", "subPath": "colour"},
            ],
        },
    )
    await rig.started(obj)
    await rig.until(lambda: "TEXT=" in rig.log("configured"))
    log = rig.log("configured")
    assert "TEXT=blue $(X) $(NONE)\n" in log
    assert "S_key=s3cret\n" in log
    assert f"IP={rig.status('configured')['podIP']}\n" in log
    assert await rig.exec("configured", "cat", "/conf/colour", "/hidden/key", "/one") == "blues3cretblue"
    assert await rig.exec("configured", "cat", "/both/labels") == 'app="x"'
    assert (await rig.exec("configured", "cat", "/both/token")).startswith("token-")
    rig.api.put({**config, "data": {"colour": "red"}})
    async with asyncio.timeout(20):
        while await rig.exec("configured", "cat", "/conf/colour") != "red":
            await asyncio.sleep(0.05)
    home = rig.kubelet.ctx.volumes.home("uid-configured")
    assert list(mounts.below(home))
    await rig.deleted("configured")
    assert not list(mounts.below(home))


async def test_missing_configuration_holds_the_pod(rig: Rig) -> None:
    """A missing ConfigMap is named by an event and by the waiting container; the pod starts once it is there."""
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]
    rig.api.put(pod("waits", container={"env": env}))
    await rig.until(
        lambda: (
            (rig.container("waits").get("state", {}).get("waiting") or {}).get("reason") == "CreateContainerConfigError"
        )
    )
    assert 'configmap "later" not found' in rig.container("waits")["state"]["waiting"]["message"]
    rig.api.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "later", "namespace": "default"},
            "data": {"x": "1"},
        }
    )
    await rig.until(lambda: rig.ready("waits"))


async def test_missing_image(rig: Rig) -> None:
    """An image that is absent and may not be pulled is named in the waiting container."""
    rig.api.put(pod("absent", container={"image": "example.invalid/none:1", "imagePullPolicy": "Never"}))
    await rig.until(
        lambda: (rig.container("absent").get("state", {}).get("waiting") or {}).get("reason") == "ErrImageNeverPull"
    )


async def test_probes(rig: Rig) -> None:
    """Readiness follows its probe in both directions; a failed liveness probe restarts the container."""
    probe = {"periodSeconds": 1, "failureThreshold": 1}
    ready = {**probe, "exec": {"command": ["cat", "/tmp/ready"]}}
    live = {**probe, "exec": {"command": ["sh", "-c", "! test -e /tmp/dead"]}}
    rig.api.put(pod("probed", "mkdir -p /tmp; sleep 1000", container={"readinessProbe": ready, "livenessProbe": live}))
    await rig.until(lambda: rig.container("probed").get("started"))
    assert not rig.ready("probed")
    await rig.exec("probed", "touch", "/tmp/ready")
    await rig.until(lambda: rig.ready("probed"))
    await rig.exec("probed", "touch", "/tmp/dead")
    await rig.until(lambda: rig.container("probed")["restartCount"] == 1)
    assert {"Unhealthy", "Killing"} <= set(rig.reasons("probed"))


async def test_hooks(rig: Rig) -> None:
    """postStart runs after the start; preStop runs before TERM."""
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started > /shared/post"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1"]}},
    }
    mount = [{"name": "shared", "mountPath": "/shared"}]
    obj = pod(
        "hooked", volumes=[{"name": "shared", "emptyDir": {}}], container={"lifecycle": hooks, "volumeMounts": mount}
    )
    await rig.started(obj)
    assert await rig.exec("hooked", "cat", "/shared/post") == "started\n"
    path = rig.kubelet.ctx.log_root / "default_hooked_uid-hooked" / "c" / "0.log"
    copy = rig.kubelet.ctx.log_root / "copy.log"
    copy.hardlink_to(path)
    await rig.deleted("hooked", grace=3)
    assert "stopping" in copy.read_text()


async def test_a_restarted_kubelet_restarts_nothing(containerd: Containerd, tmp_path: Path) -> None:
    """A second kubelet takes over the running container as it is; one that ended meanwhile is restarted."""
    async with rigs.running(containerd.endpoint, tmp_path, cgroup_root=CGROUP) as first:
        await first.started(pod("kept"))
        before = first.container("kept")
    async with rigs.running(containerd.endpoint, tmp_path, first.api, cgroup_root=CGROUP) as second:
        await second.until(lambda: "uid-kept" in second.kubelet.workers)
        await asyncio.sleep(0.3)
        assert second.container("kept") == before
        assert second.ready("kept")
        await second.deleted("kept")


async def test_an_orphan_is_stopped(containerd: Containerd, tmp_path: Path) -> None:
    """A pod whose object vanished while no kubelet ran is stopped and removed by the next."""
    async with rigs.running(containerd.endpoint, tmp_path, cgroup_root=CGROUP) as first:
        await first.started(pod("orphan"))
    first.api.remove(first.api.listed(pods.RESOURCE)[0])
    async with rigs.running(containerd.endpoint, tmp_path, first.api, cgroup_root=CGROUP) as second:
        await second.until(lambda: not second.kubelet.ctx.pleg.pods)


async def test_limits_reach_the_kernel(rig: Rig) -> None:
    """Limits stand in the container's cgroup, below the pod's, below its class."""
    resources = {"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "32Mi"}}
    await rig.started(pod("limited", container={"resources": resources}))
    cgroup = await rig.exec("limited", "cat", "/proc/self/cgroup")
    assert f"{CGROUP}/kubepods/burstable/poduid-limited/" in cgroup
    assert rig.status("limited")["qosClass"] == "Burstable"
    assert rig.container("limited")["resources"] == resources


async def test_refused_pods_fail(rig: Rig) -> None:
    """A pod that does not fit the node fails with the reason, and runs nothing."""
    rig.api.put(pod("picky", nodeSelector={"disk": "ssd"}))
    await rig.until(lambda: rig.status("picky").get("phase") == "Failed")
    assert rig.status("picky")["reason"] == "NodeAffinity"
    rig.api.put(pod("huge", container={"resources": {"requests": {"cpu": "1000"}}}))
    await rig.until(lambda: rig.status("huge").get("phase") == "Failed")
    assert rig.status("huge")["reason"] == "OutOfcpu"


async def test_deadline(rig: Rig) -> None:
    """A pod past activeDeadlineSeconds fails with DeadlineExceeded and stops."""
    rig.api.put(pod("late", activeDeadlineSeconds=1))
    await rig.until(lambda: rig.status("late").get("reason") == "DeadlineExceeded")
    await rig.until(lambda: "terminated" in rig.container("late").get("state", {}))
    assert rig.status("late")["phase"] == "Failed"


async def test_names_inside(rig: Rig) -> None:
    """The hostname, /etc/hosts with hostAliases, and resolv.conf by dnsPolicy are the pod's own."""
    obj = pod(
        "named",
        hostAliases=[{"ip": "1.2.3.4", "hostnames": ["alias"]}],
        dnsPolicy="None",
        dnsConfig={"nameservers": ["9.9.9.9"], "searches": ["a.example"], "options": [{"name": "ndots", "value": "2"}]},
    )
    await rig.started(obj)
    hosts = await rig.exec("named", "cat", "/etc/hosts")
    assert f"{rig.status('named')['podIP']}\tnamed\n" in hosts
    assert "1.2.3.4\talias\n" in hosts
    resolv = await rig.exec("named", "cat", "/etc/resolv.conf")
    assert resolv.split("\n")[:3] == ["search a.example", "nameserver 9.9.9.9", "options ndots:2"]
    assert await rig.exec("named", "hostname") == "named\n"


async def test_logs_rotate(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that has grown too large is put aside; the container writes on into a new one."""
    monkeypatch.setattr(garbage, "LOG_BYTES", 2000)
    monkeypatch.setattr(garbage, "LOG_INTERVAL", 0.05)
    await rig.started(pod("chatty", "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.01; done"))
    folder = rig.kubelet.ctx.log_root / "default_chatty_uid-chatty" / "c"
    async with tasks.Group() as group:
        group.start(garbage.rotate_logs(rig.kubelet.ctx))
        await rig.until(lambda: len(list(folder.glob("0.log.*"))) >= 1)
        await rig.until(lambda: "line" in rig.log("chatty"))


async def test_configmap_object_is_let_go(rig: Rig) -> None:
    """What a deleted pod referred to is watched no more."""
    rig.api.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": {}}
    )
    await rig.started(pod("uses", volumes=[{"name": "m", "configMap": {"name": "m"}}]))
    assert ("configmaps", Key("default", "m")) in rig.kubelet.ctx.references._watched
    await rig.deleted("uses")
    assert not rig.kubelet.ctx.references._watched
    assert rig.api.get(configmaps.RESOURCE, Key("default", "m"))
