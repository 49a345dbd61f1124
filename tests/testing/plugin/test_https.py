"""The plugin gives tests that block a cluster that goes on working meanwhile."""

import http.client
import json
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pynetes.client import kubeconfig
from pynetes.testing.blocking import Kubernetes


def ask(kubernetes: Kubernetes, folder: Path, method: str, path: str, body: Any = None) -> Any:
    """A blocking request with the administrator's certificate."""
    identity = kubeconfig.load(kubernetes.kubeconfig)
    for name, content in (("crt", identity.certificate), ("key", identity.key)):
        (folder / name).write_bytes(content)
    context = ssl.create_default_context(cadata=identity.ca.decode())
    context.load_cert_chain(folder / "crt", folder / "key")
    connection = http.client.HTTPSConnection(urlsplit(kubernetes.url).netloc, context=context, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_a_blocking_test_sees_its_pod_run(cluster: Kubernetes, namespace: str, tmp_path: Path) -> None:
    """Made over HTTPS, scheduled and run by the cluster in its own thread."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    where = f"/api/v1/namespaces/{namespace}/pods"
    ask(cluster, tmp_path, "POST", where, pod)
    deadline = time.monotonic() + 20
    while (found := ask(cluster, tmp_path, "GET", f"{where}/web"))["status"]["phase"] != "Running":
        assert time.monotonic() < deadline, found["status"]
        time.sleep(0.02)
    assert found["spec"]["nodeName"] in ("node-1", "node-2")
