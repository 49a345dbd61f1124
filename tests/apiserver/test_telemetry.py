"""The API server's metrics bear upstream's names and labels, and count what happens."""

import re

import pytest

from pynetes.apiserver.filters import observation
from pynetes.component.tracing import RECORDER
from pynetes.storage import metrics
from tests.apiserver.harness import API, CONFIGMAPS, api, configmap

#: Metric → its labels, without `le`.
WANTED = {
    "apiserver_admission_controller_admission_duration_seconds": "name operation rejected type",
    "apiserver_admission_step_admission_duration_seconds": "operation rejected type",
    "apiserver_cache_list_returned_objects_total": "group resource",
    "apiserver_cache_list_total": "group index resource",
    "apiserver_longrunning_requests": "component group resource scope subresource verb version",
    "apiserver_request_body_size_bytes": "group resource verb",
    "apiserver_request_duration_seconds": "component dry_run group resource scope subresource verb version",
    "apiserver_request_sli_duration_seconds": "component group resource scope subresource verb version",
    "apiserver_requested_deprecated_apis": "group removed_release resource subresource version",
    "apiserver_resource_objects": "group resource",
    "apiserver_resource_size_estimate_bytes": "group resource",
    "apiserver_response_sizes": "component group resource scope subresource verb version",
    "apiserver_storage_objects": "resource",
    "apiserver_storage_events_received_total": "group resource",
    "apiserver_watch_cache_consistent_read_total": "fallback group resource success",
    "apiserver_watch_cache_events_dispatched_total": "group resource",
    "apiserver_watch_cache_events_received_total": "group resource",
    "apiserver_watch_cache_initializations_total": "group resource",
    "apiserver_watch_cache_read_wait_seconds": "group resource",
    "apiserver_watch_cache_resource_version": "group resource",
    "apiserver_watch_events_sizes": "group resource version",
    "apiserver_watch_events_total": "group resource version",
    "authenticated_user_requests": "username",
    "authentication_attempts": "result",
    "authentication_duration_seconds": "result",
    "authorization_attempts_total": "result",
    "authorization_duration_seconds": "result",
    "kube_apiserver_clusterip_allocator_allocated_ips": "cidr",
    "kube_apiserver_clusterip_allocator_available_ips": "cidr",
    "kube_apiserver_nodeport_allocator_allocated_ports": "",
    "kube_apiserver_nodeport_allocator_available_ports": "",
    "kubernetes_feature_enabled": "name stage",
    "process_network_receive_bytes_total": "",
    "version_info": "binary component emulation min_compat",
    "watch_cache_capacity": "group resource",
}
SAMPLE = re.compile(r"(?P<name>[a-z0-9_]+?)(?:_bucket|_sum|_count)?(?:\{(?P<labels>.*)\})? (?P<value>\S+)")


async def exposition(asked: API) -> str:
    """What a scrape gets, once the cache has seen all that was written."""
    await asked.get("/api/v1/services")
    return (await asked.get("/metrics")).raw.decode()


def value(text: str, sample: str) -> float:
    """The number of one sample; 0 where there is none."""
    found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{sample} ")]
    return float(found[0]) if found else 0.0


async def test_names_and_labels_are_upstreams() -> None:
    """After a little of everything, each metric has samples, with the labels that upstream's has."""
    async with api() as asked:
        await asked.post(CONFIGMAPS, configmap("a"))
        await asked.get(CONFIGMAPS)
        watch = (await asked.get(f"{CONFIGMAPS}?watch=true")).stream
        assert b"ADDED" in await anext(watch)
        await asked.get("/api/v1/namespaces/default/endpoints")
        text = await exposition(asked)
        await watch.aclose()
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#") and (match := SAMPLE.fullmatch(line)):
            found.setdefault(match["name"], set()).update(re.findall(r'(\w+)="', match["labels"] or ""))
    assert {name: " ".join(sorted(found.get(name, {"none"}) - {"le"})) for name in WANTED} == WANTED


async def test_objects_and_watches_are_counted() -> None:
    """What a scrape reads from the cache is what is there now."""
    objects = 'apiserver_resource_objects{group="",resource="configmaps"}'
    watches = (
        'apiserver_longrunning_requests{verb="WATCH",group="",version="v1",resource="configmaps",subresource="",'
        'scope="namespace",component="apiserver"}'
    )
    async with api() as asked:
        before = await exposition(asked)
        assert value(before, watches) == 0
        for name in ("a", "b", "c"):
            await asked.post(CONFIGMAPS, configmap(name))
        await asked.delete(f"{CONFIGMAPS}/c")
        watch = (await asked.get(f"{CONFIGMAPS}?watch=true&resourceVersion=0")).stream
        await anext(watch)
        during = await exposition(asked)
        await watch.aclose()
        assert value(during, objects) == value(before, objects) + 2
        assert value(during, watches) == 1
        assert value(await exposition(asked), watches) == 0


async def test_addresses_of_services_are_counted() -> None:
    """Those taken and those left are the whole range."""
    async with api(service_cluster_ip_range=("10.0.0.0/24",)) as asked:
        before = await exposition(asked)
        service = {"metadata": {"name": "web"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
        made = await asked.post("/api/v1/namespaces/default/services", service)
        assert made.status == 201
        after = await exposition(asked)
    name = 'kube_apiserver_clusterip_allocator_{}_ips{{cidr="10.0.0.0/24"}}'
    for kind, by in (("allocated", 1), ("available", -1)):
        assert value(after, name.format(kind)) - value(before, name.format(kind)) == by
        port = f"kube_apiserver_nodeport_allocator_{kind}_ports"
        assert value(after, port) - value(before, port) == by


def test_keys_belong_to_their_resources() -> None:
    """Group and resource of a key, also below a longer prefix; nothing for keys of nobody."""
    from pynetes import apis

    for resource in apis.load():
        metrics.named(resource)
    assert metrics.kind_of("/registry/pods/default/web") == ("", "pods")
    assert metrics.kind_of("/registry/services/specs/default/web") == ("", "services")
    assert metrics.kind_of("/registry/deployments/default/web") == ("apps", "deployments")
    assert metrics.kind_of("") == metrics.kind_of("/other") == ("", "")


async def test_made_up_names_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody fills the server's memory by asking for resources that do not exist, or have names of a megabyte."""
    async with api() as asked:
        await asked.get(CONFIGMAPS)
        monkeypatch.setattr(observation, "MOST_LABELS", len(observation._SEEN))
        for name in ("made-up-1", "made-up-2", "x" * 300):
            await asked.get(f"/api/v1/{name}")
        text = await exposition(asked)
        assert "made-up" not in text
        assert "x" * 300 not in text
        other = 'apiserver_request_total{verb="OTHER",dry_run="",group="",version="",resource="other"'
        assert any(line.startswith(other) for line in text.split("\n"))
        shown = [each for each in RECORDER.ring if len(each.object) > observation.SHOWN]
        assert not shown


async def test_what_a_request_set_in_motion_is_counted() -> None:
    """Watch lists, lists from the cache and past it, validation, filters, addresses, discovery: each number moves."""
    names = (
        'apiserver_watch_list_duration_seconds_count{group="",version="v1",resource="configmaps",scope="namespace"}',
        'apiserver_cache_list_fetched_objects_total{group="",resource="configmaps",index=""}',
        'apiserver_storage_list_total{group="",resource="configmaps"}',
        'field_validation_request_duration_seconds_count{field_validation="Strict"}',
        'apiserver_request_filter_duration_seconds_count{filter="authentication"}',
        'kube_apiserver_clusterip_allocator_allocation_total{cidr="10.0.0.0/24",scope="dynamic"}',
        'kube_apiserver_clusterip_allocator_allocation_total{cidr="10.0.0.0/24",scope="static"}',
        "aggregator_discovery_aggregation_count_total",
    )
    async with api(service_cluster_ip_range=("10.0.0.0/24",)) as asked:
        # What one server of this process counted before is counted still.
        before = await exposition(asked)
        await asked.post(f"{CONFIGMAPS}?fieldValidation=Strict", configmap("a", app="x"))
        await asked.post(CONFIGMAPS, configmap("b"))
        await asked.get(f"{CONFIGMAPS}?labelSelector=app%3Dx")
        path = (
            f"{CONFIGMAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        )
        watch = (await asked.get(path)).stream
        while b"BOOKMARK" not in await anext(watch):
            pass
        # One step further, so that what is noted after the bookmark is noted.
        await asked.post(CONFIGMAPS, configmap("c"))
        assert b"ADDED" in await anext(watch)
        await watch.aclose()
        for extra in ({}, {"clusterIP": "10.0.0.9"}):
            service = {"metadata": {"generateName": "web-"}, "spec": {"ports": [{"port": 80}], **extra}}
            assert (await asked.post("/api/v1/namespaces/default/services", service)).status == 201
        await asked.get("/apis", accept="application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
        after = await exposition(asked)
    grown = {name: value(after, name) - value(before, name) for name in names}
    assert grown.pop(names[2]) == 0
    assert value(before, names[2]) >= 1
    assert grown.pop(names[1]) >= 2
    assert [name for name, by in grown.items() if by < 1] == []
