"""The example shop, as the README shows it: everything a person does with kubectl on one node."""

import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Cluster

pytestmark = pytest.mark.e2e

SHOP = ("-n", "shop")


def pods(cluster: Cluster, selector: str) -> list[str]:
    """Names of pods, oldest first."""
    found = cluster.json(*SHOP, "get", "pods", "-l", selector)["items"]
    return [pod["metadata"]["name"] for pod in found]


def test_every_pod_becomes_ready(shop: Cluster) -> None:
    """Three copies, two store rooms, and the wide table that shows where they run."""
    assert len(pods(shop, "app=front")) == 3
    assert pods(shop, "app=stock") == ["stock-0", "stock-1"]
    table = shop.run(*SHOP, "get", "pods", "-l", "app", "-o", "wide")
    assert table.splitlines()[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert table.count("Running") == 5


def test_configuration_reaches_the_container_as_environment_and_files(shop: Cluster) -> None:
    """ConfigMap and Secret, both ways."""
    pod = pods(shop, "app=front")[0]
    said = shop.run(*SHOP, "exec", pod, "--", "sh", "-c", "echo $SHOP_NAME $PIN; cat /etc/shop/SHOP_NAME /etc/till/PIN")
    assert said == "The Corner Shop 4711\nThe Corner Shop4711"


def test_the_job_reaches_both_services_by_name(shop: Cluster) -> None:
    """Pods reach each other through the Service's DNS name, and a StatefulSet's pods by their own."""
    shop.run(*SHOP, "wait", "--for=condition=complete", "job/stocktaking", "--timeout=60s")
    said = shop.run(*SHOP, "logs", "job/stocktaking")
    assert "served by front-" in said
    assert "stock-0\nstock-1\nstock is complete" in said


def test_logs_follow(shop: Cluster) -> None:
    """logs -f shows a line that is written after it began."""
    pod = pods(shop, "app=front")[0]
    address = shop.json(*SHOP, "get", "pod", pod)["status"]["podIP"]
    with subprocess.Popen(
        [shop.kubectl, *SHOP, "logs", "-f", pod, "--tail=1"], env=shop.env(), stdout=subprocess.PIPE, text=True
    ) as follow:
        assert follow.stdout is not None
        shop.run(*SHOP, "exec", "stock-0", "--", "sh", "-c", f"wget -q -O - http://{address}:8080/marker || true")
        deadline = time.monotonic() + 20
        while "marker" not in (line := follow.stdout.readline()):
            assert line and time.monotonic() < deadline
        follow.terminate()


def test_exec_tells_the_exit_code_and_passes_input(shop: Cluster) -> None:
    """Standard input arrives, standard output comes back whole, and the exit code is the command's."""
    assert shop.run(*SHOP, "exec", "-i", "stock-0", "--", "cat", text="hello\n" * 1000) == "hello\n" * 1000
    assert "exit code 7" in shop.run(*SHOP, "exec", "stock-0", "--", "sh", "-c", "exit 7", check=False)


def test_exec_with_a_terminal(shop: Cluster) -> None:
    """-it gives the command a terminal."""
    command = f"{shop.kubectl} -n shop exec -it stock-0 -- sh -c 'tty && stty size'"
    said = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        env=shop.env(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "/dev/pts/" in said.stdout


def test_cp_brings_files_in_and_out(shop: Cluster, tmp_path: Path) -> None:
    """A file survives the way into a container and back."""
    (tmp_path / "in.txt").write_text("apples\n" * 5000)
    shop.run(*SHOP, "cp", str(tmp_path / "in.txt"), "stock-0:/tmp/in.txt")
    shop.run(*SHOP, "cp", "stock-0:/tmp/in.txt", str(tmp_path / "out.txt"))
    assert (tmp_path / "out.txt").read_text() == (tmp_path / "in.txt").read_text()


@pytest.mark.parametrize("target", ["pod/stock-0", "service/front"])
def test_port_forward(shop: Cluster, target: str) -> None:
    """A local port leads into a pod, also by way of a Service."""
    remote = 80 if target.startswith("service") else 8080
    with subprocess.Popen(
        [shop.kubectl, *SHOP, "port-forward", target, f":{remote}"], env=shop.env(), stdout=subprocess.PIPE, text=True
    ) as forward:
        assert forward.stdout is not None
        port = int(forward.stdout.readline().split(" -> ")[0].rpartition(":")[2])
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        forward.terminate()


def test_describe_and_events_tell_the_story(shop: Cluster) -> None:
    """describe shows the events that every component wrote about the pod, in order."""
    story = shop.run(*SHOP, "describe", "pod", "stock-0")
    for word in ("Scheduled", "Pulled", "Created", "Started", "QoS Class", "Conditions:"):
        assert word in story
    events = shop.run(*SHOP, "events", "--for", "deployment/front")
    assert "Scaled up replica set" in events
    node = shop.run("describe", "nodes")
    for word in ("Starting kubelet.", "RegisteredNode", "NodeHasSufficientMemory", "NodeReady", "kube-proxy"):
        assert word in node
    assert "became leader" in shop.run("get", "events", "-n", "kube-system")


def test_scale_and_wait(shop: Cluster) -> None:
    """Up and down, and the Service follows."""
    shop.run(*SHOP, "scale", "deployment/front", "--replicas=5")
    shop.run(*SHOP, "wait", "--for=jsonpath={.status.readyReplicas}=5", "deployment/front", "--timeout=60s")
    shop.run(*SHOP, "scale", "deployment/front", "--replicas=3")
    shop.run(*SHOP, "wait", "--for=jsonpath={.status.replicas}=3", "deployment/front", "--timeout=60s")


def test_a_bad_rollout_is_undone(shop: Cluster) -> None:
    """An image that is nowhere stops the rollout, old pods serve on, and undo brings the old template back."""
    shop.run(*SHOP, "set", "image", "deployment/front", "http=nowhere.invalid/none:1")
    waited = shop.run(*SHOP, "rollout", "status", "deployment/front", "--timeout=5s", check=False)
    assert "timed out" in waited or "out of" in waited
    assert shop.json(*SHOP, "get", "deployment", "front")["status"]["availableReplicas"] >= 2
    shop.run(*SHOP, "rollout", "undo", "deployment/front")
    shop.run(*SHOP, "rollout", "status", "deployment/front", "--timeout=60s")
    assert "pynetes.io/busybox" in shop.run(*SHOP, "get", "deployment", "front", "-o", "wide")


def test_edit(shop: Cluster) -> None:
    """edit opens an editor on the object and applies what comes back."""
    env = {**shop.env(), "KUBE_EDITOR": "sed -i 's/The Corner Shop/The New Shop/'"}
    subprocess.run([shop.kubectl, *SHOP, "edit", "configmap", "catalogue"], env=env, check=True, timeout=60)
    assert shop.json(*SHOP, "get", "configmap", "catalogue")["data"]["SHOP_NAME"] == "The New Shop"


def test_the_cron_job_makes_jobs(shop: Cluster) -> None:
    """A job appears at the next full minute, and its pod has done its work."""
    deadline = time.monotonic() + 90
    while "Complete" not in shop.run(*SHOP, "get", "jobs", "--field-selector=status.successful=1") or not _swept(shop):
        assert time.monotonic() < deadline
        time.sleep(1)


def _swept(shop: Cluster) -> bool:
    jobs = shop.json(*SHOP, "get", "jobs")["items"]
    return any(job["metadata"]["name"].startswith("sweep-") and job["status"].get("succeeded") for job in jobs)


def test_a_pod_talks_to_the_api_with_its_own_token(shop: Cluster) -> None:
    """Nothing is configured: the mounted token, the mounted CA, and kubernetes.default.svc."""
    script = (
        "import json,ssl,urllib.request as u;d='/var/run/secrets/kubernetes.io/serviceaccount/';"
        "r=u.Request('https://kubernetes.default.svc/api/v1/namespaces/shop/pods',"
        "headers={'Authorization':'Bearer '+open(d+'token').read()});"
        "print(len(json.load(u.urlopen(r,context=ssl.create_default_context(cafile=d+'ca.crt')))['items']))"
    )
    shop.run(*SHOP, "create", "role", "reader", "--verb=list", "--resource=pods")
    shop.run(*SHOP, "create", "rolebinding", "reader", "--role=reader", "--serviceaccount=shop:default")
    image = shop.json("-n", "kube-system", "get", "deployment", "coredns")["spec"]["template"]["spec"]["containers"][0]
    shop.run(
        *SHOP,
        "run",
        "client",
        f"--image={image['image']}",
        "--restart=Never",
        "--command",
        "--",
        "python3",
        "-c",
        script,
    )
    shop.run(*SHOP, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/client", "--timeout=60s")
    assert int(shop.run(*SHOP, "logs", "client")) >= 5


def test_the_newest_kubectl_works_as_well(shop: Cluster, packaged_kubectl: str) -> None:
    """kubectl 1.37 from PyPI: reads, writes, streams."""
    newest = Cluster(kubeconfig=shop.kubeconfig, kubectl=packaged_kubectl)
    assert "v1.37" in newest.run("version")
    assert newest.run(*SHOP, "exec", "stock-0", "--", "hostname") == "stock-0\n"
    assert "stock-0" in newest.run(*SHOP, "get", "pods")
    newest.run(*SHOP, "annotate", "service", "front", "note=seen")
    assert "The Corner Shop opens" in newest.run(*SHOP, "logs", "deployment/front")


def test_deleting_the_namespace_ends_everything_in_it(shop: Cluster) -> None:
    """kubectl delete waits until the last object is gone."""
    shop.run("delete", "namespace", "shop", "--timeout=90s")
    assert "NotFound" in shop.run("get", "namespace", "shop", check=False)
