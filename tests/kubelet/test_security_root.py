"""What a container can do to its node, tried from inside a real one."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl

from pynetes.apis.core import pods
from pynetes.cluster.containerd import Containerd
from tests.kubelet import rig as rigs
from tests.kubelet.rig import Rig, pod

pytestmark = pytest.mark.root
CGROUP = "/pynetes-kubelet-test"


@pytest.fixture
async def rig(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Rig]:
    """A kubelet as `up` starts it: seccomp by default."""
    async with rigs.running(containerd.endpoint, tmp_path, cgroup_root=CGROUP, seccomp_default=True) as made:
        yield made
        for obj in made.api.listed(pods.RESOURCE):
            made.api.remove(obj)
        await made.until(lambda: not made.kubelet.workers)


async def tried(rig: Rig, name: str, command: str, context: Any = None, **spec: Any) -> str:
    """What the command says in a container of its own."""
    container = {"securityContext": context or {}}
    wrapped = f"({command}) 2>&1; echo done; sleep 1000"
    rig.api.put(pod(name, wrapped, container={**container, **spec.pop("container", {})}, **spec))
    await rig.until(lambda: "done" in rig.log(name))
    return rig.log(name).removesuffix("done\n")


def status(text: str) -> dict[str, str]:
    """/proc/self/status."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


@pytest.mark.parametrize(
    ("name", "context", "mode"),
    [
        ("default", {}, "2"),
        ("named", {"seccompProfile": {"type": "RuntimeDefault"}}, "2"),
        ("unconfined", {"seccompProfile": {"type": "Unconfined"}}, "0"),
        ("privileged", {"privileged": True}, "0"),
    ],
)
async def test_seccomp(name: str, context: Any, mode: str, rig: Rig) -> None:
    """A filter is on unless it was given up on purpose."""
    assert status(await tried(rig, name, "cat /proc/self/status", context))["Seccomp"] == mode


async def test_restricted_is_restricted(rig: Rig) -> None:
    """No capability, no new privileges, another user, a root that cannot be written: as the standard promises."""
    context = {
        "runAsUser": 1000,
        "runAsGroup": 3000,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    command = "cat /proc/self/status; echo user: $(id -u) $(id -g); touch /x || echo refused: root"
    said = await tried(rig, "restricted", f"{command}; mount -t tmpfs none /tmp || echo mount: no", context)
    seen = status(said)
    for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(seen[which], 16) == 0, which
    assert seen["NoNewPrivs"] == "1" and seen["Seccomp"] == "2"
    assert seen["user"] == "1000 3000" and seen["refused"] == "root" and seen["mount"] == "no"


async def test_root_without_privilege_is_no_root(rig: Rig) -> None:
    """Root in an ordinary container mounts nothing, makes no device that works, loads no module, stops no machine."""
    said = await tried(
        rig,
        "root",
        "mount -t proc none /tmp && echo BROKEN; mount -o remount,rw /proc/sys && echo BROKEN;"
        " mknod /tmp/d b 7 0 && cat /tmp/d && echo BROKEN; echo b > /proc/sysrq-trigger && echo BROKEN;"
        " echo 1 > /proc/sys/kernel/panic && echo BROKEN; chroot /proc/1/root true && ls /proc/1/root/run/pynetes"
        " && echo BROKEN; hostname other && echo BROKEN; echo x > /sys/kernel/uevent_helper && echo BROKEN",
    )
    assert "BROKEN" not in said


async def test_masked_and_read_only_paths(rig: Rig) -> None:
    """What of /proc and /sys tells of the node is empty, what would change it cannot be written."""
    said = await tried(
        rig,
        "masked",
        "for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do"
        " [ -e $f ] && head -c 16 $f | wc -c; done; ls /proc/scsi /sys/firmware /proc/acpi 2>/dev/null | grep -v : ;"
        " for d in /proc/sys/kernel/hostname /proc/irq/default_smp_affinity /proc/bus/x; do"
        " (echo 1 > $d) 2>/dev/null && echo WRITTEN $d; done",
    )
    assert not [line for line in said.splitlines() if line.strip() not in ("", "0")]


async def test_root_images_and_run_as_non_root(rig: Rig) -> None:
    """An image of root's is not started where that is refused."""
    rig.api.put(pod("root", container={"securityContext": {"runAsNonRoot": True}}))
    await rig.until(lambda: (rig.container("root").get("state", {}).get("waiting") or {}).get("message"))
    waiting = rig.container("root")["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError" and "will run as root" in waiting["message"]


async def test_sysctls(rig: Rig) -> None:
    """A safe one is the pod's own; one that is the node's fails the pod before anything runs."""
    before = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    safe = {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "77"}]}
    said = await tried(rig, "safe", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", securityContext=safe)
    assert said == "77\n" and Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == before
    for number, name in enumerate(("kernel.panic", "kernel/msgmax", "net.core.somaxconn", "vm.overcommit_memory")):
        unsafe = {"sysctls": [{"name": name, "value": "1"}]}
        rig.api.put(pod(f"unsafe-{number}", securityContext=unsafe))
        await rig.until(lambda number=number: rig.status(f"unsafe-{number}").get("phase") == "Failed")
        assert rig.status(f"unsafe-{number}")["reason"] == "SysctlForbidden"


async def test_user_namespaces_are_not_pretended(rig: Rig) -> None:
    """A pod that wants a user namespace gets none of the node's instead: it does not start."""
    rig.api.put(pod("apart", "echo RAN", hostUsers=False))
    await rig.until(lambda: "FailedCreatePodSandBox" in rig.reasons("apart"))
    assert rig.log("apart") == ""


async def test_sub_paths_stay_inside(rig: Rig) -> None:
    """A link that one container puts into a volume leads another one's subPath nowhere."""
    link = {"name": "v", "mountPath": "/v"}
    through = {"name": "v", "mountPath": "/stolen", "subPath": "way/out"}
    init = {
        "name": "i",
        "image": rigs.IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "ln -s / /v/way; ln -s /etc /v/out"],
        "volumeMounts": [link],
    }
    rig.api.put(
        pod(
            "escape",
            "cat /stolen/* && echo RAN",
            container={"volumeMounts": [through]},
            initContainers=[init],
            volumes=[{"name": "v", "emptyDir": {}}],
        )
    )
    await rig.until(lambda: (rig.container("escape").get("state", {}).get("waiting") or {}).get("message"))
    assert rig.container("escape")["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    assert "RAN" not in rig.log("escape")


async def test_logs_do_not_lead_out(rig: Rig) -> None:
    """Whatever stands in the place of a name, nothing but that pod's logs is served."""
    await rig.started(pod("web", "echo hello; sleep 1000"))
    node = rig.kubelet.facts.port
    secret = rig.kubelet.ctx.log_root.parent / "secret.log"
    secret.write_text("2026-01-01T00:00:00Z stdout F STOLEN\n")
    paths = (
        "containerLogs/default/web/..%2f..%2f..%2fsecret",
        "containerLogs/default/..%2f..%2fsecret/c",
        "containerLogs/..%2f/web/c",
        "containerLogs/default/web/c%00",
        "logs/../../secret.log",
        "logs/..%2f..%2fsecret.log",
    )
    async with aiohttp.ClientSession() as session:
        for path in paths:
            url = yarl.URL(f"https://127.0.0.1:{node}/{path}", encoded=True)
            async with session.get(url, ssl=False, allow_redirects=False) as answer:
                text = await answer.text(errors="replace")
                assert "STOLEN" not in text and answer.status >= 400, (path, answer.status, text)


async def test_nothing_of_the_node_in_the_environment(rig: Rig) -> None:
    """No credential of the kubelet's, no path of its own, none of its variables."""
    said = await tried(rig, "env", "env; cat /proc/1/environ | tr '\\0' '\\n'; cat /proc/1/cgroup; cat /proc/mounts")
    assert "PYNETES" not in said and "KUBECONFIG" not in said and "kubelet.conf" not in said
    assert json.dumps(said).count("PRIVATE KEY") == 0


async def test_a_probe_is_made_from_where_its_pod_is(rig: Rig) -> None:
    """Host 127.0.0.1 is the pod's loopback, not the node's, to which no pod has a way; in the node's network it is."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    node = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = node.sockets[0].getsockname()[1]
    often = {"periodSeconds": 1, "failureThreshold": 1}

    def probing(name: str, probe: Any, command: str = "sleep 1000", **spec: Any) -> None:
        rig.api.put(pod(name, command, container={"readinessProbe": {**often, **probe}}, **spec))

    here = {"host": "127.0.0.1", "port": port}
    inside = "mkdir -p /tmp/w; echo hi > /tmp/w/index.html; httpd -f -p 127.0.0.1:8181 -h /tmp/w"
    try:
        probing("thief", {"httpGet": here})
        probing("knocking", {"tcpSocket": here})
        probing("own", {"httpGet": {"host": "127.0.0.1", "port": 8181}}, inside)
        probing("own-tcp", {"tcpSocket": {"host": "localhost", "port": 8181}}, inside)
        await rig.until(lambda: rig.ready("own") and rig.ready("own-tcp"))
        await rig.until(lambda: all("Unhealthy" in rig.reasons(name) for name in ("thief", "knocking")))
        assert not asked
        assert not rig.ready("thief") and not rig.ready("knocking")
        hook = {"lifecycle": {"postStart": {"httpGet": here}}}
        rig.api.put(pod("hooked", container=hook))
        await rig.until(lambda: "FailedPostStartHook" in rig.reasons("hooked"))
        assert not asked
        probing("node", {"httpGet": here}, hostNetwork=True)
        await rig.until(lambda: rig.ready("node"))
        assert asked
    finally:
        node.close()
