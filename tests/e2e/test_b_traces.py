"""One trace from a client's write to the container that it starts, over all components, at a real receiver."""

import json
import ssl
import urllib.request

import pytest
import yaml

from tests.e2e.busy import until
from tests.e2e.conftest import Cluster, pynetes
from tests.e2e.otlp import Received, Receiver, receiving
from tests.e2e.test_b_metrics import _context
from tests.e2e.traces import NAME

pytestmark = pytest.mark.e2e

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
DEPLOYMENT = {
    "metadata": {"name": "traced"},
    "spec": {
        "selector": {"matchLabels": {"app": "traced"}},
        "template": {
            "metadata": {"labels": {"app": "traced"}},
            "spec": {
                # Where the receiver is: a node beside it has a loopback of its own.
                "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "pynetes.io/busybox:1.35", "command": ["sleep", "600"]}],
            },
        },
    },
}


def test_from_a_write_to_a_container(cluster: Cluster) -> None:
    """Upwards from the start of the container: the kubelet below the binding, that below the pod, that below its
    ReplicaSet, that below the Deployment, and the Deployment below the span that the client named."""
    server = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    with receiving() as receiver:
        _post(server, _context(cluster.kubeconfig))
        try:
            until(
                lambda: len(receiver.chain(TRACE, "StartContainer")) >= 5,
                "a container's start in the trace",
                instead=lambda: (
                    f"{_seen(receiver)}\n{cluster.run('describe', 'pods', '-l', 'app=traced', check=False)}"
                ),
            )
            told = pynetes("paths", "trace", "deployment/traced", "--cluster", NAME).stdout
        finally:
            cluster.run("delete", "deployment", "traced", "--wait=false")
    assert receiver.chain(TRACE, "StartContainer") == [
        ("kubelet", "StartContainer"),
        ("kube-apiserver", "POST pods/binding"),
        ("kube-apiserver", "POST pods"),
        ("kube-apiserver", "POST replicasets"),
        ("kube-apiserver", "POST deployments"),
    ]
    first = next(span for span in receiver.spans if span.name == "POST deployments")
    assert (first.trace, first.parent) == (TRACE, PARENT)
    assert {"kube-apiserver", "kube-controller-manager", "kubelet"} <= {each.service for each in receiver.spans}
    # The same from the components' own memory, with no receiver.
    for step in ("create replicasets", "create pods", "create binding", "StartContainer"):
        assert step in told


def _seen(receiver: Receiver) -> list[Received]:
    return [span for span in receiver.spans if span.trace == TRACE]


def _post(server: str, context: ssl.SSLContext) -> None:
    headers = {"Traceparent": f"00-{TRACE}-{PARENT}-01", "Content-Type": "application/json"}
    url = f"{server}/apis/apps/v1/namespaces/default/deployments"
    request = urllib.request.Request(url, json.dumps(DEPLOYMENT).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        assert answer.status == 201
