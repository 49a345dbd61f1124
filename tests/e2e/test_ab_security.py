"""The cluster as users make it, attacked: the benchmark, a stolen node, secrets where they must not be."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Cluster, pynetes
from tests.e2e.traces import NAME

pytestmark = [pytest.mark.e2e, pytest.mark.root]

STATE = Path(f"/var/lib/pynetes/{NAME}")
CANARY = "canary-7d1f0c2e9b"
#: The same as it stands in an object.
ENCODED = "Y2FuYXJ5LTdkMWYwYzJlOWI="
POD = f"""
apiVersion: v1
kind: Secret
metadata: {{name: canary, namespace: guarded}}
stringData: {{word: {CANARY}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: holder, namespace: guarded}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: c
      image: pynetes.io/busybox:1.35
      command: [sleep, "600"]
      env: [{{name: WORD, valueFrom: {{secretKeyRef: {{name: canary, key: word}}}}}}]
      volumeMounts: [{{name: s, mountPath: /s}}]
  volumes: [{{name: s, secret: {{secretName: canary}}}}]
"""


@pytest.fixture(scope="module")
def guarded(cluster: Cluster) -> Iterator[Cluster]:
    """A pod that holds a secret, in a namespace of its own."""
    cluster.run("create", "namespace", "guarded")
    try:
        cluster.run("-n", "guarded", "create", "secret", "generic", "other", "--from-literal=a=b")
        cluster.run("apply", "-f", "-", text=POD)
        cluster.run("-n", "guarded", "wait", "--for=condition=Ready", "pod/holder", "--timeout=60s")
        yield cluster
    finally:
        cluster.run("delete", "namespace", "guarded", "--wait=false", check=False)


def test_the_benchmark(cluster: Cluster) -> None:
    """Nothing of what `up` makes fails; what users add is theirs."""
    told = pynetes("audit-security", "--cluster", NAME, "--json", check=False)
    found = json.loads(told.stdout)
    failed = [one for one in found if one["status"] == "FAILED" and not one["control"].startswith("5.")]
    assert len(found) > 120 and not failed


def test_a_stolen_nodes_credentials(guarded: Cluster) -> None:
    """They read the Secret that a pod of the node refers to and no other, and change nothing that is not the node's."""
    home = STATE / "nodes" / guarded.json("-n", "guarded", "get", "pod", "holder")["spec"]["nodeName"]
    thief = Cluster(kubeconfig=home / "kubelet.conf", kubectl=guarded.kubectl)
    own = thief.json("-n", "guarded", "get", "secret", "canary")
    assert own["data"]["word"] == ENCODED
    attacks = (
        "-n guarded get secret other",
        "-n guarded get secrets",
        "get secrets -A",
        "-n kube-system get secrets",
        "get configmaps -A",
        "-n guarded delete secret canary",
        "-n guarded create configmap x",
        "create clusterrolebinding x --clusterrole=cluster-admin --group=system:nodes",
        "-n kube-system create token default",
        "-n kube-system create token generic-garbage-collector",
        "label node {node} node-restriction.kubernetes.io/x=y",
        "taint node {node} x=y:NoSchedule",
        "-n guarded run x --image=pynetes.io/busybox:1.35",
        '-n guarded patch pod holder -p {{"metadata":{{"labels":{{"a":"b"}}}}}}',
        "-n kube-system delete deployment coredns",
        "--as=system:masters get nodes",
        "-n guarded exec holder -- cat /s/word",
        "get --raw /api/v1/nodes/{node}/proxy/pods",
    )
    for attack in attacks:
        said = thief.run(*attack.format(node=home.name).split(), check=False)
        assert "orbidden" in said or "Unauthorized" in said, (attack, said)
    assert CANARY not in thief.run("-n", "guarded", "get", "pod", "holder", "-o", "yaml", check=False)


@pytest.mark.parametrize(
    ("file", "attacks"),
    [
        ("kube-proxy.conf", ("get secrets -A", "-n guarded delete pod holder", "-n default delete service kubernetes")),
        ("scheduler.conf", ("get secrets -A", "-n guarded create configmap x", "delete node --all")),
    ],
)
def test_a_components_credentials(file: str, attacks: tuple[str, ...], guarded: Cluster) -> None:
    """Stolen, they do that component's work and no other."""
    thief = Cluster(kubeconfig=STATE / file, kubectl=guarded.kubectl)
    for attack in attacks:
        assert "orbidden" in thief.run(*attack.split(), check=False), attack


def test_sockets_are_roots(guarded: Cluster) -> None:
    """Runtime, plugins, supervisor, traces: nobody but root connects, and no pod finds them in its own files."""
    found = [path for root in (Path(f"/run/pynetes/{NAME}"), STATE) for path in root.rglob("*") if path.is_socket()]
    assert any(path.name == "containerd.sock" for path in found)
    for path in found:
        stat = path.stat()
        assert (stat.st_uid, stat.st_gid) == (0, 0) and not stat.st_mode & 0o007, path
    said = guarded.run("-n", "guarded", "exec", "holder", "--", "find", "/", "-xdev", "-type", "s")
    assert not said.strip()


def test_secrets_are_nowhere_else(guarded: Cluster) -> None:
    """Not in any component's log, the record, events, traces, `paths`, `status`, the etcd files, or command lines."""
    guarded.run("-n", "guarded", "get", "secret", "canary", "-o", "yaml")
    texts = {path: path.read_bytes() for path in (STATE / "logs").rglob("*") if path.is_file()}
    texts |= {path: path.read_bytes() for path in (STATE / "etcd").rglob("*") if path.is_file()}
    texts[Path("events")] = guarded.run("get", "events", "-A", "-o", "json").encode()
    texts[Path("paths")] = pynetes("paths", "--cluster", NAME, "--json").stdout.encode()
    texts[Path("status")] = pynetes("status", "--cluster", NAME, "--json").stdout.encode()
    for socket in Path(f"/run/pynetes/{NAME}/paths").glob("*.sock"):
        argv = ["curl", "-s", "--max-time", "5", "--unix-socket", str(socket), "http://x/snapshot"]
        texts[socket] = subprocess.run(argv, capture_output=True, check=False).stdout
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            texts[entry] = entry.read_bytes()
        except OSError:
            continue
    token = guarded.run(
        "-n", "guarded", "exec", "holder", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )
    words = {CANARY.encode(), ENCODED.encode(), token.strip().encode()}
    leaks = [str(path) for path, text in texts.items() if any(word in text for word in words)]
    assert texts and not leaks


def test_authorities_are_replaced(guarded: Cluster) -> None:
    """All three, while requests go on; then the kubeconfig of before opens nothing, and every path still works."""
    before = Path(f"/tmp/{NAME}-before.conf")
    before.write_bytes(guarded.kubeconfig.read_bytes())
    load = subprocess.Popen(
        [guarded.kubectl, "-n", "guarded", "exec", "holder", "--", "sleep", "120"], env=guarded.env()
    )
    try:
        pynetes("certs", "rotate-ca", "--settle", "2", "--cluster", NAME)
        assert load.poll() is None, "the stream was cut"
        thief = Cluster(kubeconfig=before, kubectl=guarded.kubectl)
        assert "certificate" in thief.run("get", "nodes", check=False)
        assert "holder" in guarded.run("-n", "guarded", "get", "pods")
        assert guarded.run("-n", "guarded", "exec", "holder", "--", "cat", "/s/word") == CANARY
    finally:
        load.kill()
        load.wait()
        before.unlink()
