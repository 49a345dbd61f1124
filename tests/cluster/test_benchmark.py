"""`audit-security` under attack by its own subject: whatever is loosened makes its control fail, with what is wrong."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pynetes.cluster import benchmark, hardening
from pynetes.cluster.benchmark.facts import KINDS, Facts
from pynetes.cluster.benchmark.listeners import listening
from pynetes.cluster.config import Cluster
from pynetes.machinery.meta import Object
from pynetes.pki import renew
from pynetes.pki.evidence import Evidence, Expectation
from pynetes.pki.layout import Hosts, Layout

DOCUMENT = Path(__file__).parents[2] / "docs" / "cis-benchmark.md"


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    cluster = Cluster(data_dir=str(tmp_path))
    renew.ensure(Layout(tmp_path), Hosts(node_name="n"))
    hardening.write(cluster)
    (cluster.logs / "audit").mkdir(parents=True)
    (cluster.logs / "audit" / "audit.log").touch()
    argv = {
        "apiserver": ["apiserver", "--authorization-mode=Node,RBAC", *hardening.flags(cluster)],
        "etcd": ["etcd", "--client-cert-auth", f"--trusted-ca-file={tmp_path / 'pki/etcd/ca.crt'}"],
        "kubelet-n": ["kubelet", "--anonymous-auth=false", "--authorization-mode=Webhook"],
        "kube-proxy-n": ["proxy", "--network-policy"],
    }
    anonymous = {"/api": 401, "/metrics": 401, "/healthz": 200}
    return Facts(
        cluster=cluster,
        argv=argv,
        objects={kind: [] for kind in KINDS},
        anonymous=anonymous,
        kubelets={"n": {"podPidsLimit": 10, "seccompDefault": True}},
        weak={"apiserver": False, "kubelet-n": False},
        read_only={"n": False},
        outdated={"apiserver": False, "kubelet-n": False},
        handshakes=[Expectation("etcd", Evidence("expired", "etcd", "certificate has expired", "CN=x", "CN=etcd-ca"))],
        listening={"apiserver": ["0.0.0.0:6443"], "kubelet-n": ["[::]:10250"], "kube-proxy-n": ["0.0.0.0:10256"]},
        stored={"/registry/secrets/default/a": b"k8s:enc:"},
    )


def verdict(facts: Facts, number: str) -> benchmark.Verdict:
    [found] = [one.verdict for one in benchmark.judged(facts) if one.control.number == number]
    return found


def replaced(facts: Facts, process: str, before: str, after: str) -> None:
    facts.argv = {**facts.argv, process: [word.replace(before, after) for word in facts.argv[process]]}


def pod(**spec: Any) -> Object:
    return {"metadata": {"namespace": "shop", "name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}}


def bound(rule: Object, subject: Object) -> dict[str, list[Object]]:
    return {
        "clusterroles": [{"metadata": {"name": "mine"}, "rules": [rule]}],
        "clusterrolebindings": [
            {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "mine"}, "subjects": [subject]}
        ],
    }


def _ending(facts: Facts) -> None:
    soon = datetime.now(UTC) - timedelta(days=340)
    list(renew.again(facts.layout, only=frozenset({"apiserver"}), now=soon))


USER = {"kind": "User", "name": "eve"}
SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}
ATTACKS: dict[str, tuple[str, Any]] = {
    "anonymous sees the API": ("1.2.1", lambda f: setattr(f, "anonymous", {"/api": 200, "/metrics": 401})),
    "everything is allowed": ("1.2.6", lambda f: replaced(f, "apiserver", "Node,RBAC", "RBAC,AlwaysAllow")),
    "nodes are not held": ("1.2.14", lambda f: None),
    "no record": ("1.2.16", lambda f: replaced(f, "apiserver", "--audit-log-path", "--x")),
    "a weak cipher": ("1.2.29", lambda f: setattr(f, "weak", {"apiserver": True})),
    "Secrets in plain text": (
        "1.2.28",
        lambda f: (f.cluster.state / "apiserver/encryption.yaml").write_text(
            '{"resources": [{"resources": ["secrets"], "providers": [{"identity": {}}]}]}'
        ),
    ),
    "a key that others read": ("1.1.21", lambda f: f.layout.pair("ca").key.chmod(0o644)),
    "a kubeconfig that others read": ("1.1.13", lambda f: f.layout.kubeconfig("admin.conf").chmod(0o640)),
    "etcd takes anybody": ("2.2", lambda f: replaced(f, "etcd", "--client-cert-auth", "--x")),
    "etcd trusts the cluster": ("2.7", lambda f: replaced(f, "etcd", "etcd/ca.crt", "ca.crt")),
    "a stranger at the kubelet": ("4.2.1", lambda f: replaced(f, "kubelet-n", "auth=false", "auth=true")),
    "a kubelet that allows all": ("4.2.2", lambda f: replaced(f, "kubelet-n", "Webhook", "AlwaysAllow")),
    "the old port": ("4.2.4", lambda f: setattr(f, "read_only", {"n": True})),
    "no seccomp": ("4.2.14", lambda f: setattr(f, "kubelets", {"n": {"seccompDefault": False}})),
    "a user reads all Secrets": ("5.1.2", lambda f: f.objects.update(bound(SECRETS, USER))),
    "a privileged pod": (
        "5.2.2",
        lambda f: f.objects.update(pods=[pod(containers=[{"name": "c", "securityContext": {"privileged": True}}])]),
    ),
    "the node's paths": ("5.2.12", lambda f: f.objects.update(pods=[pod(volumes=[{"hostPath": {"path": "/"}}])])),
    "Secrets in the environment": (
        "5.4.1",
        lambda f: f.objects.update(pods=[pod(containers=[{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}])]),
    ),
    "TLS 1.1": ("P.1", lambda f: setattr(f, "outdated", {"apiserver": False, "kubelet-n": True})),
    "etcd takes the expired": (
        "P.2",
        lambda f: setattr(f, "handshakes", [Expectation("etcd", Evidence("expired", "", "", "CN=x", "CN=etcd-ca"))]),
    ),
    "etcd for everybody": ("P.3", lambda f: setattr(f, "listening", {**f.listening, "etcd": ["0.0.0.0:2379"]})),
    "metrics for everybody": (
        "P.3",
        lambda f: setattr(f, "listening", {**f.listening, "etcd": ["192.0.2.1:2381"]}),
    ),
    "metrics of a proxy without TLS": ("P.3", lambda f: setattr(f, "plain", {"kube-proxy-n at 192.0.2.1:10249": True})),
    "a certificate that ends": ("P.4", _ending),
    "a Secret in plain text": ("P.5", lambda f: setattr(f, "stored", {"/registry/secrets/default/a": b'{"kind":'})),
    "a policy that no node enforces": ("5.3.1", lambda f: replaced(f, "kube-proxy-n", "--network-policy", "--x")),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_loosened_is_told(attack: str, facts: Facts) -> None:
    """Met before (but for what the fixture leaves out), FAILED afterwards."""
    number, loosen = ATTACKS[attack]
    before = verdict(facts, number).status
    loosen(facts)
    assert verdict(facts, number).status == benchmark.FAILED
    assert before == (benchmark.FAILED if number == "1.2.14" else benchmark.MET)


def test_the_systems_own_rights_are_its_own(facts: Facts) -> None:
    """A controller of kube-system may read Secrets without failing the control; a namespace's user may not."""
    facts.objects = {**facts.objects, **bound(SECRETS, {**USER, "kind": "ServiceAccount", "namespace": "kube-system"})}
    assert verdict(facts, "5.1.2").status == benchmark.MET


def test_a_missing_fact_is_a_failure(facts: Facts) -> None:
    """Nothing is met because it could not be looked at."""
    facts.argv = {}
    assert verdict(facts, "1.2.7").status == benchmark.FAILED
    assert "cannot be judged" in verdict(facts, "2.2").why


def test_listeners_of_a_process() -> None:
    """As the kernel has them: those of this one, and only those that others reach."""
    with socket.create_server(("127.0.0.1", 0)) as near, socket.create_server(("0.0.0.0", 0)) as far:
        shown = listening(os.getpid())
        assert f"0.0.0.0:{far.getsockname()[1]}" in shown
        assert not [each for each in shown if each.endswith(f":{near.getsockname()[1]}")]


def test_the_page_is_the_table() -> None:
    """docs/cis-benchmark.md has every control, once, as the command judges it."""
    assert benchmark.described() in DOCUMENT.read_text()
    numbers = [control.number for control in benchmark.controls()]
    assert len(set(numbers)) == len(numbers) > 120
