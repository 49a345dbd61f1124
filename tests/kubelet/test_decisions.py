"""Small decisions: probes' verdicts, back-off, admission, resources, images, and who may ask the kubelet."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pynetes.kubelet import admission, images, node, podspec, qos
from pynetes.kubelet.backoff import Backoff
from pynetes.kubelet.cm import resources
from pynetes.kubelet.config import Config, merged
from pynetes.kubelet.probes.judge import Judge
from pynetes.kubelet.server import auth
from pynetes.machinery.meta import Object

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(uid: str = "u", *, requests: Object | None = None, limits: Object | None = None, **spec: object) -> Object:
    """A pod of one container."""
    wanted = {"requests": requests or {}, "limits": limits or {}}
    container = {"name": "c", "resources": wanted, "ports": spec.pop("ports", [])}
    return {"metadata": {"name": uid, "namespace": "d", "uid": uid}, "spec": {"containers": [container], **spec}}


def test_verdicts_need_their_threshold() -> None:
    """Results in a row count; one of the other kind starts over."""
    judge = Judge("readiness", success_threshold=2, failure_threshold=2)
    assert [judge.add(result) for result in (True, False, True, True)] == [False, False, False, True]
    assert judge.verdict is True
    assert [judge.add(result) for result in (False, False)] == [False, True]
    assert not judge.done


def test_liveness_and_startup_probes_end() -> None:
    """A failed one waits for the restart; a startup probe is done once it has succeeded."""
    live = Judge("liveness", failure_threshold=1)
    assert live.add(False) and live.done
    start = Judge("startup")
    assert start.add(True) and start.done


def test_backoff_doubles_and_forgets() -> None:
    """10, 20, 40 … 300 seconds from the last failure; over after a long good time."""
    backoff = Backoff()
    assert backoff.left("k", NOW, NOW) == timedelta()
    for expected in (10, 20, 40, 80, 160, 300, 300):
        backoff.next("k", NOW)
        assert backoff.left("k", NOW, NOW) == timedelta(seconds=expected)
    assert backoff.left("k", NOW + timedelta(minutes=11), NOW + timedelta(minutes=11)) == timedelta()


@pytest.mark.parametrize(
    ("requests", "limits", "quality"),
    [
        ({}, {}, "BestEffort"),
        ({"cpu": "1"}, {}, "Burstable"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1000m", "memory": "1024Mi"}, "Guaranteed"),
        ({}, {"cpu": "1", "memory": "1Gi"}, "Guaranteed"),
        ({"cpu": "1"}, {"cpu": "2", "memory": "1Gi"}, "Burstable"),
    ],
)
def test_classes(requests: Object, limits: Object, quality: str) -> None:
    """By requests and limits."""
    assert qos.of_pod(pod(requests=requests, limits=limits)) == quality


def test_kernel_numbers() -> None:
    """Shares, quota, memory and the OOM score."""
    obj = pod(requests={"cpu": "250m", "memory": "1Gi"}, limits={"cpu": "500m", "memory": "2Gi"})
    made = resources.of_container(obj, obj["spec"]["containers"][0], 4 << 30)
    assert (made.cpu_shares, made.cpu_quota, made.cpu_period) == (256, 50000, 100000)
    assert (made.memory_limit_in_bytes, made.oom_score_adj) == (2 << 30, 750)
    assert resources.weight(resources.shares(1000)) == 39


def test_admission() -> None:
    """Resources, ports and labels decide; the reason says which."""
    home: Object = {"metadata": {"name": "n", "labels": {"disk": "ssd"}}, "spec": {}}
    have = {"cpu": "2", "memory": "4Gi", "pods": "2"}
    big = pod("big", requests={"cpu": "1500m"})
    assert admission.admit(big, [], home, have) is None
    refused = admission.admit(pod("more", requests={"cpu": "1"}), [big], home, have)
    assert refused and refused.reason == "OutOfcpu"
    assert refused.message == "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
    many = admission.admit(pod("third"), [pod("one"), pod("two")], home, have)
    assert many and many.reason == "OutOfpods"
    ports = [{"containerPort": 80, "hostPort": 8080}]
    clash = admission.admit(pod("b", ports=ports), [pod("a", ports=ports)], home, have)
    assert clash and clash.reason == "NodePorts"
    assert admission.admit(pod("s", nodeSelector={"disk": "ssd"}), [], home, have) is None
    away = admission.admit(pod("s", nodeSelector={"disk": "hdd"}), [], home, have)
    assert away and away.reason == "NodeAffinity"


def test_requests_of_a_pod() -> None:
    """The greater of init and ordinary containers; sidecars run beside both."""
    obj = pod(requests={"cpu": "1"})
    obj["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
        {"name": "init", "resources": {"requests": {"cpu": "2"}}},
    ]
    assert resources.pod_requests(obj) == {"cpu": 2500}


@pytest.mark.parametrize(
    ("name", "domain", "path", "tag"),
    [
        ("busybox", "docker.io", "library/busybox", "latest"),
        ("me/app:1", "docker.io", "me/app", "1"),
        ("host:5000/app:2", "host:5000", "app", "2"),
        ("localhost/app", "localhost", "app", "latest"),
        ("r.io/app@sha256:ab", "r.io", "app", "sha256:ab"),
    ],
)
def test_image_names(name: str, domain: str, path: str, tag: str) -> None:
    """Domain, path and tag or digest, with Docker Hub's shorthands."""
    assert images.parse(name) == images.Reference(domain, path, tag)


def test_pull_policies_default_by_tag() -> None:
    """latest is always pulled."""
    assert images.policy({"image": "a"}) == "Always"
    assert images.policy({"image": "a:1"}) == "IfNotPresent"
    assert images.policy({"image": "a", "imagePullPolicy": "Never"}) == "Never"


@pytest.mark.parametrize(
    ("method", "path", "verb", "subresources"),
    [
        ("GET", "/metrics/resource", "get", ["metrics"]),
        ("GET", "/stats/summary", "get", ["stats"]),
        ("POST", "/exec/d/p/c", "create", ["proxy"]),
        # A WebSocket begins as a GET; reading is no right to run.
        ("GET", "/exec/d/p/c", "create", ["proxy"]),
        ("GET", "/attach/d/p/c", "create", ["proxy"]),
        ("GET", "/portForward/d/p", "create", ["proxy"]),
        ("GET", "/run/d/p/c", "create", ["proxy"]),
        ("GET", "/logs/syslog", "get", ["log"]),
        ("GET", "/healthz/ping", "get", ["healthz", "proxy"]),
        ("GET", "/configz", "get", ["configz", "proxy"]),
        ("GET", "/runningpods/", "get", ["pods", "proxy"]),
        ("POST", "/checkpoint/d/p/c", "create", ["checkpoint"]),
        ("GET", "//exec/d/p/c", "create", ["proxy"]),
        ("DELETE", "/pods", "delete", ["pods", "proxy"]),
        ("TRACE", "/metrics", "proxy", ["metrics"]),
        ("GET", "/containerLogs/d/p/c", "get", ["proxy"]),
        ("GET", "/pods", "get", ["pods", "proxy"]),
    ],
)
def test_authorization_attributes(method: str, path: str, verb: str, subresources: list[str]) -> None:
    """Paths map to subresources of the node."""
    made = auth.attributes(method, path, "n")
    assert [one["subresource"] for one in made] == subresources
    assert {one["verb"] for one in made} == {verb}


def test_user_of_a_certificate() -> None:
    """Common name and organizations; a certificate without a name is nobody's."""
    subject = ((("organizationName", "system:masters"),), (("commonName", "admin"),))
    assert auth.from_certificate({"subject": subject}) == auth.User("admin", ("system:masters", "system:authenticated"))
    assert auth.from_certificate({"subject": ()}) is None


def test_node_status_says_what_is_new() -> None:
    """Another time of day is nothing new; another condition is."""
    ready = [("Ready", "True", "r", "m")]
    one = {"conditions": node.conditions(ready, [], "t1")}
    two = {"conditions": node.conditions(ready, one["conditions"], "t2")}
    assert two["conditions"][0]["lastTransitionTime"] == "t1"
    assert not node.differs(one, two)
    assert node.differs(one, {"conditions": node.conditions([("Ready", "False", "r", "m")], [], "t2")})


def test_events_tell_what_changed_about_a_node() -> None:
    """Each condition when it is first known and when it turns, and another boot: nothing when all is as before."""

    def status(boot: str, *conditions: tuple[str, str]) -> Object:
        listed = [{"type": kind, "status": value} for kind, value in conditions]
        return {"nodeInfo": {"bootID": boot}, "conditions": listed}

    one = status("b1", ("MemoryPressure", "False"), ("Ready", "True"), ("Example", "True"))
    assert node.news("n", {}, one) == [
        ("Normal", "NodeHasSufficientMemory", "Node n status is now: NodeHasSufficientMemory"),
        ("Normal", "NodeReady", "Node n status is now: NodeReady"),
    ]
    assert node.news("n", one, one) == []
    two = status("b2", ("MemoryPressure", "True"), ("Ready", "False"))
    assert [(kind, reason) for kind, reason, _ in node.news("n", one, two)] == [
        ("Warning", "Rebooted"),
        ("Normal", "NodeHasInsufficientMemory"),
        ("Normal", "NodeNotReady"),
    ]


def test_configuration_file(tmp_path: Path) -> None:
    """A KubeletConfiguration fills what no flag says."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 20\n"
        "clusterDNS: [10.0.0.10]\nauthorization: {mode: AlwaysAllow}\n"
    )
    made = merged(Config(config=str(path), cluster_dns=("1.1.1.1",)))
    assert (made.max_pods, made.cluster_dns, made.authorization_mode) == (20, ("1.1.1.1",), "AlwaysAllow")


def test_hostnames() -> None:
    """Cut to 63 characters, without a trailing hyphen or dot."""
    assert podspec.hostname({"metadata": {"name": "a" * 62 + "-b"}, "spec": {}}) == "a" * 62
