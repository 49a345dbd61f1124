"""A real Prometheus in a cluster of three nodes: every target is up, and dashboards' queries have answers.

It has scraped for a while when this begins, if the file before has run. Also: what an autoscaler does when a load is
over.
"""

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.busy import Busy, until
from tests.e2e.conftest import Cluster, pynetes
from tests.e2e.traces import NAME

pytestmark = pytest.mark.e2e

API = "/api/v1/namespaces/kube-system/services/prometheus:http/proxy/api/v1"
CADVISOR = 'job="kubelet",metrics_path="/metrics/cadvisor"'
#: What the dashboards of kubelets, containers, API server, control plane, proxy and DNS draw, panel by panel.
QUERIES = (
    'sum(kubelet_node_name{job="kubelet"})',
    'sum(kubelet_running_pods{job="kubelet"})',
    'sum(kubelet_running_containers{job="kubelet"})',
    'sum(volume_manager_total_volumes{job="kubelet",state="actual_state_of_world"})',
    'sum by (operation_type, instance) (rate(kubelet_runtime_operations_total{job="kubelet"}[1m]))',
    "histogram_quantile(0.99, sum by (instance, operation_type, le) "
    '(rate(kubelet_runtime_operations_duration_seconds_bucket{job="kubelet"}[1m])))',
    "histogram_quantile(0.99, sum by (instance, le) "
    '(rate(kubelet_pod_worker_duration_seconds_bucket{job="kubelet"}[5m])))',
    'sum by (instance) (rate(kubelet_pleg_relist_duration_seconds_count{job="kubelet"}[5m]))',
    "histogram_quantile(0.99, sum by (instance, le) "
    '(rate(kubelet_pleg_relist_interval_seconds_bucket{job="kubelet"}[5m])))',
    'sum(rate(rest_client_requests_total{job="kubelet",code=~"2.."}[5m]))',
    "histogram_quantile(0.99, sum by (verb, le) "
    '(rate(rest_client_request_duration_seconds_bucket{job="kubelet"}[5m])))',
    'process_resident_memory_bytes{job="kubelet"}',
    'rate(process_cpu_seconds_total{job="kubelet"}[5m])',
    f"sum by (namespace) (rate(container_cpu_usage_seconds_total{{{CADVISOR}}}[1m]))",
    f'sum by (namespace) (container_memory_rss{{{CADVISOR},container!=""}})',
    f'sum by (pod) (container_memory_working_set_bytes{{{CADVISOR},namespace="kube-system",container!=""}})',
    f"sum by (namespace) (rate(container_network_receive_bytes_total{{{CADVISOR}}}[1m]))",
    f"sum by (namespace) (rate(container_network_transmit_packets_dropped_total{{{CADVISOR}}}[1m]))",
    "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_irate",
    "node_namespace_pod_container:container_memory_working_set_bytes",
    "namespace_cpu:kube_pod_container_resource_requests:sum",
    "namespace_memory:kube_pod_container_resource_requests:sum",
    "code_resource:apiserver_request_total:rate5m",
    'sum by (name) (rate(workqueue_adds_total{job="kube-controller-manager"}[5m]))',
    "histogram_quantile(0.99, sum by (name, le) "
    '(rate(workqueue_queue_duration_seconds_bucket{job="kube-controller-manager"}[5m])))',
    'sum(workqueue_depth{job="kube-controller-manager"})',
    'leader_election_master_status{job="kube-controller-manager"}',
    "histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])))",
    'etcd_mvcc_db_total_size_in_bytes{job="etcd"}',
    'sum(scheduler_pending_pods{job="kube-scheduler"})',
    'sum by (result) (scheduler_schedule_attempts_total{job="kube-scheduler"})',
    'sum by (extension_point) (scheduler_framework_extension_point_duration_seconds_count{job="kube-scheduler"})',
    'sum(scheduler_scheduling_attempt_duration_seconds_count{job="kube-scheduler"})',
    'sum by (instance) (kubeproxy_sync_proxy_rules_duration_seconds_count{job="kube-proxy"})',
    'sum(kubeproxy_network_programming_duration_seconds_count{job="kube-proxy"})',
    'sum by (proto) (coredns_dns_requests_total{job="kube-dns"})',
    'sum by (rcode) (coredns_dns_responses_total{job="kube-dns"})',
    'histogram_quantile(0.99, sum by (server, zone, le) (coredns_dns_request_duration_seconds_bucket{job="kube-dns"}))',
    "sum by (path) (pynetes_path_requests_total)",
    "count by (git_version) (kubernetes_build_info)",
)


@pytest.fixture(scope="module")
def scraped(cluster: Cluster) -> Cluster:
    """Three nodes and Prometheus."""
    pynetes("up", "--cluster", NAME, "--nodes", "3", "--with", "prometheus")
    return cluster


def ask(cluster: Cluster, path: str) -> Any:
    """What Prometheus' API answers."""
    return json.loads(cluster.run("get", "--raw", API + path))["data"]


def test_every_target_is_up(scraped: Cluster) -> None:
    """All jobs of the add-on have targets, and none is down."""
    wanted = {"apiserver", "kubelet", "kube-controller-manager", "kube-scheduler", "etcd", "kube-proxy", "kube-dns",
              "metrics-server", "prometheus"}  # fmt: skip
    found: list[Any] = []
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = ask(scraped, "/targets?state=active")["activeTargets"]
        if {each["labels"]["job"] for each in found} >= wanted and all(each["health"] == "up" for each in found):
            break
        time.sleep(1)
    else:
        raise AssertionError([(each["scrapeUrl"], each["health"], each["lastError"]) for each in found])
    per_node = [each for each in found if each["labels"]["job"] in ("kubelet", "kube-proxy")]
    assert len(per_node) == 3 * 5


def test_nothing_is_open_for_it(scraped: Cluster) -> None:
    """The CIS benchmark's controls hold with Prometheus in the cluster too, and no metrics are read without TLS."""
    found = json.loads(pynetes("audit-security", "--cluster", NAME, "--json", check=False).stdout)
    failed = [one for one in found if one["status"] == "FAILED" and not one["control"].startswith("5.")]
    assert len(found) > 120 and not failed


def test_dashboards_have_data(scraped: Cluster) -> None:
    """Every panel's query returns series; rates need two scrapes, so a little patience."""
    waiting = list(QUERIES)
    deadline = time.monotonic() + 90
    while waiting and time.monotonic() < deadline:
        waiting = [query for query in waiting if not ask(scraped, f"/query?query={quote(query)}")["result"]]
        if waiting:
            time.sleep(2)
    assert not waiting


def test_a_deployment_shrinks_after_its_load(idle: Busy) -> None:
    """To the fewest that the autoscaler may leave, by the metrics of pods that are still there."""
    until(lambda: idle.replicas() == 1, "one replica")
    assert "SuccessfulRescale" in idle.cluster.run("get", "events", "-o", "custom-columns=R:.reason")
    idle.cluster.run("delete", "deployment/busy", "hpa/busy", "--wait=false")
