"""The dashboard of a real cluster in a real browser: real logs, a real terminal, the map of real traffic."""

import ssl
import urllib.request

import pytest

from tests.dashboard.browser.conftest import Visitor
from tests.e2e.conftest import NAME, Cluster, pynetes

pytestmark = pytest.mark.e2e

HOSTILE = (
    r"printf '<img src=x onerror=alert(1)>\n\033]0;owned\007line\n';"
    " n=0; while n=$((n+1)); do echo tick $n; sleep 1; done"
)


def test_path_two_is_verified(url: str, cluster: Cluster) -> None:
    """By a viewer's token, RBAC deciding; the evidence is of this cluster."""
    said = pynetes("paths", "--cluster", NAME, "verify", "2").stdout
    assert said.startswith("PASS    2  dashboard → API server: system:serviceaccount:pynetes-verify:viewer")


def test_its_pod_has_no_identity(url: str, cluster: Cluster) -> None:
    """No token in the container, and no right of its ServiceAccount."""
    pod = ("-n", "kube-system", "exec", "deployment/dashboard", "--")
    said = cluster.run(*pod, "python3", "-c", "import os; print(os.path.exists('/var/run/secrets'))", check=False)
    assert said.strip() == "False"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"{url}/", context=context, timeout=10) as page:
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]


async def test_logs_follow_and_stay_text(admin: Visitor, cluster: Cluster) -> None:
    """What a program writes shows as it is written; markup and escapes in it do nothing."""
    cluster.run("run", "talker", "--image=pynetes.io/busybox:1.35", "--", "sh", "-c", HOSTILE)
    cluster.run("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s")
    await admin.go("#/object/core/pods/default/talker/logs")
    await admin.sees("<img src=x onerror=alert(1)>", ".log")
    await admin.sees("␛]0;owned␇line", ".log")
    await admin.sees("tick 3", ".log")
    assert await admin.page.locator(".log img").count() == 0


async def test_a_terminal_in_a_container(admin: Visitor, cluster: Cluster) -> None:
    """Typed into, and answered; the window's size is the terminal's."""
    cluster.run("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s")
    await admin.go("#/object/core/pods/default/talker/terminal")
    await admin.sees("in talker")
    await admin.page.keyboard.type("echo $((6*7))-$(hostname); stty size\n")
    await admin.sees("42-talker", ".xterm-rows")
    await admin.page.keyboard.type("exit 3\n")
    await admin.sees("the program ended with 3")


async def test_the_map_shows_the_clusters_own_traffic(admin: Visitor, cluster: Cluster) -> None:
    """Most paths are alive without anybody's doing, and the mTLS to etcd shows both of its certificates."""
    await admin.go("#/map")
    await admin.page.wait_for_selector("svg.map")
    await admin.page.wait_for_selector(".edge.seen[aria-label^='14:']")
    assert await admin.page.locator("svg.map .edge.seen").count() >= 14
    await admin.page.locator(".edge[aria-label^='mTLS']").focus()
    await admin.page.keyboard.press("Enter")
    certificates = admin.page.locator(".cert")
    await certificates.last.wait_for()
    assert "CN=kube-apiserver-etcd-client" in await certificates.first.inner_text()
    assert "IP:127.0.0.1" in await certificates.last.inner_text()
    assert "CN=etcd-ca" in await certificates.last.inner_text()


async def test_an_objects_story_goes_down_to_its_container(admin: Visitor, cluster: Cluster) -> None:
    """Write, scheduling and the kubelet's calls of the container runtime, in one timeline."""
    cluster.run("run", "storied", "--image=pynetes.io/busybox:1.35", "--", "sleep", "3600")
    cluster.run("wait", "--for=condition=Ready", "pod/storied", "--timeout=60s")
    await admin.go("#/object/core/pods/default/storied/story")
    await admin.sees("create binding", ".story")
    await admin.sees("kube-scheduler → kube-apiserver", ".story")
    await admin.sees("StartContainer", ".story")
