"""What the metrics server tells is what the kernel counted; and a Deployment under load grows."""

import base64
import ssl
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from pynetes.machinery.quantity import parse
from pynetes.machinery.schema.rules import duration
from tests.apiserver.metric_names import broken, promised, served
from tests.e2e.busy import Busy, unix, until

pytestmark = pytest.mark.e2e
#: Component → where it shows its metrics, below the API server or on this machine.
PAGES = {
    "API server": "/metrics",
    "kubelet": "/api/v1/nodes/{node}/proxy/metrics",
    "kubelet, /metrics/cadvisor": "/api/v1/nodes/{node}/proxy/metrics/cadvisor",
    "kubelet, /metrics/resource": "/api/v1/nodes/{node}/proxy/metrics/resource",
    "kubelet, /metrics/probes": "/api/v1/nodes/{node}/proxy/metrics/probes",
    "controller manager": "https://127.0.0.1:10257/metrics",
    "scheduler": "https://127.0.0.1:10259/metrics",
    "kube-proxy": "http://127.0.0.1:10249/metrics",
    "DNS": "http://{dns}:9153/metrics",
}
POD_METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"


def test_top_agrees_with_the_cgroups(busy: Busy) -> None:
    """Within five percent, over the same window: CPU by the counter of the pod's cgroup, memory by its working set."""
    seen: list[tuple[str, float, float]] = []

    def told() -> bool:
        """`kubectl top` between two equal answers of the API, so that it is known which window it is about."""
        before = _point(busy)
        said = busy.cluster.run("top", "pod", busy.pod, "--no-headers", check=False)
        if before is None or before != _point(busy) or not busy.covers(*before):
            return False
        seen.append((said, *before))
        return True

    until(told, "metrics of a window that was watched from its begin")
    said, start, stop = seen[0]
    _, cores, memory = said.split()
    assert float(parse(cores).milli()) == pytest.approx(busy.millicores(start, stop), rel=0.05)
    assert float(parse(memory).milli()) / 1000 / 2**20 == pytest.approx(busy.mebibytes(), rel=0.05)


def _point(busy: Busy) -> tuple[float, float] | None:
    """When the window of the pod's metrics began and ended; None where there are none yet."""
    pods = {each["metadata"]["name"]: each for each in busy.cluster.raw(POD_METRICS)["items"]}
    found = pods.get(busy.pod)
    if found is None:
        return None
    stop = unix(found["timestamp"])
    return stop - duration(found["window"]).total_seconds(), stop


def test_a_deployment_grows_under_load(busy: Busy) -> None:
    """Each pod uses twice what it requests, and half of that is wanted: as many pods as there may be."""
    until(lambda: busy.replicas() == 2, "two replicas")
    busy.cluster.run("rollout", "status", "deployment/busy", "--timeout=60s")
    metric = busy.cluster.json("get", "hpa", "busy")["status"]["currentMetrics"][0]["resource"]["current"]
    assert metric["averageUtilization"] > 100


def test_there_is_an_end_to_it(idle: Busy) -> None:
    """The load is taken away; that the Deployment shrinks is seen later."""
    used = idle.cluster.run("exec", idle.pod, "--", "ls", "/tmp/stop")
    assert used.strip() == "/tmp/stop"


@pytest.mark.parametrize("component", PAGES)
def test_every_promised_metric_is_shown(busy: Busy, component: str) -> None:
    """What docs/metrics.md lists is what the components of a cluster show; the pages are guarded as upstream's are."""
    cluster = busy.cluster
    node = cluster.json("get", "nodes")["items"][0]
    dns = cluster.json("get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")["items"][0]["status"]["podIP"]
    url = PAGES[component].format(node=node["metadata"]["name"], dns=dns)
    if url.startswith("/"):
        text = cluster.run("get", "--raw", url)
    else:
        if url.startswith("https"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                _fetch(url, _context())
        text = _fetch(url, _context(cluster.kubeconfig))
    assert sorted(promised(component) - served(text)) == []
    assert broken(component, text) == []


def _context(kubeconfig: Path | None = None) -> ssl.SSLContext:
    """Nobody, or whoever the kubeconfig's client certificate names."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if kubeconfig is not None:
        user = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
        with tempfile.NamedTemporaryFile() as both:
            both.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _fetch(url: str, context: ssl.SSLContext) -> str:
    with urllib.request.urlopen(url, timeout=10, context=context) as page:
        return str(page.read().decode())
