"""Programs nobody here wrote: VictoriaMetrics' own kubernetes_sd finds in our API what our discovery tells Prometheus,
and Debian's Prometheus scrapes what it was told."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from pynetes.apis.apps import deployments
from pynetes.apis.core import nodes, serviceaccounts, services
from pynetes.apis.networking import ingresses
from pynetes.apis.rbac import clusterrolebindings, clusterroles
from pynetes.client import kubeconfig
from pynetes.cluster import packages
from pynetes.component import tasks
from pynetes.machinery.meta import Key, Object
from pynetes.prometheus_sd import app
from pynetes.prometheus_sd.targets import META, ROLES
from pynetes.testing.cluster import Cluster

pytestmark = pytest.mark.root
Targets = dict[str, list[dict[str, str]]]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture
async def shop(cluster: Cluster) -> Cluster:
    """Two nodes with a Deployment of two pods behind a Service, and an Ingress."""
    container = {"name": "c", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}
    deployment = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }
    service = {
        "metadata": {"name": "web", "namespace": "default", "annotations": {"prometheus.io/scrape": "true"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    ingress = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "rules": [{"host": "web.example.com", "http": {"paths": [path]}}],
            "tls": [{"hosts": ["web.example.com"], "secretName": "s"}],
        },
    }
    await cluster.client.create(deployments.RESOURCE, deployment)
    await cluster.client.create(services.RESOURCE, service)
    await cluster.client.create(ingresses.RESOURCE, ingress)
    await cluster.until(
        deployments.RESOURCE, Key("default", "web"), lambda found: found["status"].get("readyReplicas") == 2
    )
    await cluster.settle()
    return cluster


@contextlib.contextmanager
def _running(argv: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            process.terminate()


async def _until(url: str, holds: Any, log: Path) -> Any:
    """The JSON at the URL once it holds."""
    found: Any = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, ValueError):
                    async with session.get(url) as answer:
                        found = await answer.json(content_type=None)
                        if holds(found):
                            return found
                await asyncio.sleep(0.1)
    raise AssertionError(f"{url}: {str(found)[:2000]}\n{log.read_text()[-2000:]}")


@contextlib.asynccontextmanager
async def _discovery(cluster: Cluster) -> AsyncIterator[int]:
    port = _free_port()
    async with tasks.Group() as group:
        client = cluster.client_as("system:serviceaccount:kube-system:prometheus", "system:masters")
        task = group.start(app.run(app.Config(port=port), client=client), name="discovery")
        yield port
        task.cancel()


def _meta(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name.startswith(META) and value}


def _grouped(found: list[Object]) -> Targets:
    grouped: Targets = {}
    for each in found:
        labels = each["discoveredLabels"]
        grouped.setdefault(labels["__address__"], []).append(_meta(labels))
    return grouped


async def test_another_implementation_discovers_the_same(shop: Cluster, tmp_path: Path) -> None:
    """Role by role, addresses and meta labels are those that another kubernetes_sd finds through our API."""
    await packages.install(["victoria-metrics"])
    credentials = kubeconfig.find(str(shop.kubeconfig))
    names = ("ca.crt", "client.crt", "client.key")
    for name, content in zip(names, (credentials.ca, credentials.certificate, credentials.key), strict=True):
        (tmp_path / name).write_bytes(content)
    ca, certificate, key = (str(tmp_path / name) for name in names)
    secured = {"ca_file": ca, "cert_file": certificate, "key_file": key}
    jobs = [
        {
            "job_name": role,
            "scrape_interval": "1h",
            "kubernetes_sd_configs": [{"role": role, "api_server": shop.url, "tls_config": secured}],
        }
        for role in ROLES
    ]
    config, log, port = tmp_path / "scrape.yml", tmp_path / "log", _free_port()
    config.write_text(yaml.safe_dump({"scrape_configs": jobs}))
    argv = ["victoria-metrics", f"-promscrape.config={config}", f"-httpListenAddr=127.0.0.1:{port}"]
    argv += [f"-storageDataPath={tmp_path / 'data'}"]

    def complete(answer: Any) -> bool:
        return {each["labels"]["job"] for each in answer["data"]["activeTargets"]} == set(ROLES)

    async with _discovery(shop) as ours:
        with _running(argv, log):
            answer = await _until(f"http://127.0.0.1:{port}/api/v1/targets", complete, log)
        theirs: dict[str, list[Object]] = {}
        for each in answer["data"]["activeTargets"]:
            theirs.setdefault(each["labels"]["job"], []).append(each)
        for role in ROLES:
            told = await _until(f"http://127.0.0.1:{ours}/{role}", bool, log)
            expected = _grouped(theirs[role])
            found: Targets = {}
            for group in told:
                for address in group["targets"]:
                    found.setdefault(address, []).append(_meta(group["labels"]))
            assert found.keys() == expected.keys(), role
            for address, listed in expected.items():
                for wanted in listed:
                    best = min(found[address], key=lambda mine: len(wanted.items() - mine.items()))
                    assert wanted.items() - best.items() == set(), (role, address)


async def test_prometheus_scrapes_what_it_is_told(shop: Cluster, tmp_path: Path) -> None:
    """The add-on's own configuration, identity and rules: the API server is found and up, nothing else is dialled that
    was not asked for, and the rules have no errors."""
    await packages.install(["prometheus"])
    token = await _install_identity(shop)
    files = {"ca.crt": kubeconfig.find(str(shop.kubeconfig)).ca.decode(), "token": token}
    log = tmp_path / "log"
    async with _discovery(shop) as ours:
        (settings,) = addon("ConfigMap")
        for name, text in settings["data"].items():
            text = text.replace("/var/run/secrets/kubernetes.io/serviceaccount", str(tmp_path))
            text = text.replace("/etc/prometheus", str(tmp_path)).replace(":9099/", f":{ours}/")
            files[name] = text.replace("_interval: 15s", "_interval: 1s").replace("_timeout: 10s", "_timeout: 1s")
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        port = _free_port()
        argv = ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--web.listen-address=127.0.0.1:{port}"]
        argv += [f"--storage.tsdb.path={tmp_path / 'data'}"]
        base = f"http://127.0.0.1:{port}/api/v1"

        def scraped(answer: Any) -> bool:
            return any(
                each["labels"]["job"] == "apiserver" and each["health"] == "up"
                for each in answer["data"]["activeTargets"]
            )

        with _running(argv, log):
            answer = await _until(f"{base}/targets", scraped, log)
            dialled = {each["scrapeUrl"] for each in answer["data"]["activeTargets"]}
            assert f"{shop.url}/metrics" in dialled
            # The port that scripted nodes report; annotated Services lead to their pods.
            node = await shop.client.get(nodes.RESOURCE, Key("", "node-1"))
            kubelet = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            wanted = {f"https://192.0.2.1:{kubelet}/metrics", f"https://192.0.2.2:{kubelet}/metrics/cadvisor"}
            assert wanted <= dialled
            assert sum(url.endswith(":8080/metrics") for url in dialled) == 2
            await _until(
                f"{base}/query?query=code_resource:apiserver_request_total:rate5m",
                lambda found: found["data"]["result"],
                log,
            )
            rules = await _until(f"{base}/rules", lambda found: found["data"]["groups"], log)
    wrong = [each["name"] for group in rules["data"]["groups"] for each in group["rules"] if each.get("lastError")]
    assert not wrong


def addon(kind: str) -> list[Object]:
    """The add-on's objects of a kind."""
    text = (Path(app.__file__).parents[1] / "cluster" / "addons" / "prometheus.yaml").read_text()
    return [each for each in yaml.safe_load_all(text.replace("$$", "$")) if each and each["kind"] == kind]


async def _install_identity(cluster: Cluster) -> str:
    """The add-on's ServiceAccount with its rights; a token of it."""
    for kind in (serviceaccounts, clusterroles, clusterrolebindings):
        for obj in addon(kind.RESOURCE.kind):
            await cluster.client.create(kind.RESOURCE, obj)
    key = Key("kube-system", "prometheus")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {}}
    answer = await cluster.client.create(serviceaccounts.RESOURCE, request, key=key, subresource="token")
    return str(answer["status"]["token"])
