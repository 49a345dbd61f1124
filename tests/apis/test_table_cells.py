"""Cells of tables, after upstream's printers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pynetes.apis.batch import jobs
from pynetes.apis.certificates import certificatesigningrequests
from pynetes.apis.core import _pod_status, endpoints, services
from pynetes.apis.networking import ingresses
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _cell(resource: Resource, name: str, obj: Object) -> Any:
    return next(column.cell(obj, _NOW) for column in resource.columns if column.name == name)


def _true(*kinds: str) -> list[Object]:
    return [{"type": kind, "status": "True"} for kind in kinds]


@pytest.mark.parametrize(("conditions", "cell"), [(("Complete",), "Complete"), (("Suspended",), "Terminating")])
def test_a_finished_job_is_not_terminating(conditions: tuple[str, ...], cell: str) -> None:
    job: Object = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    job["status"] = {"conditions": _true(*conditions)}
    assert _cell(jobs.RESOURCE, "Status", job) == cell


@pytest.mark.parametrize(
    ("conditions", "cell"),
    [((), "Pending"), (("Failed",), "Pending,Failed"), (("Approved", "Denied"), "Denied"), (("Approved",), "Approved")],
)
def test_a_requests_condition(conditions: tuple[str, ...], cell: str) -> None:
    request: Object = {"metadata": {}, "status": {"conditions": _true(*conditions)}}
    assert _cell(certificatesigningrequests.RESOURCE, "Condition", request) == cell


def test_addresses_go_port_by_port() -> None:
    subset = {"addresses": [{"ip": "1.1.1.1"}, {"ip": "::1"}], "ports": [{"port": 1}, {"port": 2}]}
    cell = _cell(endpoints.RESOURCE, "Endpoints", {"metadata": {}, "subsets": [subset]})
    assert cell == "1.1.1.1:1,[::1]:1,1.1.1.1:2 + 1 more..."


def test_more_hosts_counts_rules() -> None:
    rules: list[Object] = [{"host": "a"}, {}, {"host": "b"}, {"host": "c"}]
    assert _cell(ingresses.RESOURCE, "Hosts", {"metadata": {}, "spec": {"rules": rules}}) == "a,b,c"
    rules.append({})
    assert _cell(ingresses.RESOURCE, "Hosts", {"metadata": {}, "spec": {"rules": rules}}) == "a,b,c + 2 more..."


def test_a_pod_held_by_an_init_container() -> None:
    """Neither readiness nor restarts of what comes after it count."""
    pod: Object = {"metadata": {}, "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}}
    up = {"name": "c", "ready": True, "restartCount": 3, "state": {"running": {}}}
    waits = {"name": "i", "restartCount": 1, "state": {"waiting": {"reason": "PodInitializing"}}}
    pod["status"] = {"phase": "Pending", "initContainerStatuses": [waits], "containerStatuses": [up]}
    assert _pod_status.summary(pod, _NOW)[:3] == ("0/1", "Init:0/1", "1")
    pod["status"]["conditions"] = _true("Initialized")
    assert _pod_status.summary(pod, _NOW)[:3] == ("1/1", "Init:0/1", "3")


def test_a_balancers_addresses_are_told_once_and_in_order() -> None:
    """Those that a Service has beside them follow."""
    points = [{"ip": "10.0.0.2"}, {"hostname": "a.example.com"}, {"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]
    status = {"loadBalancer": {"ingress": points}}
    assert _cell(ingresses.RESOURCE, "Address", {"spec": {}, "status": status}) == "10.0.0.1,10.0.0.2,a.example.com"
    service: Object = {"spec": {"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]}, "status": status}
    assert _cell(services.RESOURCE, "External-IP", service) == "10.0.0.1,10.0.0.2,a.example.com,9.9.9.9"
    assert _cell(services.RESOURCE, "External-IP", {"spec": {"type": "LoadBalancer"}}) == "<pending>"
