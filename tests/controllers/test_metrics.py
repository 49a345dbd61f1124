"""What controllers count is what happened: each in a world of its own, by what the counters have grown."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pynetes.apis.apps import replicasets
from pynetes.apis.batch import jobs
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import Config
from pynetes.controllers._replicas import age_ratios
from pynetes.controllers.attachdetach.decide import forced
from pynetes.machinery import time
from pynetes.machinery.meta import Object
from tests.controllers import test_attachdetach, test_cronjob, test_endpointslice, test_job, test_nodes, test_small
from tests.controllers import test_persistentvolumebinder as binder
from tests.controllers.harness import START, ready, running, template
from tests.controllers.test_statefulset import stateful
from tests.controllers.volumes import DRIVER

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def shown() -> dict[str, float]:
    """Every sample of this process: name, or name{label values by commas}."""
    found = {}
    for line in REGISTRY.text().splitlines():
        if match := _SAMPLE.match(line):
            values = ",".join(re.findall(r'="([^"]*)"', match[2] or ""))
            found[f"{match[1]}{{{values}}}" if values else match[1]] = float(match[3])
    return found


class Grown(dict[str, float]):
    """By how much each sample has grown; 0 where it has not."""

    def __missing__(self, name: str) -> float:
        return 0.0


@contextmanager
def growing() -> Iterator[Grown]:
    """Filled when the block ends."""
    before, grown = shown(), Grown()
    yield grown
    grown.update({name: value - before.get(name, 0.0) for name, value in shown().items()})


async def test_a_job_and_its_pods_are_counted_once() -> None:
    """Three pods succeed, the Job is complete; looks that change nothing count nothing but themselves."""
    with growing() as grown:
        async with running(*test_job.NAMES) as world:
            test_job.ends(world, lambda pod: 0)
            world.api.put(test_job.job(podReplacementPolicy="Failed"))
            await world.settle()
            await world.advance(100)
    assert grown["job_controller_job_pods_finished_total{NonIndexed,succeeded}"] == 3
    assert grown["job_controller_jobs_finished_total{NonIndexed,succeeded,CompletionsReached}"] == 1
    assert grown["job_controller_job_pods_creation_total{new,succeeded}"] == 3
    assert grown["job_controller_job_syncs_total{NonIndexed,success,pods_created}"] == 2
    assert grown["job_controller_job_sync_duration_seconds_count{NonIndexed,success,pods_created}"] == 2
    assert grown["job_controller_job_pods_finished_total{NonIndexed,failed}"] == 0


async def test_failed_and_indexed_jobs() -> None:
    """Indexes are counted by themselves; what the failure policy does, too."""
    policy = {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}
    with growing() as grown:
        async with running(*test_job.NAMES) as world:
            test_job.ends(world, lambda pod: 0)
            world.api.put(test_job.job(completionMode="Indexed"))
            await world.settle()
        async with running(*test_job.NAMES) as world:
            test_job.ends(world, lambda pod: 42)
            world.api.put(test_job.job(podFailurePolicy=policy, parallelism=1))
            await world.settle()
    assert grown["job_controller_job_finished_indexes_total{succeeded,global}"] == 3
    assert grown["job_controller_jobs_finished_total{Indexed,succeeded,CompletionsReached}"] == 1
    assert grown["job_controller_jobs_finished_total{NonIndexed,failed,PodFailurePolicy}"] == 1
    assert grown["job_controller_pod_failures_handled_by_failure_policy_total{FailJob}"] == 1


async def test_jobs_of_schedules_and_jobs_that_are_over() -> None:
    """How late a Job was made, and how late it was deleted."""
    done = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    with growing() as grown:
        async with running("cronjob") as world:
            world.api.put(test_cronjob.cronjob())
            await world.settle()
            await world.advance(301)
            assert len(world.api.listed(jobs.RESOURCE)) == 1
        async with running("ttl-after-finished") as world:
            job = test_small.in_default("Job", "j", "batch/v1", spec={"ttlSecondsAfterFinished": 60}, status=done)
            world.api.put(job)
            await world.settle()
            await world.advance(63)
    assert grown["cronjob_controller_job_creation_skew_duration_seconds_count"] == 1
    assert grown["ttl_after_finished_controller_job_deletion_duration_seconds_count"] == 1
    assert grown["ttl_after_finished_controller_job_deletion_duration_seconds_sum"] == 3


async def test_nodes_that_fall_silent() -> None:
    """One node is evicted, one pod of it deleted; the zone has one node, and it is not well."""
    with growing() as grown:
        async with running("node-lifecycle", "taint-eviction") as world:
            made = test_nodes.node()
            made["metadata"]["labels"] = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"}
            world.api.put(made)
            test_nodes.lease(world)
            world.api.put(test_nodes.pod("short", 5))
            await world.settle()
            await world.advance(60)
            await world.advance(6)
            now = shown()
    zone = "{r:\x00:z}"
    assert grown[f"node_collector_evictions_total{zone}"] == 1
    assert grown["taint_eviction_controller_pod_deletions_total"] == 1
    assert grown["taint_eviction_controller_pod_deletion_duration_seconds_count"] == 1
    assert [
        now[f"node_collector_{name}{zone}"] for name in ("zone_size", "zone_health", "unhealthy_nodes_in_zone")
    ] == [
        1,
        0,
        1,
    ]


async def test_slices() -> None:
    """Endpoints that come and go, and what there is of them in the end; other tests may have left some behind."""
    before = shown()
    with growing() as grown:
        async with running(*test_endpointslice.NAMES) as world:
            world.api.put(test_endpointslice.service(trafficDistribution="PreferClose"))
            world.api.put(test_endpointslice.pod("a", "10.0.0.1"))
            world.api.put(test_endpointslice.pod("b", "10.0.0.2"))
            await world.settle()
            now = shown()
            world.api.remove(test_endpointslice.pod("b"))
            await world.settle()
            world.api.remove(test_endpointslice.service())
            await world.settle()
    name = "endpoint_slice_controller"
    gauges = ("endpoints_desired", "num_endpoint_slices", "desired_endpoint_slices")
    found = [now[f"{name}_{each}"] - before.get(f"{name}_{each}", 0) for each in gauges]
    assert found == [2, 1, 1]
    close = f"{name}_services_count_by_traffic_distribution{{PreferClose}}"
    assert now[close] - before.get(close, 0) == 1
    assert (grown[f"{name}_changes{{create}}"], grown[f"{name}_changes{{update}}"]) == (1, 1)
    assert grown[f"{name}_endpoints_added_per_sync_sum"] == 2
    assert grown[f"{name}_endpoints_removed_per_sync_sum"] == 1
    assert grown[f"{name}_syncs{{success}}"] >= 2
    assert shown()[f"{name}_endpoints_desired"] == before.get(f"{name}_endpoints_desired", 0)


async def test_volumes_and_claims() -> None:
    """Bound and not, by class; and what is attached."""
    async with running(binder.NAME) as world:
        world.api.put(binder.volume("right", size="2Gi"))
        world.api.put(binder.volume("huge", size="100Gi"))
        world.api.put(binder.claim())
        await world.settle()
        now = shown()
        class_ = binder.volume("x")["spec"].get("storageClassName") or ""
        bound, free = (now.get(f"pv_collector_{kind}_pv_count{{{class_}}}") for kind in ("bound", "unbound"))
    assert (bound, free) == (1, 1)
    async with running(test_attachdetach.NAME) as world:
        await test_attachdetach.started(world)
        now = shown()
    plugin = f"kubernetes.io/csi:{DRIVER}"
    assert now[f"attachdetach_controller_total_volumes{{{plugin},actual_state_of_world}}"] == 1
    assert now[f"storage_count_attachable_volumes_in_use{{n1,{plugin}}}"] == 1


def test_why_a_volume_is_taken_by_force() -> None:
    """Only one that the node still lists: for a taint, or because it waited too long."""
    volume = {"spec": {"csi": {"driver": "d", "volumeHandle": "h"}}}
    node: Object = {"spec": {}, "status": {"volumesInUse": ["kubernetes.io/csi/d^h"]}}
    tainted = node | {"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service"}]}}
    assert [forced(each, volume) for each in (None, {"spec": {}}, node, tainted)] == [
        "",
        "",
        "timeout",
        "out-of-service",
    ]


async def test_which_pods_a_scale_down_takes() -> None:
    """Twice as old as the youngest, and once."""
    replicas = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template(app="web")},
    }
    with growing() as grown:
        async with running("replicaset") as world:
            world.kubelet = ready(world.clock)
            world.api.put(replicas)
            await world.settle()
            await world.advance(100)
            world.edit(replicasets.RESOURCE, "web", lambda each: each["spec"].update(replicas=0))
            await world.settle()
            assert world.pods() == []
    assert grown["replicaset_controller_sorting_deletion_age_ratio_count"] == 2
    old, young = ({"metadata": {"creationTimestamp": f"2026-01-01T00:00:{second}Z"}} for second in ("00", "30"))
    conditions = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    now = time.parse("2026-01-01T00:01:00Z")
    assert age_ratios([old | conditions, young | conditions], [old | conditions, young], now) == [2.0]
    assert age_ratios([], [], START) == []


async def test_authorities_networks_and_controllers() -> None:
    """A namespace that got its CA, a node that got its network, and which controllers run."""
    config = Config(root_ca=lambda: "PEM", allocate_node_cidrs=True, cluster_cidrs=("10.0.0.0/16",))
    with growing() as grown:
        async with running("root-ca-certificate-publisher", "node-ipam", config=config) as world:
            world.api.put(test_small.obj("Namespace", "a", spec={}, status={"phase": "Active"}))
            world.api.put(test_nodes.node())
            await world.settle()
            now = shown()
    assert grown["root_ca_cert_publisher_sync_total{200}"] >= 1
    assert grown["node_ipam_controller_cidrset_cidrs_allocations_total{10.0.0.0/16}"] == 1
    assert now["node_ipam_controller_cirdset_max_cidrs{10.0.0.0/16}"] == 256
    assert now["node_ipam_controller_cidrset_usage_cidrs{10.0.0.0/16}"] == 1 / 256
    assert any(name.startswith("running_managed_controllers{node-ipam-controller,") for name in now)


@pytest.mark.parametrize(("strategy", "expected"), [("RollingUpdate", (1.0, 3.0)), ("OnDelete", (None, None))])
async def test_sets_that_roll(strategy: str, expected: tuple[float | None, float | None]) -> None:
    """How many pods may be down, and how many are."""
    async with running("statefulset") as world:
        world.api.put(stateful(updateStrategy={"type": strategy}))
        await world.settle()
        now, labels = shown(), "{default,db,OrderedReady}"
    name = "statefulset_controller_statefulset"
    assert (now.get(f"{name}_max_unavailable{labels}"), now.get(f"{name}_unavailable_replicas{labels}")) == expected
